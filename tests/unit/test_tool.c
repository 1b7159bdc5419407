/* images/tool.c: what qemu-img is given and what becomes of it, with the real one and with bad ones. */
#include "scratch.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "images/tool.h"

static int64_t told_last;
static void told(void *about, const char *step, int64_t done, int64_t total)
{
	(void)about;
	assert_string_equal(step, "convert");
	assert_true(done <= total && done >= told_last);
	told_last = done;
}

static void script(const char *name, const char *text)
{
	_cleanup_free_ char *whole = str_fmt("#!/bin/sh\n%s\n", text);
	write_file(name, whole, strlen(whole));
	assert_int_equal(chmod(name, 0755), 0);
}

static void test_real(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *node = NULL, *missing = NULL;
	const char *create[] = {"create", "-q", "-f", "qcow2", "a.qcow2", "8M", NULL};
	assert_int_equal(tool_run(&(struct tool_run){.argv = create}, NULL, &err), 0);
	node = tool_node("a.qcow2", true, &err);
	const char *convert[] = {"convert", "-p", "-O", "raw", node, "b.raw", NULL};
	assert_int_equal(
		tool_run(&(struct tool_run){.argv = convert, .told = told}, NULL, &err), 0);
	assert_int_equal(told_last, 10000);
	missing = tool_node("no,such", true, &err);
	const char *check[] = {"check", missing, NULL};
	assert_int_equal(tool_run(&(struct tool_run){.argv = check}, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_QEMU);
	assert_non_null(strstr(err.message, "no,such"));
	assert_null(tool_node("\xff", true, &err));
}

static void test_walls(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf out = {0};
	script("look",
		"env | sort | grep -v '^PWD\\|^_\\|^SHLVL\\|^OLDPWD'; ls /proc/self/fd; "
		"grep NoNewPrivs /proc/self/status; tail -n +3 /proc/net/dev; ulimit -v; ulimit -c");
	const char *argv[] = {"x", NULL};
	struct tool_run run = {.argv = argv, .program = "./look", .out = &out, .memory = 1 << 30};
	assert_int_equal(setenv("SECRET", "1", 1), 0);
	int open_here = open("/dev/null", O_RDONLY);
	assert_true(open_here >= 0);
	if (tool_run(&run, NULL, &err) < 0)
		fail_msg("%s", err.message);
	close(open_here);
	assert_null(strstr(out.data, "SECRET"));
	assert_non_null(
		strstr(out.data, "LC_ALL=C\nPATH=/usr/bin:/bin\n0\n1\n2\n3\nNoNewPrivs:\t1\n"));
	assert_null(strstr(out.data, "eth"));
	assert_non_null(strstr(out.data, "1048576\n0\n"));
}

static void test_files_and_rights(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf out = {0};
	script("look",
		"ls /proc/self/fd; cat /proc/self/fd/11; id -u; grep 'CapEff\\|CapBnd' /proc/self/status");
	script("second", "here");
	int fds[] = {open("/dev/null", O_RDONLY), open("second", O_RDONLY)};
	const char *argv[] = {"x", NULL};
	struct tool_run run = {
		.argv = argv, .program = "./look", .out = &out, .fds = fds, .fd_count = 2};
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	if (tool_run(&run, NULL, &err) < 0)
		fail_msg("%s", err.message);
	assert_non_null(strstr(out.data, "0\n1\n10\n11\n2\n"));
	assert_non_null(strstr(out.data, "here\n"));
	if (geteuid() == 0) {
		assert_non_null(strstr(out.data, "\n0\nCapEff:\t0000000000000002\n"
						 "CapBnd:\t0000000000000002\n"));
		buf_drop(&out, out.len);
		assert_int_equal(fchown(fds[1], 1234, 1234), 0);
		assert_int_equal(chmod(".", 0755), 0);
		run.uid = 1234;
		if (tool_run(&run, NULL, &err) < 0)
			fail_msg("%s", err.message);
		assert_non_null(strstr(out.data, "\n1234\nCapEff:\t0000000000000000\n"));
	}
	close(fds[0]);
	close(fds[1]);
}

static void test_bad_ends(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	int status = -1;
	const char *argv[] = {"x", NULL};
	script("differ", "exit 1");
	struct tool_run run = {.argv = argv, .program = "./differ", .answers = 1U << 1};
	assert_int_equal(tool_run(&run, &status, &err), 0);
	assert_int_equal(status, 1);
	run.answers = 0;
	assert_int_equal(tool_run(&run, &status, &err), -1);
	assert_string_equal(err.message, "qemu-img x: exited with status 1");
	script("says", "echo first >&2; printf 'qemu-img: the \\033 last\\n' >&2; exit 1");
	run.program = "./says";
	assert_int_equal(tool_run(&run, &status, &err), -1);
	assert_string_equal(err.message, "qemu-img x: the ? last");
	script("burns", "while :; do :; done");
	run = (struct tool_run){.argv = argv, .program = "./burns", .cpu_seconds = 1};
	assert_int_equal(tool_run(&run, &status, &err), -1);
	assert_true(err.kind == ERR_TIMEOUT || err.kind == ERR_QEMU);
	script("hangs", "exec sleep 1000");
	run = (struct tool_run){.argv = argv, .program = "./hangs", .stall_ms = 100};
	int64_t began = clock_ms();
	assert_int_equal(tool_run(&run, &status, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_true(clock_ms() - began < 100000);
	run = (struct tool_run){.argv = argv, .program = "./hangs", .time_ms = 100};
	assert_int_equal(tool_run(&run, &status, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	run.program = "./missing";
	assert_int_equal(tool_run(&run, &status, &err), -1);
}

static void on_alarm(int signal)
{
	(void)signal;
	kill(getpid(), SIGTERM);
}

static void test_cancel(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	const char *argv[] = {"x", NULL};
	script("hangs", "exec sleep 1000");
	struct tool_run run = {.argv = argv, .program = "./hangs"};
	signal(SIGALRM, on_alarm);
	const struct itimerval soon = {.it_value = {.tv_usec = 500000}};
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	assert_int_equal(tool_run(&run, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	assert_non_null(strstr(err.message, "cancelled"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_files_and_rights),
		cmocka_unit_test(test_bad_ends),
		cmocka_unit_test(test_cancel),
	};
	return cmocka_run_group_tests_name("tool", tests, scratch_enter, scratch_leave);
}
