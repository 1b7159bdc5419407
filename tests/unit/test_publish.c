/* orchestrator/publish: ports of the host as people write them, their sockets, and who has one that is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/publish.h"
#include "orchestrator/status.h"

static char scratch[] = "/tmp/roost-publish-XXXXXX";

static void texts(void **state)
{
	static const struct {
		const char *text, *same;
	} rows[] = {
		{"8080:80", "127.0.0.1:8080:80/tcp"},
		{"127.0.0.1:2222:22/tcp", "127.0.0.1:2222:22/tcp"},
		{"53:53/udp", "127.0.0.1:53:53/udp"},
		{"0.0.0.0:65535:1", "0.0.0.0:65535:1/tcp"},
		{"22", "127.0.0.1::22/tcp"},
		{"0.0.0.0::22", "0.0.0.0::22/tcp"},
		{"[::1]:53:53/udp", "[::1]:53:53/udp"},
		{"[0:0::0]:80:80", "[::]:80:80/tcp"},
		{"[fd00::1]::22", "[fd00::1]::22/tcp"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct forward f, again;
		assert_int_equal(publish_parse(rows[i].text, &f, &err), 0);
		_cleanup_free_ char *text = publish_text(&f);
		assert_string_equal(text, rows[i].same);
		assert_int_equal(publish_parse(text, &again, &err), 0);
		_cleanup_free_ char *twice = publish_text(&again);
		assert_string_equal(twice, text);
	}
}

static void no_texts(void **state)
{
	static const char *const rows[] = {"", ":", "0", "80:", ":80", "::80", "65536:80", "80:0",
		"80-80", " 80:80", "80:80 ", "80:80/", "80:80/sctp", "80:80/TCP", "/udp",
		"localhost:80:80", "127.0.0.1:80", "127.0.0:80:80", "1.2.3.4:5:6:7", "::1:80:80",
		"[::1]:80", "[]:80:80", "[1.2.3.4]:80:80", "[::1:80:80", "[fe80::1%eth0]:80:80"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct forward f = {.guest_port = 7};
		assert_int_equal(publish_parse(rows[i], &f, &err), -1);
		assert_int_equal(err.kind, ERR_USAGE);
		assert_non_null(strstr(err.hint, "GUEST_PORT"));
		assert_int_equal(f.guest_port, 7);
	}
}

static struct forward forward_of(const char *text)
{
	struct err err = ERR_INIT;
	struct forward f;
	assert_int_equal(publish_parse(text, &f, &err), 0);
	return f;
}

static bool clash(const char *a, const char *b)
{
	struct forward x = forward_of(a), y = forward_of(b);
	assert_int_equal(publish_clash(&x, &y), publish_clash(&y, &x));
	return publish_clash(&x, &y);
}

static void clashes(void **state)
{
	(void)state;
	assert_true(clash("80:80", "80:81"));
	assert_true(clash("80:80", "0.0.0.0:80:81"));
	assert_true(clash("[::]:80:80", "[::1]:80:81"));
	assert_false(clash("80:80", "81:80"));
	assert_false(clash("80:80", "80:80/udp"));
	assert_false(clash("22", "22"));
	assert_false(clash("80:80", "127.0.0.2:80:80"));
	assert_false(clash("80:80", "[::1]:80:80"));
	assert_false(clash("0.0.0.0:80:80", "[::]:80:80"));
}

/* A port that was free a moment ago, taken by this very process. */
static void taken(void **state)
{
	static const char *const rows[] = {"22", "22/udp", "[::1]::22"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct forward f = forward_of(rows[i]);
		uint16_t port = 0, other;
		_cleanup_close_ int fd = publish_bind(&f, &port, &err);
		if (fd < 0 && i == 2)
			return; /* a host without IPv6 */
		assert_true(fd >= 0 && port > 0);
		f.host_port = port;
		assert_int_equal(publish_bind(&f, &other, &err), -1);
		assert_int_equal(err.kind, ERR_BUSY);
		_cleanup_free_ char *us = str_fmt("(process %d)", getpid());
		assert_non_null(strstr(err.message, us));
		assert_non_null(strstr(err.message, publish_host_text(f.host, port)));
	}
}

/* The same, when a guest's status file tells of it. */
static void taken_by_a_guest(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct forward f = forward_of("0.0.0.0::22");
	uint16_t port = 0, other;
	/* who else has it is named himself */
	assert_int_equal(prctl(PR_SET_NAME, "roost-proxy"), 0);
	_cleanup_close_ int fd = publish_bind(&f, &port, &err);
	_cleanup_free_ char *folder = str_fmt("%s/g/0123456789ab", scratch);
	_cleanup_close_ int dir = dir_make(folder, 0700, &err);
	_cleanup_json_ json_t *forwards = json_pack("[{s:i, s:s, s:i, s:i, s:b}]", "nic", 0, "host",
		"127.0.0.1", "port", (int)port, "guest_port", 22, "udp", 0);
	struct status s = {.name = "web1", .id = "0123456789ab", .number = 1, .forwards = forwards};
	assert_int_equal(status_write(dir, &s, &err), 0);
	f.host_port = port;
	assert_int_equal(publish_bind(&f, &other, &err), -1);
	assert_non_null(strstr(err.message, "guest 'web1' has it"));
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(scratch) && setenv("ROOST_RUN", scratch, 1) == 0 &&
			       setenv("ROOST_STATE", scratch, 1) == 0
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	return dir_remove(AT_FDCWD, scratch, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(no_texts),
		cmocka_unit_test(clashes),
		cmocka_unit_test(taken),
		cmocka_unit_test(taken_by_a_guest),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
