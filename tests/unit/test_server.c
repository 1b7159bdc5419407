/* qmp/server: many clients, each its own; none of them harms another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "qmp/client.h"
#include "qmp/command.h"
#include "qmp/server.h"
#include "tests/unit/peer.h"

static struct server *server_with(struct peer *peers, size_t count)
{
	struct server *s = server_new(-1, "1.2");
	for (size_t i = 0; i < count; i++)
		assert_int_equal(server_add_client(s, peer_new(&peers[i])), i + 1);
	return s;
}

static void expect(struct peer *p, const char *text)
{
	_cleanup_json_ json_t *msg = peer_hear(p);
	_cleanup_free_ char *got = msg ? json_line(msg) : NULL;
	assert_string_equal(got ? got : "nothing", text);
}

static void negotiate(struct server *s, struct peer *p)
{
	_cleanup_json_ json_t *greeting = peer_hear(p);
	assert_true(json_is_object(json_object_get(greeting, "QMP")));
	peer_say(p, "{\"execute\":\"qmp_capabilities\"}");
	server_pump(s);
	expect(p, "{\"return\":{}}");
}

/* Whether poll() would wake for this server now. */
static bool wakes(struct server *s)
{
	struct pollfd fds[SERVER_CLIENTS_MAX + 1];
	size_t n = server_poll_fds(s, fds, ARRAY_SIZE(fds));
	return poll(fds, n, 0) > 0;
}

static struct request *next(struct server *s, const char *command)
{
	server_pump(s);
	struct request *r = server_next(s);
	assert_non_null(r);
	assert_string_equal(r->command, command);
	return r;
}

static void greeting(void **state)
{
	(void)state;
	struct peer p;
	struct server *s = server_with(&p, 1);
	expect(&p,
		"{\"QMP\":{\"version\":{\"qemu\":{\"major\":1,\"minor\":2,\"micro\":0},\"package\":"
		"\"roost 1.2\"},\"capabilities\":[]}}");
	server_free(s);
	peer_end(&p);
}

static void our_own_client(void **state)
{
	(void)state;
	int pair[2];
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	assert_int_equal(sock_pair(pair, &err), 0);
	struct server *s = server_new(-1, "1.2");
	struct qmp *q = qmp_start(pair[0]);
	server_add_client(s, pair[1]);
	uint64_t call = qmp_send(q, "look", json_pack("{s:i}", "at", 7), NULL, 0, &err);
	for (int i = 0; i < 3; i++) {
		qmp_pump(q, &err);
		server_pump(s);
	}
	struct request *r = next(s, "look");
	assert_int_equal(json_get_int(r->args, "at", 0), 7);
	assert_int_equal(r->peer.pid, getpid());
	assert_int_equal(r->peer.uid, getuid());
	server_event(s, event_new("SEEN", json_pack("{s:i}", "n", 1)));
	server_return(s, r, json_string("fine"));
	qmp_pump(q, &err);
	assert_int_equal(qmp_take_reply(q, call, &reply, &err), 1);
	assert_string_equal(json_string_value(reply), "fine");
	json_decref(reply);
	_cleanup_json_ json_t *event = qmp_next_event(q);
	assert_string_equal(json_get_str(event, "event", ""), "SEEN");
	assert_true(
		json_is_integer(json_object_get(json_object_get(event, "timestamp"), "seconds")));
	qmp_close(q);
	server_pump(s);
	assert_int_equal(server_client_count(s), 0);
	server_free(s);
}

static void clients_with_the_same_ids(void **state)
{
	(void)state;
	struct peer p[2];
	struct err err = ERR_INIT;
	struct server *s = server_with(p, 2);
	negotiate(s, &p[0]);
	negotiate(s, &p[1]);
	peer_say(&p[0], "{\"execute\":\"a\",\"id\":1}{\"execute\":\"b\",\"id\":{\"x\":[2]}}");
	peer_say(&p[1], "{\"execute\":\"c\",\"id\":1}{\"execute\":\"d\"}");
	struct request *a = next(s, "a"), *b = next(s, "b"), *c = next(s, "c"), *d = next(s, "d");
	assert_null(server_next(s));
	err_set(&err, ERR_BUSY, "it is busy");
	err_hint(&err, "wait");
	server_return(s, d, NULL); /* in another order than asked */
	server_error(s, c, &err);
	server_raw(s, b, json_pack("{s:{s:s, s:s}}", "error", "class", "X", "desc", "y"));
	server_raw(s, a, json_pack("{s:[]}", "return"));
	expect(&p[0], "{\"error\":{\"class\":\"X\",\"desc\":\"y\"},\"id\":{\"x\":[2]}}");
	expect(&p[0], "{\"return\":[],\"id\":1}");
	expect(&p[0], "nothing");
	expect(&p[1], "{\"return\":{}}");
	expect(&p[1],
		"{\"error\":{\"class\":\"busy\",\"desc\":\"it is busy\",\"hint\":\"wait\"},\"id\":1}");
	server_free(s);
	peer_end(&p[0]);
	peer_end(&p[1]);
}

static void capabilities_come_first(void **state)
{
	(void)state;
	struct peer p;
	struct server *s = server_with(&p, 1);
	json_decref(peer_hear(&p));
	peer_say(&p, "{\"execute\":\"stop\",\"id\":1}");
	server_pump(s);
	assert_null(server_next(s));
	expect(&p,
		"{\"error\":{\"class\":\"refused\",\"desc\":\"stop: 'qmp_capabilities' must come first\"},"
		"\"id\":1}");
	server_event(s, event_new("NOT_FOR_YOU", NULL));
	peer_say(&p, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
	server_pump(s);
	expect(&p,
		"{\"error\":{\"class\":\"usage\",\"desc\":\"qmp_capabilities: there are none to enable\"}}");
	peer_say(&p, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]},\"id\":2}");
	server_pump(s);
	expect(&p, "{\"return\":{},\"id\":2}");
	peer_say(&p, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"stop\"}");
	request_free(next(s, "stop"));
	expect(&p,
		"{\"error\":{\"class\":\"refused\",\"desc\":\"qmp_capabilities: this was negotiated already\"}}");
	server_free(s);
	peer_end(&p);
}

static void malformed_commands_are_answered(void **state)
{
	(void)state;
	static const struct {
		const char *said, *answer;
	} cases[] = {
		{"hello\n", "not valid JSON"},
		{"[]\n", "not a JSON object"},
		{"{\"execute\":\"a\",}", "not valid JSON"},
		{"{\"execute\":\"a\xff", "not valid JSON"},
		{"{\"execute\":\"\xc3\"}", "not valid JSON"},
		{"{}", "'execute' is missing"},
		{"{\"execute\":7}", "'execute' is a whole number, not a text"},
		{"{\"execute\":\"a\",\"arguments\":[]}", "a: 'arguments' is not an object"},
		{"{\"execute\":\"a\",\"arguments\":null}", "a: 'arguments' is not an object"},
		{"{\"execute\":\"a\",\"control\":{}}", "a command has no member 'control'"},
		{"{\"exec-oob\":\"a\"}", "a command has no member 'exec-oob'"},
	};
	struct peer p;
	struct server *s = server_with(&p, 1);
	negotiate(s, &p);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		peer_say(&p, "%s", cases[i].said);
		server_pump(s);
		assert_null(server_next(s));
		_cleanup_json_ json_t *msg = peer_hear(&p);
		const json_t *error = json_object_get(msg, "error");
		assert_string_equal(json_get_str(error, "class", ""), "usage");
		if (!strstr(json_get_str(error, "desc", ""), cases[i].answer))
			fail_msg("'%s': %s", cases[i].said, json_get_str(error, "desc", ""));
		peer_say(&p, "{\"execute\":\"on\"}");
		server_return(s, next(s, "on"), NULL);
		expect(&p, "{\"return\":{}}");
	}
	peer_say(&p, "{\"execute\":7,\"id\":\"mine\"}");
	server_pump(s);
	_cleanup_json_ json_t *msg = peer_hear(&p);
	assert_string_equal(json_get_str(msg, "id", ""), "mine");
	server_free(s);
	peer_end(&p);
}

static void what_breaks_a_client_breaks_no_other(void **state)
{
	(void)state;
	struct peer p[2];
	struct server *s = server_with(p, 2);
	negotiate(s, &p[0]);
	negotiate(s, &p[1]);
	for (int i = 0; i < 100; i++)
		peer_say(&p[0], "{\"execute\":[");
	server_pump(s);
	assert_false(server_client_alive(s, 1));
	assert_true(server_client_alive(s, 2));
	assert_int_equal(server_client_count(s), 1);
	peer_say(&p[1], "{\"execute\":\"on\"}");
	server_return(s, next(s, "on"), NULL);
	expect(&p[1], "{\"return\":{}}");
	server_free(s);
	peer_end(&p[0]);
	peer_end(&p[1]);
}

static void a_client_that_never_reads_is_cut_off(void **state)
{
	(void)state;
	enum { LARGE = 64 * 1024, EVENTS = 1000 };
	struct peer p[2];
	struct server *s = server_with(p, 2);
	_cleanup_free_ char *text = xcalloc(1, LARGE + 1);
	memset(text, 'x', LARGE);
	negotiate(s, &p[0]);
	negotiate(s, &p[1]);
	int sent = 0;
	for (; sent < EVENTS && server_client_alive(s, 1); sent++) {
		server_event(s, event_new("E", json_string(text)));
		for (json_t *msg = NULL; !msg;) { /* the other one reads */
			server_pump(s);
			msg = peer_hear(&p[1]);
			json_decref(msg);
			if (msg)
				break;
		}
	}
	assert_in_range(sent, WIRE_OUT_MAX / LARGE - 10, WIRE_OUT_MAX / LARGE + 10);
	assert_true(server_client_alive(s, 2));
	peer_say(&p[1], "{\"execute\":\"on\"}");
	server_return(s, next(s, "on"), NULL);
	expect(&p[1], "{\"return\":{}}");
	server_free(s);
	peer_end(&p[0]);
	peer_end(&p[1]);
}

static void output_is_polled_for(void **state)
{
	(void)state;
	enum { LARGE = 1024 * 1024 };
	struct peer p;
	struct pollfd fd;
	struct server *s = server_with(&p, 1);
	_cleanup_free_ char *text = xcalloc(1, LARGE + 1);
	memset(text, 'x', LARGE);
	negotiate(s, &p);
	assert_int_equal(server_poll_fds(s, &fd, 1), 1);
	assert_int_equal(fd.events, POLLIN);
	server_event(s, event_new("E", json_string(text)));
	assert_int_equal(server_poll_fds(s, &fd, 1), 1);
	assert_int_equal(fd.events, POLLIN | POLLOUT);
	json_t *msg = NULL;
	while (!(msg = peer_hear(&p)))
		server_pump(s);
	json_decref(msg);
	assert_int_equal(server_poll_fds(s, &fd, 1), 1);
	assert_int_equal(fd.events, POLLIN);
	server_free(s);
	peer_end(&p);
}

static void file_descriptors_both_ways(void **state)
{
	(void)state;
	struct peer p;
	struct err err = ERR_INIT;
	size_t before = open_fds();
	struct server *s = server_with(&p, 1);
	negotiate(s, &p);
	int pipes[2];
	char byte = 0;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	_cleanup_json_ json_t *with = json_pack("{s:s}", "execute", "with");
	_cleanup_json_ json_t *without = json_pack("{s:s}", "execute", "without");
	assert_int_equal(wire_send(&p.wire, without, NULL, 0, &err), 0);
	assert_int_equal(wire_send(&p.wire, with, pipes, 2, &err), 0);
	assert_int_equal(wire_send(&p.wire, without, NULL, 0, &err), 0);
	struct request *first = next(s, "without"), *r = next(s, "with"),
		       *last = next(s, "without");
	assert_int_equal(first->fd_count, 0);
	assert_int_equal(last->fd_count, 0);
	assert_int_equal(r->fd_count, 2);
	int in = request_take_fd(r);
	assert_true(in >= 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(read(in, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	server_return_fds(s, r, NULL, &in, 1); /* the fd not taken is closed with the request */
	close(in);
	server_return(s, first, NULL);
	server_return(s, last, NULL);
	expect(&p, "{\"return\":{}}");
	int back = wire_take_fd(&p.wire);
	assert_true(back >= 0);
	assert_int_equal(wire_take_fd(&p.wire), -1);
	close(back);
	close(pipes[0]);
	close(pipes[1]);
	server_free(s);
	peer_end(&p);
	assert_int_equal(open_fds(), before);
}

static void the_client_goes_before_its_answer(void **state)
{
	(void)state;
	struct peer p[2];
	struct err err = ERR_INIT;
	size_t before = open_fds();
	struct server *s = server_with(p, 2);
	negotiate(s, &p[0]);
	negotiate(s, &p[1]);
	_cleanup_json_ json_t *msg = json_pack("{s:s, s:i}", "execute", "taken", "id", 1);
	assert_int_equal(wire_send(&p[0].wire, msg, (int[]){STDERR_FILENO}, 1, &err), 0);
	struct request *a = next(s, "taken");
	peer_say(&p[0], "{\"execute\":\"b\"}{\"execute\":\"c\"}");
	struct request *b = next(s, "b");
	peer_end(&p[0]);
	server_pump(s);
	assert_false(server_client_alive(s, a->client));
	assert_null(server_next(s)); /* "c" went with its client */
	server_return(s, a, json_string("too late"));
	server_error(s, b, &err);
	assert_int_equal(server_client_count(s), 1);
	assert_false(wakes(s));
	server_free(s);
	peer_end(&p[1]);
	assert_int_equal(open_fds(), before);
}

static void a_client_that_closed_only_its_writing_side(void **state)
{
	(void)state;
	struct peer p;
	struct server *s = server_with(&p, 1);
	json_decref(peer_hear(&p));
	peer_say(&p, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"a\"}{\"execute\":\"b\"}\n");
	shutdown(p.wire.fd, SHUT_WR);
	struct request *a = next(s, "a"), *b = next(s, "b");
	assert_true(server_client_alive(s, 1));
	assert_false(wakes(s)); /* its end must not keep us busy */
	server_return(s, b, NULL);
	server_return(s, a, NULL);
	for (int i = 0; i < 3; i++)
		expect(&p, "{\"return\":{}}");
	assert_false(server_client_alive(s, 1));
	server_free(s);
	peer_end(&p);
}

static void a_busy_client_is_not_read(void **state)
{
	(void)state;
	enum { ASKED = 3 * SERVER_REQUESTS_MAX };
	struct peer p[2];
	struct request *taken[ASKED];
	struct server *s = server_with(p, 2);
	size_t count = 0;
	negotiate(s, &p[0]);
	negotiate(s, &p[1]);
	for (int i = 0; i < ASKED; i++)
		peer_say(&p[0], "{\"execute\":\"a\",\"id\":%d}", i);
	for (int i = 0; i < 5; i++) {
		server_pump(s);
		while ((taken[count] = server_next(s)))
			count++;
	}
	assert_int_equal(count, SERVER_REQUESTS_MAX);
	peer_say(&p[0], "\n");
	assert_false(wakes(s));
	peer_say(&p[1], "{\"execute\":\"other\"}");
	assert_true(wakes(s));
	server_return(s, next(s, "other"), NULL);
	/* each answer lets one more in, without anything new on the socket */
	for (size_t i = 0; i < ASKED; i++) {
		assert_int_equal(json_integer_value(taken[i]->id), i);
		server_return(s, taken[i], NULL);
		for (struct request *r; (r = server_next(s));)
			taken[count++] = r;
		json_decref(peer_hear(&p[0]));
	}
	assert_int_equal(count, ASKED);
	/* and when it is gone while it is not read, that is seen */
	for (int i = 0; i < ASKED; i++)
		peer_say(&p[0], "{\"execute\":\"a\"}");
	server_pump(s);
	peer_end(&p[0]);
	assert_true(wakes(s));
	server_pump(s);
	assert_false(server_client_alive(s, 1));
	assert_null(server_next(s));
	server_free(s);
	peer_end(&p[1]);
}

/* ---- with a listener ---- */

struct house {
	char folder[64];
	char *path;
	struct server *s;
};

static void house_new(struct house *h)
{
	struct err err = ERR_INIT;
	snprintf(h->folder, sizeof(h->folder), "/tmp/roost-server-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	h->path = str_fmt("%s/s", h->folder);
	int listener = sock_listen(h->path, 128, &err);
	assert_true(listener >= 0);
	h->s = server_new(listener, "1.2");
}

static void house_end(struct house *h)
{
	server_free(h->s);
	unlink(h->path);
	rmdir(h->folder);
	free(h->path);
}

static void too_many_clients(void **state)
{
	(void)state;
	struct house h;
	struct err err = ERR_INIT;
	int fds[SERVER_CLIENTS_MAX + 1];
	house_new(&h);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = sock_connect(h.path, deadline_in(100), &err);
	server_pump(h.s);
	assert_int_equal(server_client_count(h.s), SERVER_CLIENTS_MAX);
	assert_null(qmp_open(fds[SERVER_CLIENTS_MAX], deadline_in(100), &err));
	assert_int_equal(err.kind, ERR_BUSY);
	assert_false(wakes(h.s));
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		close(fds[i]);
	server_pump(h.s);
	assert_int_equal(server_client_count(h.s), 0);
	house_end(&h);
}

static void file_descriptors_run_out(void **state)
{
	(void)state;
	struct house h;
	struct err err = ERR_INIT;
	struct rlimit old, tight;
	house_new(&h);
	int fd = sock_connect(h.path, deadline_in(100), &err);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	server_pump(h.s);
	assert_int_equal(server_client_count(h.s), 0);
	assert_false(wakes(h.s)); /* the connection does not stay in the queue */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(fd);
	fd = sock_connect(h.path, deadline_in(100), &err);
	server_pump(h.s);
	assert_int_equal(server_client_count(h.s), 1);
	close(fd);
	house_end(&h);
}

/* ---- commands as data ---- */

static const struct command table[] = {
	{.name = "all",
		.doc = "Takes everything.",
		.flags = CMD_QUICK,
		.args = ARGS({"text", ARG_STR, false, "a text"}, {"number", ARG_INT, true, NULL},
			{"flag", ARG_BOOL, true, NULL}, {"object", ARG_OBJECT, true, NULL},
			{"list", ARG_ARRAY, true, NULL}, {"any", ARG_ANY, true, NULL})},
	{.name = "none", .doc = "Takes nothing."},
	{0},
};

static void arguments(void **state)
{
	(void)state;
	static const struct {
		const char *args, *message; /* NULL: they are right */
	} cases[] = {
		{"{\"text\":\"a\"}", NULL},
		{"{\"text\":\"a\",\"number\":1,\"flag\":true,\"object\":{},\"list\":[],\"any\":null}",
			NULL},
		{"{\"text\":\"a\",\"number\":null}", NULL},
		{"{}", "all: 'text' is missing"},
		{"{\"text\":null}", "all: 'text' must be a text"},
		{"{\"text\":1}", "all: 'text' must be a text"},
		{"{\"text\":\"a\",\"number\":1.5}", "all: 'number' must be a whole number"},
		{"{\"text\":\"a\",\"flag\":0}", "all: 'flag' must be true or false"},
		{"{\"text\":\"a\",\"object\":[]}", "all: 'object' must be an object"},
		{"{\"text\":\"a\",\"list\":{}}", "all: 'list' must be a list"},
		{"{\"text\":\"a\",\"nubmer\":1}", "all: there is no argument 'nubmer'"},
	};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *args =
			json_text_parse(cases[i].args, strlen(cases[i].args), &err);
		int result = command_check_args(command_find(table, "all"), args, &err);
		assert_int_equal(result, cases[i].message ? -1 : 0);
		if (cases[i].message)
			assert_string_equal(err.message, cases[i].message);
	}
	assert_string_equal(err.hint, "did you mean 'number'?");
	assert_null(command_find(table, "nothing"));
	_cleanup_json_ json_t *list = command_list(table);
	assert_int_equal(json_array_size(list), 2);
	_cleanup_free_ char *text = json_line(json_array_get(list, 1));
	assert_string_equal(text, "{\"name\":\"none\",\"doc\":\"Takes nothing.\",\"args\":[]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greeting),
		cmocka_unit_test(our_own_client),
		cmocka_unit_test(clients_with_the_same_ids),
		cmocka_unit_test(capabilities_come_first),
		cmocka_unit_test(malformed_commands_are_answered),
		cmocka_unit_test(what_breaks_a_client_breaks_no_other),
		cmocka_unit_test(a_client_that_never_reads_is_cut_off),
		cmocka_unit_test(output_is_polled_for),
		cmocka_unit_test(file_descriptors_both_ways),
		cmocka_unit_test(the_client_goes_before_its_answer),
		cmocka_unit_test(a_client_that_closed_only_its_writing_side),
		cmocka_unit_test(a_busy_client_is_not_read),
		cmocka_unit_test(too_many_clients),
		cmocka_unit_test(file_descriptors_run_out),
		cmocka_unit_test(arguments),
	};
	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
