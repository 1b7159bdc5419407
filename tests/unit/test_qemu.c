/* qmp/client against the real QEMU: paused, TCG, no disk, in a network namespace of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "qmp/client.h"
#include "qmp/schema.h"
#include "tests/unit/lacking.h"

enum { START_MS = 20000, ANSWER_MS = 10000 };

static const char QEMU[] = "/usr/bin/qemu-system-x86_64";

struct house {
	char folder[64];
	char *path;
	struct child child;
};

static struct qmp *connect_to(const char *path, struct err *err)
{
	int64_t deadline = deadline_in(START_MS);
	for (;;) {
		struct qmp *q = qmp_connect(path, deadline, err);
		/* it has not made its socket yet, or does not listen on it yet */
		bool early = !q && (err->kind == ERR_NOT_FOUND || err->kind == ERR_GONE);
		if (!early || !deadline_left(deadline))
			return q;
		usleep(10000);
	}
}

static int start(void **state)
{
	struct err err = ERR_INIT;
	struct house *h = xcalloc(1, sizeof(*h));
	snprintf(h->folder, sizeof(h->folder), "/tmp/roost-qemu-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	h->path = str_fmt("%s/qmp", h->folder);
	_cleanup_free_ char *chardev = str_fmt("socket,id=q,path=%s,server=on,wait=off", h->path);
	const char *const argv[] = {"/usr/bin/unshare", geteuid() == 0 ? "--net" : "-rn", QEMU,
		"-nodefaults", "-no-user-config", "-M", "q35", "-accel", "tcg", "-m", "64", "-S",
		"-display", "none", "-chardev", chardev, "-mon", "chardev=q,mode=control", NULL};
	if (child_start(argv, false, &h->child, &err) < 0)
		fail_msg("%s", err.message);
	*state = h;
	return 0;
}

static int end(void **state)
{
	struct house *h = *state;
	struct err err = ERR_INIT;
	child_end(&h->child);
	dir_remove(AT_FDCWD, h->folder, &err);
	free(h->path);
	free(h);
	return 0;
}

static struct qmp *must_connect(struct house *h)
{
	struct err err = ERR_INIT;
	struct qmp *q = connect_to(h->path, &err);
	if (!q)
		fail_msg("%s", err.message);
	return q;
}

static json_t *must(struct qmp *q, const char *command, json_t *args)
{
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	if (qmp_call(q, command, args, deadline_in(ANSWER_MS), &reply, &err) < 0)
		fail_msg("%s", err.message);
	return reply;
}

static void must_fail(struct qmp *q, const char *command, json_t *args, const char *message)
{
	struct err err = ERR_INIT;
	assert_int_equal(qmp_call(q, command, args, deadline_in(ANSWER_MS), NULL, &err), -1);
	assert_int_equal(err.kind, ERR_QEMU);
	assert_string_equal(err.message, message);
}

static void expect_event(struct qmp *q, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *event = qmp_wait_event(q, name, deadline_in(ANSWER_MS), &err);
	if (!event)
		fail_msg("%s", err.message);
}

static void stop_and_cont(void **state)
{
	_cleanup_qmp_ struct qmp *q = must_connect(*state);
	const json_t *version = json_object_get(qmp_greeting(q), "version");
	assert_true(json_get_int(json_object_get(version, "qemu"), "major", 0) >= 7);
	_cleanup_json_ json_t *status = must(q, "query-status", NULL);
	assert_string_equal(json_get_str(status, "status", ""), "prelaunch");
	json_decref(must(q, "cont", NULL));
	expect_event(q, "RESUME");
	json_decref(must(q, "stop", NULL));
	expect_event(q, "STOP");
	must_fail(
		q, "device_del", json_pack("{s:s}", "id", "x"), "device_del: Device 'x' not found");
	assert_int_equal(qmp_strays(q), 0);
}

static void file_descriptors(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_qmp_ struct qmp *q = must_connect(*state);
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	must_fail(q, "getfd", json_pack("{s:s}", "fdname", "a"),
		"getfd: No file descriptor supplied via SCM_RIGHTS");
	/* in flight together: each fd must come with its own command */
	uint64_t look = qmp_send(q, "query-status", NULL, NULL, 0, &err);
	uint64_t get = qmp_send(q, "getfd", json_pack("{s:s}", "fdname", "a"), &null, 1, &err);
	uint64_t lacks = qmp_send(q, "getfd", json_pack("{s:s}", "fdname", "b"), NULL, 0, &err);
	assert_true(look && get && lacks);
	assert_int_equal(
		qmp_call_fds(q, "add-fd", json_pack("{s:i, s:s}", "fdset-id", 7, "opaque", "x"),
			&null, 1, deadline_in(ANSWER_MS), &reply, &err),
		0);
	assert_int_equal(json_get_int(reply, "fdset-id", 0), 7);
	json_t *value = NULL;
	assert_int_equal(qmp_take_reply(q, look, &value, &err), 1);
	json_decref(value);
	assert_int_equal(qmp_take_reply(q, get, &value, &err), 1);
	json_decref(value);
	assert_int_equal(qmp_take_reply(q, lacks, &value, &err), -1);
	json_decref(must(q, "closefd", json_pack("{s:s}", "fdname", "a")));
	_cleanup_json_ json_t *sets = must(q, "query-fdsets", NULL);
	assert_int_equal(json_array_size(sets), 1);
}

static void two_commands_in_flight(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_qmp_ struct qmp *q = must_connect(*state);
	uint64_t first = qmp_send(q, "query-status", NULL, NULL, 0, &err);
	uint64_t second = qmp_send(q, "query-uuid", NULL, NULL, 0, &err);
	json_decref(must(q, "query-kvm", NULL));
	json_t *reply = NULL;
	assert_int_equal(qmp_take_reply(q, second, &reply, &err), 1);
	assert_non_null(json_object_get(reply, "UUID"));
	json_decref(reply);
	assert_int_equal(qmp_take_reply(q, first, &reply, &err), 1);
	assert_non_null(json_object_get(reply, "status"));
	json_decref(reply);
}

/* A reply to a client that has gone comes to the next one, which must not take it for its own. */
static void a_reply_to_somebody_else(void **state)
{
	struct err err = ERR_INIT;
	struct qmp *gone = must_connect(*state);
	assert_true(qmp_send(gone, "query-qmp-schema", NULL, NULL, 0, &err) > 0);
	qmp_close(gone);
	_cleanup_qmp_ struct qmp *q = must_connect(*state);
	_cleanup_json_ json_t *status = must(q, "query-status", NULL);
	assert_string_equal(json_get_str(status, "status", ""), "prelaunch");
}

/* QEMU serves one at a time: the second waits, is told so, and leaves no command behind. */
static void a_second_client(void **state)
{
	struct house *h = *state;
	struct err err = ERR_INIT;
	struct qmp *q = must_connect(h);
	assert_null(qmp_connect(h->path, deadline_in(100), &err));
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_true(err.hint[0]);
	int fd = sock_connect(h->path, deadline_in(100), &err);
	struct qmp *waiting = qmp_start(fd);
	assert_true(qmp_send(waiting, "quit", NULL, NULL, 0, &err) > 0);
	qmp_pump(waiting, &err);
	qmp_close(waiting);
	qmp_close(q);
	q = must_connect(h);
	json_decref(must(q, "query-status", NULL));
	qmp_close(q);
}

static void schema(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_qmp_ struct qmp *q = must_connect(*state);
	_cleanup_json_ json_t *answer = must(q, "query-qmp-schema", NULL);
	_cleanup_schema_ struct schema *s = schema_from_qmp(answer, &err);
	assert_non_null(s);
	assert_true(schema_has_command(s, "blockdev-add"));
	/* QEMU's uint64 must not cost the connection */
	_cleanup_json_ json_t *size = must(q, "qom-get",
		json_pack(
			"{s:s, s:s}", "path", "/machine/unattached/system[0]", "property", "size"));
	assert_true(json_number_value(size) > 1e19);
}

static void killed_with_calls_pending(void **state)
{
	struct house *h = *state;
	struct err err = ERR_INIT;
	_cleanup_qmp_ struct qmp *q = must_connect(h);
	assert_int_equal(proc_signal(&h->child.proc, SIGSTOP, &err), 0);
	uint64_t a = qmp_send(q, "query-status", NULL, NULL, 0, &err);
	uint64_t b = qmp_send(q, "stop", NULL, NULL, 0, &err);
	assert_true(a && b && qmp_oldest_call(q) > 0);
	assert_int_equal(qmp_call(q, "query-uuid", NULL, deadline_in(50), NULL, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_int_equal(proc_signal(&h->child.proc, SIGKILL, &err), 0);
	expect_event(q, "QMP_GONE");
	json_t *reply = NULL;
	assert_int_equal(qmp_take_reply(q, a, &reply, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	assert_int_equal(qmp_take_reply(q, b, &reply, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	assert_null(qmp_next_event(q));
	assert_int_equal(qmp_send(q, "stop", NULL, NULL, 0, &err), 0);
	assert_null(qmp_connect(h->path, deadline_in(100), &err));
	assert_int_equal(err.kind, ERR_GONE);
}

static void no_qemu(void **state)
{
	(void)state;
	lacking(QEMU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stop_and_cont, start, end),
		cmocka_unit_test_setup_teardown(file_descriptors, start, end),
		cmocka_unit_test_setup_teardown(two_commands_in_flight, start, end),
		cmocka_unit_test_setup_teardown(a_reply_to_somebody_else, start, end),
		cmocka_unit_test_setup_teardown(a_second_client, start, end),
		cmocka_unit_test_setup_teardown(schema, start, end),
		cmocka_unit_test_setup_teardown(killed_with_calls_pending, start, end),
	};
	const struct CMUnitTest instead[] = {cmocka_unit_test(no_qemu)};
	if (access(QEMU, X_OK) < 0)
		return cmocka_run_group_tests_name("qemu", instead, NULL, NULL);
	return cmocka_run_group_tests_name("qemu", tests, NULL, NULL);
}
