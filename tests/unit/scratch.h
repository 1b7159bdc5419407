/*
 * For the tests of images/: a folder that goes away again, and programs of the host (qemu-img and
 * others) whose answers ours are held against. All tests run with the folder as current directory.
 */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sock.h"

#define QEMU_IMG "/usr/bin/qemu-img"
#define QEMU_IO  "/usr/bin/qemu-io"

static char scratch[64];

static int scratch_enter(void **state)
{
	(void)state;
	strcpy(scratch, "/tmp/roost-images-XXXXXX");
	return mkdtemp(scratch) ? chdir(scratch) : -1;
}

static int scratch_leave(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	return chdir("/") < 0 ? -1 : dir_remove(AT_FDCWD, scratch, &err);
}

/* Runs a program to its end; its standard output is appended to `out`. Returns the exit status. */
static int tool(struct buf *out, const char *const argv[])
{
	struct err err = ERR_INIT;
	struct child c = CHILD_NONE;
	int status;
	if (child_start(argv, false, &c, &err) < 0)
		fail_msg("%s", err.message);
	for (ssize_t n = 1; n != 0;) {
		assert_int_equal(fd_wait(c.out, POLLIN, deadline_in(60000)), 1);
		buf_reserve(out, 65536);
		n = read(c.out, out->data + out->len, 65535);
		assert_true(n >= 0 || errno == EAGAIN);
		out->len += n > 0 ? (size_t)n : 0;
	}
	if (out->data)
		out->data[out->len] = '\0';
	assert_int_equal(proc_reap(&c.proc, deadline_in(60000), &status, &err), 0);
	child_end(&c);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
#define TOOL(out, ...) tool(out, (const char *const[]){__VA_ARGS__, NULL})

/* The same for a program that must succeed and whose output does not matter. */
#define MUST(...)                                                                                  \
	do {                                                                                       \
		_cleanup_buf_ struct buf ignored_ = {0};                                           \
		assert_int_equal(TOOL(&ignored_, __VA_ARGS__), 0);                                 \
	} while (0)

/* qemu-img measures how fast it derives a key, and now and then gives up: "Unable to get accurate CPU usage". */
static inline void make_luks(
	const char *format, const char *options, const char *name, const char *size)
{
	_cleanup_buf_ struct buf ignored = {0};
	int status = 1;
	for (int tries = 0; status != 0 && tries < 50; tries++)
		status = TOOL(&ignored, QEMU_IMG, "create", "-q", "-f", format, "--object",
			"secret,id=s,data=x", "-o", options, name, size);
	assert_int_equal(status, 0);
}
#define QCOW2_LUKS "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"

static void write_file(const char *name, const void *data, size_t len)
{
	struct err err = ERR_INIT;
	if (file_replace(AT_FDCWD, name, data, len, false, &err) < 0)
		fail_msg("%s", err.message);
}

#endif
