/* qmp/client: conversations recorded from QEMU (tests/replies), said in pieces of several sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp/client.h"
#include "tests/unit/peer.h"

enum { IDS_MAX = 64 };

struct replay {
	struct peer peer;
	struct qmp *q;
	size_t chunk;            /* QEMU's words come in pieces of so many bytes; 0: at once */
	uint64_t calls[IDS_MAX]; /* by the number in the recorded id */
	char commands[IDS_MAX][40];
	char ids[IDS_MAX][64]; /* ours for the recorded one */
	uint64_t strays;
};

static unsigned recorded_number(const json_t *msg)
{
	const char *id = json_get_str(msg, "id", "c-0");
	unsigned number = (unsigned)strtoul(id + 2, NULL, 10);
	assert_true(number < IDS_MAX);
	return number;
}

static void replay_client(struct replay *r, const struct line *line)
{
	struct err err = ERR_INIT;
	if (line->raw)
		return; /* our client cannot say such things; the answers come all the same */
	_cleanup_json_ json_t *msg = json_text_parse(line->text, strlen(line->text), &err);
	const char *command = json_get_str(msg, "execute", "");
	unsigned n = recorded_number(msg);
	snprintf(r->commands[n], sizeof(r->commands[n]), "%s", command);
	if (n > 1) { /* c-1 is qmp_capabilities, which the client says by itself */
		json_t *args = json_object_get(msg, "arguments");
		int fds[] = {STDERR_FILENO};
		r->calls[n] = qmp_send(r->q, command, args ? json_deep_copy(args) : NULL, fds,
			(size_t)line->fds, &err);
		assert_true(r->calls[n] > 0);
	}
	_cleanup_json_ json_t *heard = peer_hear(&r->peer);
	assert_string_equal(json_get_str(heard, "execute", ""), command);
	assert_true(json_equal(json_object_get(heard, "arguments"),
			    json_object_get(msg, "arguments")) ||
		    !json_object_get(msg, "arguments"));
	snprintf(r->ids[n], sizeof(r->ids[n]), "%s", json_get_str(heard, "id", ""));
	for (int64_t i = 0; i < line->fds; i++) {
		int fd = wire_take_fd(&r->peer.wire);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(wire_take_fd(&r->peer.wire), -1);
}

/* Says it as QEMU did, but with our id in place of the recorded one. */
static void replay_say(struct replay *r, const char *text)
{
	struct err err = ERR_INIT;
	struct buf out = {0};
	const char *at = strstr(text, "\"id\":\"c-");
	if (at) {
		unsigned n = (unsigned)strtoul(at + strlen("\"id\":\"c-"), NULL, 10);
		const char *end = strchr(at + strlen("\"id\":\""), '"') + 1;
		buf_add(&out, text, (size_t)(at - text));
		buf_fmt(&out, "\"id\":\"%s\"%s\r\n", r->ids[n], end);
	} else {
		buf_fmt(&out, "%s\r\n", text);
	}
	size_t chunk = r->chunk ? r->chunk : 64 * 1024;
	for (size_t said = 0; said < out.len; said += chunk) {
		size_t left = out.len - said;
		peer_say_bytes(&r->peer, out.data + said, left < chunk ? left : chunk);
		qmp_pump(r->q, &err);
	}
	buf_free(&out);
}

static void check_reply(struct replay *r, const json_t *msg)
{
	struct err err = ERR_INIT, expected = ERR_INIT;
	json_t *reply = NULL;
	unsigned n = recorded_number(msg);
	const json_t *error = json_object_get(msg, "error");
	if (n == 0) {
		assert_int_equal(qmp_strays(r->q), ++r->strays);
		return;
	}
	if (n == 1)
		return;
	int found = qmp_take_reply(r->q, r->calls[n], &reply, &err);
	assert_int_equal(found, error ? -1 : 1);
	if (error) {
		err_set(&expected, ERR_QEMU, "%s: %s", r->commands[n],
			json_get_str(error, "desc", ""));
		assert_string_equal(err.message, expected.message);
		assert_int_equal(err.kind, ERR_QEMU);
		assert_int_equal(qmp_take_reply(r->q, r->calls[n], &reply, &err), -1);
		assert_int_equal(err.kind, ERR_USAGE); /* taken already */
		return;
	}
	assert_true(json_equal(reply, json_object_get(msg, "return")));
	json_decref(reply);
}

static void replay_qemu(struct replay *r, const struct line *line)
{
	struct err err = ERR_INIT;
	replay_say(r, line->text);
	_cleanup_json_ json_t *msg = json_text_parse(line->text, strlen(line->text), &err);
	if (!msg)
		return; /* 2^64-1: the test at the end looks at it */
	if (json_object_get(msg, "event")) {
		_cleanup_json_ json_t *event = qmp_next_event(r->q);
		assert_true(json_equal(event, msg));
	} else if (!json_object_get(msg, "QMP")) {
		check_reply(r, msg);
	} else {
		assert_true(json_equal(qmp_greeting(r->q), json_object_get(msg, "QMP")));
	}
	assert_null(qmp_next_event(r->q));
}

static void replay(const char *name, size_t chunk, struct replay *r)
{
	size_t count;
	struct line *lines = replies_read(name, &count);
	*r = (struct replay){.chunk = chunk};
	r->q = qmp_start(peer_new(&r->peer));
	for (size_t i = 0; i < count; i++) {
		if (lines[i].from_qemu)
			replay_qemu(r, &lines[i]);
		else
			replay_client(r, &lines[i]);
	}
	assert_true(qmp_ready(r->q));
	replies_free(lines, count);
}

static void expect_gone(struct qmp *q)
{
	struct err err = ERR_INIT;
	assert_int_equal(qmp_pump(q, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	_cleanup_json_ json_t *event = qmp_next_event(q);
	assert_string_equal(json_get_str(event, "event", ""), "QMP_GONE");
	assert_null(qmp_next_event(q));
}

static void recorded_conversations(void **state)
{
	(void)state;
	static const char *const names[] = {"life", "two", "devices", "blocks", "fds", "schema"};
	static const size_t chunks[] = {0, 1, 7, 4096};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(chunks); j++) {
			struct replay r;
			replay(names[i], chunks[j], &r);
			assert_int_equal(qmp_oldest_call(r.q), 0);
			wire_close(&r.peer.wire);
			expect_gone(r.q);
			qmp_close(r.q);
		}
	}
}

static void recorded_faults(void **state)
{
	(void)state;
	struct replay r;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *size = NULL;
	replay("faults", 0, &r);
	assert_int_equal(r.strays, 8);
	/* the last one asked for the size of all memory, which QEMU says is 2^64-1 */
	assert_int_equal(qmp_take_reply(r.q, r.calls[6], &size, &err), 1);
	assert_true(json_real_value(size) == 18446744073709551615.0);
	qmp_close(r.q);
	peer_end(&r.peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_conversations),
		cmocka_unit_test(recorded_faults),
	};
	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
