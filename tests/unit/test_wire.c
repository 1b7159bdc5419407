/* qmp/wire: where messages end, what breaks the wire and what does not, fds, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/peer.h"

struct both {
	struct peer peer;
	struct wire wire;
};

static void both_new(struct both *b)
{
	wire_init(&b->wire, peer_new(&b->peer));
}

static void both_end(struct both *b)
{
	wire_close(&b->wire);
	peer_end(&b->peer);
}

/* The next message as text; "" when there is none yet, "!KIND: REASON" for a failure. */
static char *next(struct wire *w)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *msg = NULL;
	wire_read(w, &err);
	int found = wire_next(w, &msg, &err);
	if (found > 0)
		return json_dumps(msg, JSON_COMPACT | JSON_SORT_KEYS);
	return found < 0 ? str_fmt("!%s: %s", err_kind_name(err.kind), err.message) : xstrdup("");
}

static void expect(struct wire *w, const char *text)
{
	_cleanup_free_ char *got = next(w);
	assert_string_equal(got, text);
}

static void expect_start(struct wire *w, const char *text)
{
	_cleanup_free_ char *got = next(w);
	if (!str_starts(got, text))
		fail_msg("'%s' does not begin with '%s'", got, text);
}

static void whole_messages(void **state)
{
	(void)state;
	static const struct {
		const char *said;
		const char *messages[4];
	} cases[] = {
		{"{}\n", {"{}"}},
		{"{}", {"{}"}},
		{"\r\n\t {\"a\":1}\r\n", {"{\"a\":1}"}},
		{"{\"a\":1}{\"b\":2}\n\n{\"c\":3}", {"{\"a\":1}", "{\"b\":2}", "{\"c\":3}"}},
		{"{\n  \"a\": [\n    {}\n  ]\n}\n", {"{\"a\":[{}]}"}},
		{"{\"a\":\"}]{[\\\"}\\\\\"}", {"{\"a\":\"}]{[\\\"}\\\\\"}"}},
		{"{\"\xc3\xa4\":\"\\u00fc\"}", {"{\"\xc3\xa4\":\"\xc3\xbc\"}"}},
		{"\xff\xff{\"a\":1}\xff{\"b\":2}", {"{\"a\":1}", "{\"b\":2}"}},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int bytewise = 0; bytewise < 2; bytewise++) {
			struct both b;
			size_t found = 0;
			both_new(&b);
			for (const char *c = cases[i].said; *c; c += bytewise ? 1 : strlen(c)) {
				peer_say_bytes(&b.peer, c, bytewise ? 1 : strlen(c));
				_cleanup_free_ char *got = next(&b.wire);
				if (got[0])
					assert_string_equal(got, cases[i].messages[found++]);
			}
			while (cases[i].messages[found])
				expect(&b.wire, cases[i].messages[found++]);
			expect(&b.wire, "");
			both_end(&b);
		}
	}
}

static void what_is_not_json_is_dropped(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"hello\n",
		"42\n",
		"null\n",
		"[1]\n",
		"\"text\"\n",
		"}\n",
		"{\"a\":}",
		"{]",
		"{\"a\":1,}",
		"{\"a\":\"\xc3\"}",
		"{\"a\":\"\xed\xa0\x80\"}",
		"{\"a\":1,\"a\":2}",
		"{\"a\":\"\n",
		"{\"a\":\"\\u0000\"}",
		"{\"cut\":[1,2\xff",
		"{\"cut\":\"te\xff",
		"{'a':1}",
		"{\"a\":01}",
		"{\"a\":1e999}",
		"{\"a\":1e}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct both b;
		both_new(&b);
		peer_say(&b.peer, "%s", bad[i]);
		expect_start(&b.wire, "!usage: not");
		peer_say(&b.peer, "{\"on\":1}\n");
		expect(&b.wire, "{\"on\":1}");
		both_end(&b);
	}
}

/* QEMU says 2^64-1 for the size of all memory. */
static void numbers_beyond_int64_become_reals(void **state)
{
	(void)state;
	static const char said[] = "{\"return\":[18446744073709551615,-9223372036854775809,12,"
				   "9223372036854775807,0.1234567890123456789012,"
				   "\"18446744073709551615 \\\" 18446744073709551615\"]}";
	struct err err = ERR_INIT;
	struct both b;
	both_new(&b);
	peer_say(&b.peer, "%s", said);
	_cleanup_json_ json_t *msg = NULL;
	wire_read(&b.wire, &err);
	assert_int_equal(wire_next(&b.wire, &msg, &err), 1);
	const json_t *list = json_object_get(msg, "return");
	assert_true(json_real_value(json_array_get(list, 0)) == 18446744073709551615.0);
	assert_true(json_real_value(json_array_get(list, 1)) == -9223372036854775809.0);
	assert_true(json_is_integer(json_array_get(list, 2)));
	assert_int_equal(json_integer_value(json_array_get(list, 3)), INT64_MAX);
	assert_true(json_is_real(json_array_get(list, 4)));
	assert_string_equal(json_string_value(json_array_get(list, 5)),
		"18446744073709551615 \" 18446744073709551615");
	both_end(&b);
}

static char *nested(size_t depth, bool closed)
{
	struct buf text = {0};
	buf_str(&text, "{\"a\":");
	for (size_t i = 1; i < depth; i++)
		buf_str(&text, "[");
	for (size_t i = 1; closed && i < depth; i++)
		buf_str(&text, "]");
	buf_str(&text, closed ? "}" : "");
	return buf_steal(&text);
}

static void depth(void **state)
{
	(void)state;
	static const char *const over =
		"!gone: the other side sent a message nested deeper than 64";
	for (int i = 0; i < 3; i++) {
		static const size_t depths[] = {JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1, 100000};
		struct both b;
		both_new(&b);
		_cleanup_free_ char *text = nested(depths[i], i < 2);
		peer_say(&b.peer, "%s", text);
		expect_start(&b.wire, i ? over : "{\"a\":[[");
		peer_say(&b.peer, "{}\n");
		expect_start(&b.wire, i ? over : "{}");
		both_end(&b);
	}
}

static void endless_line(void **state)
{
	(void)state;
	enum { CHUNK = 64 * 1024 };
	static const char *const begins[] = {"{\"a\":\"", "junk ", "{"};
	_cleanup_free_ char *filler = xcalloc(1, CHUNK);
	memset(filler, ' ', CHUNK);
	for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
		struct both b;
		struct err err = ERR_INIT;
		json_t *msg = NULL;
		size_t said = 0, most = 0;
		int found = 0;
		both_new(&b);
		peer_say(&b.peer, "%s", begins[i]);
		while (found == 0) {
			said += peer_say_some(&b.peer, filler, CHUNK);
			wire_read(&b.wire, &err);
			most = b.wire.in.cap > most ? b.wire.in.cap : most;
			found = wire_next(&b.wire, &msg, &err);
		}
		assert_int_equal(found, -1);
		assert_int_equal(err.kind, ERR_GONE);
		assert_string_equal(
			err.message, "the other side sent a message longer than 16 MiB");
		assert_in_range(said, WIRE_LINE_MAX, WIRE_LINE_MAX + 1024 * 1024);
		assert_in_range(most, WIRE_LINE_MAX, 2 * WIRE_LINE_MAX);
		assert_int_equal(b.wire.in.cap, 0);
		both_end(&b);
	}
}

static void a_flood_is_not_buffered(void **state)
{
	(void)state;
	enum { FLOOD = 128 * 1024 };
	struct both b;
	struct err err = ERR_INIT;
	_cleanup_free_ char *spaces = xcalloc(1, FLOOD);
	memset(spaces, '\n', FLOOD);
	both_new(&b);
	peer_say_bytes(&b.peer, spaces, FLOOD);
	assert_int_equal(wire_read(&b.wire, &err), 1);
	assert_true(b.wire.in.len <= 64 * 1024);
	both_end(&b);
}

static void buffers_are_given_back(void **state)
{
	(void)state;
	enum { LARGE = 100000 };
	struct both b;
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = xcalloc(1, LARGE + 1);
	memset(text, 'x', LARGE);
	_cleanup_json_ json_t *msg = json_pack("{s:s}", "a", text);
	both_new(&b);
	assert_int_equal(wire_send(&b.peer.wire, msg, NULL, 0, &err), 0);
	json_t *got = NULL;
	while (!got) {
		wire_read(&b.wire, &err);
		assert_true(wire_next(&b.wire, &got, &err) >= 0);
		wire_flush(&b.peer.wire, &err);
	}
	assert_true(json_equal(got, msg));
	json_decref(got);
	expect(&b.wire, "");
	assert_true(b.wire.in.cap <= 16 * 1024);
	assert_true(b.peer.wire.out.cap <= 16 * 1024);
	both_end(&b);
}

static void the_end(void **state)
{
	(void)state;
	struct both b;
	both_new(&b);
	peer_say(&b.peer, "{\"a\":1}\n{\"b\":2}\n");
	peer_end(&b.peer);
	expect(&b.wire, "{\"a\":1}");
	expect(&b.wire, "{\"b\":2}");
	expect(&b.wire, "!gone: the other side closed the connection");
	both_end(&b);

	both_new(&b);
	peer_say(&b.peer, "{\"a\":1}\n{\"b\":");
	peer_end(&b.peer);
	expect(&b.wire, "{\"a\":1}");
	expect(&b.wire, "!gone: in the middle of a message: the other side closed the connection");
	both_end(&b);
}

static void writing_fails_but_what_was_said_is_heard(void **state)
{
	(void)state;
	struct both b;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *msg = json_pack("{s:i}", "x", 1);
	both_new(&b);
	peer_say(&b.peer, "{\"last\":\"words\"}");
	peer_end(&b.peer);
	assert_int_equal(wire_send(&b.wire, msg, NULL, 0, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	expect(&b.wire, "{\"last\":\"words\"}");
	expect(&b.wire, "!gone: the other side closed the connection");
	both_end(&b);
}

/* ---- fds ---- */

static int temporary_fd(int number)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, number), 0);
	return fd;
}

static void expect_fd(struct wire *w, int number)
{
	struct stat st = {0};
	int fd = wire_take_fd(w);
	if (number < 0) {
		assert_int_equal(fd, -1);
		return;
	}
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, number);
	close(fd);
}

static void send_numbered(struct wire *w, int number, size_t fd_count)
{
	struct err err = ERR_INIT;
	int fds[SOCK_FDS_MAX];
	_cleanup_json_ json_t *msg = json_pack("{s:i}", "n", number);
	for (size_t i = 0; i < fd_count; i++)
		fds[i] = temporary_fd(number * 100 + (int)i);
	assert_int_equal(wire_send(w, msg, fds, fd_count, &err), 0);
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

/* Several messages lie in the socket before any is read: each still gets its own fds. */
static void fds_come_with_their_message(void **state)
{
	(void)state;
	struct both b;
	size_t before = open_fds();
	both_new(&b);
	send_numbered(&b.peer.wire, 1, 0);
	send_numbered(&b.peer.wire, 2, 1);
	send_numbered(&b.peer.wire, 3, 0);
	send_numbered(&b.peer.wire, 4, 3);
	expect(&b.wire, "{\"n\":1}");
	expect_fd(&b.wire, -1);
	expect(&b.wire, "{\"n\":2}");
	expect_fd(&b.wire, 200);
	expect_fd(&b.wire, -1);
	expect(&b.wire, "{\"n\":3}");
	expect_fd(&b.wire, -1);
	expect(&b.wire, "{\"n\":4}");
	expect_fd(&b.wire, 400);
	expect_fd(&b.wire, 401);
	/* 402 is left to wire_close() */
	both_end(&b);
	assert_int_equal(open_fds(), before);
}

/* The peer does not read at first: fds wait in the queue behind what fills the socket. */
static void fds_wait_for_their_turn(void **state)
{
	(void)state;
	enum { LARGE = 1024 * 1024, MESSAGES = 3 };
	struct both b;
	struct err err = ERR_INIT;
	size_t before = open_fds();
	_cleanup_free_ char *text = xcalloc(1, LARGE + 1);
	memset(text, 'x', LARGE);
	_cleanup_json_ json_t *large = json_pack("{s:s}", "large", text);
	both_new(&b);
	for (int i = 1; i <= MESSAGES; i++) {
		assert_int_equal(wire_send(&b.peer.wire, large, NULL, 0, &err), 0);
		send_numbered(&b.peer.wire, i, (size_t)i);
	}
	assert_true(wire_events(&b.peer.wire) & POLLOUT);
	for (int heard = 0; heard < 2 * MESSAGES;) {
		_cleanup_json_ json_t *msg = NULL;
		assert_true(wire_flush(&b.peer.wire, &err) == 0);
		wire_read(&b.wire, &err);
		if (wire_next(&b.wire, &msg, &err) <= 0)
			continue;
		int number = (int)json_get_int(msg, "n", 0);
		assert_int_equal(number, heard % 2 ? heard / 2 + 1 : 0);
		for (int i = 0; i < number; i++)
			expect_fd(&b.wire, number * 100 + i);
		expect_fd(&b.wire, -1);
		heard++;
	}
	assert_false(wire_events(&b.peer.wire) & POLLOUT);
	both_end(&b);
	assert_int_equal(open_fds(), before);
}

static void fds_are_bounded(void **state)
{
	(void)state;
	struct both b;
	struct err err = ERR_INIT;
	size_t before = open_fds();
	int fds[SOCK_FDS_MAX + 1];
	_cleanup_json_ json_t *msg = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = STDERR_FILENO;
	both_new(&b);
	assert_int_equal(wire_send(&b.wire, msg, fds, ARRAY_SIZE(fds), &err), -1);
	assert_int_equal(err.kind, ERR_USAGE);
	fds[1] = 9999;
	assert_int_equal(wire_send(&b.wire, msg, fds, 2, &err), -1);
	assert_int_equal(err.kind, ERR_SYSTEM);
	fds[1] = STDERR_FILENO;
	/* neither has harmed the wire; and a peer that sends many costs no more than 16 */
	for (int i = 0; i < 8; i++)
		assert_int_equal(wire_send(&b.wire, msg, fds, SOCK_FDS_MAX, &err), 0);
	for (int i = 0; i < 8; i++)
		wire_read(&b.peer.wire, &err);
	assert_int_equal(b.peer.wire.in_fd_count, SOCK_FDS_MAX);
	both_end(&b);
	assert_int_equal(open_fds(), before);
}

static void a_peer_that_does_not_read_is_cut_off(void **state)
{
	(void)state;
	enum { LARGE = 1024 * 1024 };
	struct both b;
	struct err err = ERR_INIT;
	size_t sent = 0;
	_cleanup_free_ char *text = xcalloc(1, LARGE);
	memset(text, '\n', LARGE);
	both_new(&b);
	while (wire_send_raw(&b.wire, text, LARGE, &err) == 0)
		sent += LARGE;
	assert_int_equal(err.kind, ERR_GONE);
	assert_string_equal(err.message, "the other side does not read what it is sent");
	assert_in_range(sent, WIRE_OUT_MAX, WIRE_OUT_MAX + 2 * LARGE);
	assert_int_equal(b.wire.out.cap, 0);
	both_end(&b);
}

static void errors(void **state)
{
	(void)state;
	static const struct {
		const char *error;
		enum err_kind kind;
		const char *message, *hint;
	} cases[] = {
		{"{\"class\":\"GenericError\",\"desc\":\"no\"}", ERR_QEMU, "stop: no", ""},
		{"{\"class\":\"DeviceNotFound\"}", ERR_QEMU, "stop: an error without a description",
			""},
		{"{}", ERR_QEMU, "stop: an error without a description", ""},
		{"{\"class\":7,\"desc\":[]}", ERR_QEMU, "stop: an error without a description", ""},
		{"5", ERR_QEMU, "stop: an error without a description", ""},
		{"{\"class\":\"busy\",\"desc\":\"guest 'a' is busy\",\"hint\":\"wait\"}", ERR_BUSY,
			"guest 'a' is busy", "wait"},
		{"{\"class\":\"none\",\"desc\":\"all is well\"}", ERR_QEMU, "stop: all is well",
			""},
		{"{\"class\":\"X\",\"desc\":\"a\\nb\\u001b[31m\\u009bc\\u007f\"}", ERR_QEMU,
			"stop: a b [31m  c ", ""},
	};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *error =
			json_text_parse(cases[i].error, strlen(cases[i].error), &err);
		assert_non_null(error);
		assert_int_equal(wire_error(error, "stop", &err), -1);
		assert_int_equal(err.kind, cases[i].kind);
		assert_string_equal(err.message, cases[i].message);
		assert_string_equal(err.hint, cases[i].hint);
	}
	/* a long text is cut between characters, so it can still travel as JSON */
	struct buf text = {0};
	for (int i = 0; i < 1000; i++)
		buf_str(&text, "\xe2\x82\xac");
	_cleanup_json_ json_t *error = json_pack("{s:s}", "desc", text.data);
	buf_free(&text);
	wire_error(error, "stop", &err);
	_cleanup_json_ json_t *again = json_string(err.message);
	assert_non_null(again);
	assert_true(strlen(err.message) > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_messages),
		cmocka_unit_test(what_is_not_json_is_dropped),
		cmocka_unit_test(numbers_beyond_int64_become_reals),
		cmocka_unit_test(depth),
		cmocka_unit_test(endless_line),
		cmocka_unit_test(a_flood_is_not_buffered),
		cmocka_unit_test(buffers_are_given_back),
		cmocka_unit_test(the_end),
		cmocka_unit_test(writing_fails_but_what_was_said_is_heard),
		cmocka_unit_test(fds_come_with_their_message),
		cmocka_unit_test(fds_wait_for_their_turn),
		cmocka_unit_test(fds_are_bounded),
		cmocka_unit_test(a_peer_that_does_not_read_is_cut_off),
		cmocka_unit_test(errors),
	};
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
