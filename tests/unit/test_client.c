/* qmp/client: what is sent when, and peers that do everything wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "qmp/client.h"
#include "tests/unit/peer.h"

struct talk {
	struct peer peer;
	struct qmp *q;
};

/* Connected; nothing was said yet. */
static void talk_new(struct talk *t)
{
	t->q = qmp_start(peer_new(&t->peer));
}

static void pump(struct talk *t)
{
	struct err err = ERR_INIT;
	if (qmp_pump(t->q, &err) < 0)
		fail_msg("%s", err.message);
}

static void talk_ready(struct talk *t)
{
	char id[64];
	talk_new(t);
	peer_greet(&t->peer);
	pump(t);
	peer_expect(&t->peer, "qmp_capabilities", id);
	peer_say(&t->peer, "{\"return\":{},\"id\":\"%s\"}\n", id);
	pump(t);
	assert_true(qmp_ready(t->q));
}

static void talk_end(struct talk *t)
{
	qmp_close(t->q);
	peer_end(&t->peer);
}

static uint64_t send_plain(struct talk *t, const char *command)
{
	struct err err = ERR_INIT;
	uint64_t call = qmp_send(t->q, command, NULL, NULL, 0, &err);
	assert_true(call > 0);
	return call;
}

/* The pump says that the peer has gone, and why. */
static void expect_gone(struct talk *t, enum err_kind kind, const char *why)
{
	struct err err = ERR_INIT;
	assert_int_equal(qmp_pump(t->q, &err), -1);
	assert_true(qmp_gone(t->q));
	assert_int_equal(err.kind, kind);
	if (!strstr(err.message, why))
		fail_msg("'%s' does not say '%s'", err.message, why);
}

/* One QMP_GONE, and nothing after it. */
static void expect_gone_event(struct talk *t)
{
	_cleanup_json_ json_t *event = qmp_next_event(t->q);
	assert_string_equal(json_get_str(event, "event", ""), "QMP_GONE");
	assert_true(json_get_str(json_object_get(event, "data"), "reason", "")[0]);
	assert_null(qmp_next_event(t->q));
}

static void expect_return(struct talk *t, uint64_t call, const char *text)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *reply = NULL;
	int found = qmp_take_reply(t->q, call, &reply, &err);
	if (found != 1)
		fail_msg("%d: %s", found, err.message);
	_cleanup_free_ char *got = json_line(reply);
	assert_string_equal(got, text);
}

static void expect_failure(struct talk *t, uint64_t call, enum err_kind kind, const char *message)
{
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	assert_int_equal(qmp_take_reply(t->q, call, &reply, &err), -1);
	assert_null(reply);
	assert_int_equal(err.kind, kind);
	assert_string_equal(err.message, message);
}

/* ---- the order of things ---- */

static void commands_wait_for_the_greeting(void **state)
{
	(void)state;
	struct talk t;
	struct err err = ERR_INIT;
	char first[64], second[64], caps[64];
	size_t before = open_fds();
	talk_new(&t);
	uint64_t a = send_plain(&t, "query-status");
	uint64_t dropped = send_plain(&t, "stop");
	uint64_t b = qmp_send(
		t.q, "getfd", json_pack("{s:s}", "fdname", "x"), (int[]){STDERR_FILENO}, 1, &err);
	qmp_forget(t.q, dropped); /* not sent yet, so it never will be */
	pump(&t);
	assert_null(peer_hear(&t.peer));
	peer_greet(&t.peer);
	pump(&t);
	peer_expect(&t.peer, "qmp_capabilities", caps);
	peer_expect(&t.peer, "query-status", first);
	assert_int_equal(wire_take_fd(&t.peer.wire), -1);
	peer_expect(&t.peer, "getfd", second);
	int fd = wire_take_fd(&t.peer.wire);
	assert_true(fd >= 0);
	close(fd);
	assert_null(peer_hear(&t.peer));
	/* an event before the reply to qmp_capabilities */
	peer_say(&t.peer, "{\"event\":\"STOP\"}{\"return\":{},\"id\":\"%s\"}", caps);
	peer_say(
		&t.peer, "{\"return\":1,\"id\":\"%s\"}{\"return\":2,\"id\":\"%s\"}", second, first);
	pump(&t);
	assert_true(qmp_ready(t.q));
	expect_return(&t, a, "2");
	expect_return(&t, b, "1");
	_cleanup_json_ json_t *event = qmp_wait_event(t.q, "STOP", deadline_in(0), &err);
	assert_non_null(event);
	talk_end(&t);
	assert_int_equal(open_fds(), before);
}

static void an_eager_client_waits_for_no_greeting(void **state)
{
	(void)state;
	struct talk t;
	char caps[64], first[64], second[64];
	t.q = qmp_start_eager(peer_new(&t.peer));
	uint64_t a = send_plain(&t, "stop");
	qmp_forget(
		t.q, send_plain(&t, "cont")); /* it is on its way: no longer wanted, not unsaid */
	peer_expect(&t.peer, "qmp_capabilities", caps);
	peer_expect(&t.peer, "stop", first);
	peer_expect(&t.peer, "cont", second);
	peer_greet(&t.peer);
	pump(&t);
	assert_non_null(qmp_greeting(t.q));
	assert_false(qmp_ready(t.q));
	assert_null(peer_hear(&t.peer)); /* negotiated once */
	peer_say(&t.peer, "{\"return\":{},\"id\":\"%s\"}{\"return\":1,\"id\":\"%s\"}", caps, first);
	peer_say(&t.peer, "{\"return\":2,\"id\":\"%s\"}", second);
	pump(&t);
	assert_true(qmp_ready(t.q));
	expect_return(&t, a, "1");
	assert_int_equal(qmp_strays(t.q), 0);
	talk_end(&t);
}

static void an_eager_client_of_nobody(void **state)
{
	(void)state;
	struct talk t;
	struct err err = ERR_INIT;
	int fd = peer_new(&t.peer);
	peer_end(&t.peer);
	t.q = qmp_start_eager(fd);
	assert_true(qmp_gone(t.q));
	assert_int_equal(qmp_send(t.q, "stop", NULL, NULL, 0, &err), 0);
	assert_int_equal(err.kind, ERR_GONE);
	expect_gone_event(&t);
	qmp_close(t.q);
}

/* Its first word is a greeting all the same: what answers before it is no QMP. */
static void an_eager_client_still_wants_a_greeting(void **state)
{
	(void)state;
	struct talk t;
	char caps[64];
	t.q = qmp_start_eager(peer_new(&t.peer));
	uint64_t call = send_plain(&t, "stop");
	peer_expect(&t.peer, "qmp_capabilities", caps);
	peer_say(&t.peer, "{\"return\":{},\"id\":\"%s\"}", caps);
	expect_gone(&t, ERR_GONE, "no greeting came");
	expect_failure(
		&t, call, ERR_GONE, "stop: the other side does not speak QMP: no greeting came");
	talk_end(&t);
}

static void held_commands_fail_when_no_greeting_comes(void **state)
{
	(void)state;
	static const struct {
		const char *said;
		enum err_kind kind;
		const char *why;
	} cases[] = {
		{"", ERR_GONE, "closed"},
		{"{\"QMP\":", ERR_GONE, "middle of a message"},
		{"{\"return\":{}}", ERR_GONE, "no greeting came"},
		{"SSH-2.0-OpenSSH_9.2\r\n", ERR_GONE, "not valid JSON"},
		{"{\"error\":{\"class\":\"busy\",\"desc\":\"64 clients\"}}", ERR_BUSY,
			"64 clients"},
		{"{\"QMP\":7}", ERR_GONE, "no greeting came"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct talk t;
		struct err err = ERR_INIT;
		json_t *reply = NULL;
		size_t before = open_fds();
		talk_new(&t);
		uint64_t call = qmp_send(t.q, "stop", NULL, (int[]){STDERR_FILENO}, 1, &err);
		peer_say(&t.peer, "%s", cases[i].said);
		wire_close(&t.peer.wire);
		expect_gone(&t, cases[i].kind, cases[i].why);
		assert_int_equal(qmp_take_reply(t.q, call, &reply, &err), -1);
		assert_true(str_starts(err.message, "stop: "));
		expect_gone_event(&t);
		talk_end(&t);
		assert_int_equal(open_fds(), before);
	}
}

static void capabilities_refused(void **state)
{
	(void)state;
	struct talk t;
	char id[64];
	talk_new(&t);
	peer_greet(&t.peer);
	pump(&t);
	peer_expect(&t.peer, "qmp_capabilities", id);
	peer_say(&t.peer, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":\"%s\"}",
		id);
	expect_gone(&t, ERR_QEMU, "qmp_capabilities: no");
	talk_end(&t);
}

/* ---- bad peers ---- */

static void foreign_replies_are_dropped(void **state)
{
	(void)state;
	struct talk t;
	char id[64];
	talk_ready(&t);
	uint64_t call = send_plain(&t, "query-status");
	peer_expect(&t.peer, "query-status", id);
	peer_say(&t.peer, "{\"return\":1}{\"return\":1,\"id\":7}{\"return\":1,\"id\":\"\"}"
			  "{\"return\":1,\"id\":\"0123456789abcdef-1\"}{\"return\":1,\"id\":null}");
	peer_say(&t.peer, "{\"return\":1,\"id\":\"%s9\"}{\"return\":1,\"id\":\"%s \"}", id, id);
	peer_say(&t.peer, "{\"return\":1,\"id\":\"%.*s\"}", (int)strlen(id) - 1, id);
	peer_say(&t.peer,
		"{\"error\":{\"class\":\"GenericError\",\"desc\":\"x\"}}{}{\"id\":\"%s\"}", id);
	pump(&t);
	assert_int_equal(qmp_strays(t.q), 11);
	json_t *reply = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(qmp_take_reply(t.q, call, &reply, &err), 0);
	peer_say(&t.peer, "{\"return\":\"ours\",\"id\":\"%s\"}{\"return\":\"twice\",\"id\":\"%s\"}",
		id, id);
	pump(&t);
	assert_int_equal(qmp_strays(t.q), 12);
	expect_return(&t, call, "\"ours\"");
	talk_end(&t);
}

static void two_connections_have_different_ids(void **state)
{
	(void)state;
	struct talk a, b;
	char one[64], other[64];
	talk_ready(&a);
	talk_ready(&b);
	uint64_t call = send_plain(&a, "stop");
	send_plain(&b, "stop");
	peer_expect(&a.peer, "stop", one);
	peer_expect(&b.peer, "stop", other);
	assert_string_not_equal(one, other);
	/* QEMU gives the other's reply to whoever is connected now */
	peer_say(&a.peer, "{\"return\":{},\"id\":\"%s\"}", other);
	pump(&a);
	json_t *reply = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(qmp_take_reply(a.q, call, &reply, &err), 0);
	assert_int_equal(qmp_strays(a.q), 1);
	talk_end(&a);
	talk_end(&b);
}

static void errors_without_words(void **state)
{
	(void)state;
	static const char *const errors[] = {"{}", "{\"class\":\"GenericError\"}", "5", "null",
		"[]", "{\"desc\":7}", "{\"class\":\"none\"}"};
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct talk t;
		char id[64];
		talk_ready(&t);
		uint64_t call = send_plain(&t, "stop");
		peer_expect(&t.peer, "stop", id);
		peer_say(&t.peer, "{\"error\":%s,\"id\":\"%s\"}", errors[i], id);
		pump(&t);
		expect_failure(&t, call, ERR_QEMU, "stop: an error without a description");
		talk_end(&t);
	}
}

static void an_error_of_our_own_stays_as_it_is(void **state)
{
	(void)state;
	struct talk t;
	char id[64];
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	talk_ready(&t);
	uint64_t call = send_plain(&t, "roost-stop");
	peer_expect(&t.peer, "roost-stop", id);
	peer_say(&t.peer,
		"{\"error\":{\"class\":\"busy\",\"desc\":\"guest 'a' is busy\",\"hint\":"
		"\"wait\"},\"id\":\"%s\"}",
		id);
	pump(&t);
	assert_int_equal(qmp_take_reply(t.q, call, &reply, &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_string_equal(err.message, "guest 'a' is busy");
	assert_string_equal(err.hint, "wait");
	talk_end(&t);
}

static void raw_replies(void **state)
{
	(void)state;
	struct talk t;
	char id[64];
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	talk_ready(&t);
	uint64_t call = send_plain(&t, "stop");
	peer_expect(&t.peer, "stop", id);
	assert_int_equal(qmp_take_raw_reply(t.q, call, &reply, &err), 0);
	peer_say(&t.peer, "{\"id\":\"%s\",\"error\":{\"class\":\"X\",\"desc\":\"y\"}}", id);
	pump(&t);
	assert_int_equal(qmp_take_raw_reply(t.q, call, &reply, &err), 1);
	_cleanup_free_ char *text = json_line(reply);
	assert_string_equal(text, "{\"error\":{\"class\":\"X\",\"desc\":\"y\"}}");
	json_decref(reply);
	talk_end(&t);
}

static void pending_calls_fail_together(void **state)
{
	(void)state;
	struct talk t;
	char id[64];
	struct err err = ERR_INIT;
	talk_ready(&t);
	uint64_t answered = send_plain(&t, "query-status");
	uint64_t a = send_plain(&t, "stop"), b = send_plain(&t, "cont"), c = send_plain(&t, "quit");
	qmp_forget(t.q, b);
	peer_expect(&t.peer, "query-status", id);
	peer_say(&t.peer, "{\"event\":\"SHUTDOWN\"}{\"return\":{},\"id\":\"%s\"}{\"retu", id);
	wire_close(&t.peer.wire);
	/* it hung up on what we said: that must not cost us what it had said before */
	expect_gone(&t, ERR_GONE, "middle of a message");
	expect_gone(&t, ERR_GONE, "middle of a message");
	expect_return(&t, answered, "{}");
	expect_failure(&t, a, ERR_GONE,
		"stop: in the middle of a message: the other side closed the connection");
	expect_failure(&t, b, ERR_USAGE, "there is no call 3");
	expect_failure(&t, c, ERR_GONE,
		"quit: in the middle of a message: the other side closed the connection");
	_cleanup_json_ json_t *event = qmp_next_event(t.q);
	assert_string_equal(json_get_str(event, "event", ""), "SHUTDOWN");
	expect_gone_event(&t);
	assert_int_equal(qmp_send(t.q, "stop", json_object(), NULL, 0, &err), 0);
	assert_int_equal(err.kind, ERR_GONE);
	talk_end(&t);
}

static void what_breaks_a_connection(void **state)
{
	(void)state;
	struct buf deep = {0};
	for (int i = 0; i < 100000; i++)
		buf_str(&deep, i ? "[" : "{\"event\":");
	const struct {
		const char *said, *why;
	} cases[] = {
		{deep.data, "nested deeper than 64"},
		{"{\"event\":\"\xc3(\"}", "not valid JSON"},
		{"{\"return\":}", "not valid JSON"},
		{"hello\n", "not valid JSON"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct talk t;
		talk_ready(&t);
		uint64_t call = send_plain(&t, "stop");
		peer_say(&t.peer, "%s", cases[i].said);
		expect_gone(&t, ERR_GONE, cases[i].why);
		struct err err = ERR_INIT;
		json_t *reply = NULL;
		assert_int_equal(qmp_take_reply(t.q, call, &reply, &err), -1);
		assert_int_equal(err.kind, ERR_GONE);
		expect_gone_event(&t);
		talk_end(&t);
	}
	buf_free(&deep);
}

static void an_endless_line(void **state)
{
	(void)state;
	enum { CHUNK = 64 * 1024 };
	struct talk t;
	struct err err = ERR_INIT;
	size_t said = 0;
	_cleanup_free_ char *filler = xcalloc(1, CHUNK);
	memset(filler, 'x', CHUNK);
	talk_ready(&t);
	peer_say(&t.peer, "{\"return\":\"");
	while (qmp_pump(t.q, &err) == 0)
		said += peer_say_some(&t.peer, filler, CHUNK);
	assert_in_range(said, WIRE_LINE_MAX, WIRE_LINE_MAX + 1024 * 1024);
	expect_gone(&t, ERR_GONE, "longer than 16 MiB");
	talk_end(&t);
}

/* The newest are kept, the reply comes through, and the pump returns. */
static void a_flood_of_events(void **state)
{
	(void)state;
	enum { FLOOD = 50000 };
	struct talk t;
	char id[64];
	talk_ready(&t);
	uint64_t call = send_plain(&t, "query-status");
	peer_expect(&t.peer, "query-status", id);
	for (int i = 0; i < FLOOD; i++) {
		char text[64];
		int len =
			snprintf(text, sizeof(text), "{\"event\":\"E\",\"data\":{\"n\":%d}}\n", i);
		if (i % 100 == 0)
			pump(&t);
		peer_say_bytes(&t.peer, text, (size_t)len);
	}
	peer_say(&t.peer, "{\"return\":{},\"id\":\"%s\"}\n", id);
	pump(&t);
	expect_return(&t, call, "{}");
	assert_int_equal(qmp_strays(t.q), FLOOD - QMP_EVENTS_MAX);
	for (int i = FLOOD - QMP_EVENTS_MAX; i < FLOOD; i++) {
		_cleanup_json_ json_t *event = qmp_next_event(t.q);
		assert_int_equal(json_get_int(json_object_get(event, "data"), "n", -1), i);
	}
	assert_null(qmp_next_event(t.q));
	talk_end(&t);
}

static void large_events_are_bounded_by_bytes(void **state)
{
	(void)state;
	enum { LARGE = 60000, FLOOD = 400 };
	struct talk t;
	int waiting = 0;
	_cleanup_free_ char *text = xcalloc(1, LARGE + 1);
	memset(text, 'x', LARGE);
	talk_ready(&t);
	for (int i = 0; i < FLOOD; i++) {
		peer_say(&t.peer, "{\"event\":\"E\",\"data\":\"%s\"}\n", text);
		pump(&t);
	}
	for (json_t *event; (event = qmp_next_event(t.q)); waiting++)
		json_decref(event);
	assert_in_range(waiting, 100, 8 * 1024 * 1024 / LARGE);
	assert_int_equal(qmp_strays(t.q), FLOOD - waiting);
	talk_end(&t);
}

static void one_byte_at_a_time(void **state)
{
	(void)state;
	struct talk t;
	struct err err = ERR_INIT;
	char id[64], text[128];
	talk_ready(&t);
	uint64_t call = send_plain(&t, "query-status");
	peer_expect(&t.peer, "query-status", id);
	int len = snprintf(
		text, sizeof(text), "{\"return\":{\"status\":\"paused\"},\"id\":\"%s\"}", id);
	for (int i = 0; i < len; i++) {
		json_t *reply = NULL;
		assert_int_equal(qmp_take_reply(t.q, call, &reply, &err), 0);
		assert_true(qmp_oldest_call(t.q) > 0);
		peer_say_bytes(&t.peer, text + i, 1);
		pump(&t);
	}
	assert_int_equal(qmp_oldest_call(t.q), 0);
	expect_return(&t, call, "{\"status\":\"paused\"}");
	talk_end(&t);
}

static void forgotten_calls(void **state)
{
	(void)state;
	struct talk t;
	char id[64];
	talk_ready(&t);
	uint64_t call = send_plain(&t, "stop");
	peer_expect(&t.peer, "stop", id);
	qmp_forget(t.q, call);
	assert_true(qmp_oldest_call(t.q) > 0); /* QEMU still owes the answer */
	peer_say(&t.peer, "{\"return\":{},\"id\":\"%s\"}", id);
	pump(&t);
	assert_int_equal(qmp_oldest_call(t.q), 0);
	assert_int_equal(qmp_strays(t.q), 0);
	expect_failure(&t, call, ERR_USAGE, "there is no call 1");
	talk_end(&t);
}

/* ---- blocking ---- */

static void a_silent_peer_is_a_timeout(void **state)
{
	(void)state;
	struct peer p;
	struct err err = ERR_INIT;
	size_t before = open_fds();
	int64_t began = clock_ms();
	assert_null(qmp_open(peer_new(&p), deadline_in(50), &err));
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_string_equal(err.message, "no greeting came in time");
	peer_end(&p);
	int fd = peer_new(&p);
	peer_greet(&p);
	assert_null(qmp_open(fd, deadline_in(50), &err));
	assert_string_equal(err.message, "no answer to qmp_capabilities came in time");
	peer_end(&p);
	assert_in_range(clock_ms() - began, 100, 10000);
	assert_int_equal(open_fds(), before);
}

static void blocking_calls_end_at_their_deadline(void **state)
{
	(void)state;
	struct talk t;
	struct err err = ERR_INIT;
	talk_ready(&t);
	int64_t began = clock_ms();
	assert_int_equal(qmp_call(t.q, "stop", NULL, deadline_in(30), NULL, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_true(str_starts(err.message, "stop: no answer within "));
	peer_say(&t.peer, "{\"event\":\"A\"}");
	assert_null(qmp_wait_event(t.q, "B", deadline_in(30), &err));
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_in_range(clock_ms() - began, 60, 10000);
	wire_close(&t.peer.wire);
	assert_int_equal(qmp_call(t.q, "cont", NULL, deadline_in(1000), NULL, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	assert_null(qmp_wait_event(t.q, "B", deadline_in(1000), &err));
	assert_int_equal(err.kind, ERR_GONE);
	talk_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_wait_for_the_greeting),
		cmocka_unit_test(an_eager_client_waits_for_no_greeting),
		cmocka_unit_test(an_eager_client_of_nobody),
		cmocka_unit_test(an_eager_client_still_wants_a_greeting),
		cmocka_unit_test(held_commands_fail_when_no_greeting_comes),
		cmocka_unit_test(capabilities_refused),
		cmocka_unit_test(foreign_replies_are_dropped),
		cmocka_unit_test(two_connections_have_different_ids),
		cmocka_unit_test(errors_without_words),
		cmocka_unit_test(an_error_of_our_own_stays_as_it_is),
		cmocka_unit_test(raw_replies),
		cmocka_unit_test(pending_calls_fail_together),
		cmocka_unit_test(what_breaks_a_connection),
		cmocka_unit_test(an_endless_line),
		cmocka_unit_test(a_flood_of_events),
		cmocka_unit_test(large_events_are_bounded_by_bytes),
		cmocka_unit_test(one_byte_at_a_time),
		cmocka_unit_test(forgotten_calls),
		cmocka_unit_test(a_silent_peer_is_a_timeout),
		cmocka_unit_test(blocking_calls_end_at_their_deadline),
	};
	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
