/* base/: sizes, names, nearest words, files replaced whole, locks, sockets that pass fds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sock.h"

static void sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"512M", 512ULL << 20},
		{"2G", 2ULL << 30},
		{"2GiB", 2ULL << 30},
		{"10GB", 10000000000},
		{"1k", 1024},
		{"4096B", 4096},
		{"1 GiB", 1ULL << 30},
		{"8E", 8ULL << 60},
	};
	static const char *const bad[] = {"512", "", "G", "-1G", "1.5G", "12X", "99999999999G",
		"16E", "1GiBB", "0x10M", " 1G"};
	struct err err = ERR_INIT;
	uint64_t bytes;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(str_parse_size(good[i].text, 0, "memory", &bytes, &err), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(str_parse_size(bad[i], 0, "memory", &bytes, &err), -1);
		assert_int_equal(err.kind, ERR_USAGE);
	}
	assert_string_equal(str_size(1536ULL << 20), "1.5 GiB");
	assert_string_equal(str_size(512), "512 B");
}

static void names(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "web1", "Web-1.example_x", "1a", "0.0"};
	static const char *const bad[] = {"", "12", "..", "a..b", "-rf", ".a", "a/b", "a b", "a\nb",
		"caf\xc3\xa9", "a,b", "../x"};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(name_check(good[i], "guest", &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(name_check(bad[i], "guest", &err), -1);
	char longest[65];
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	assert_int_equal(name_check(longest, "guest", &err), -1);
	longest[63] = '\0';
	assert_int_equal(name_check(longest, "guest", &err), 0);
}

static void nearest(void **state)
{
	(void)state;
	static const char *const keys[] = {"memory", "max_memory", "vcpus", "disks", NULL};
	assert_string_equal(str_nearest("memroy", keys), "memory");
	assert_string_equal(str_nearest("vcpu", keys), "vcpus");
	assert_null(str_nearest("zebra", keys));
	static const char *const options[] = {"count", "config", NULL};
	assert_string_equal(str_nearest("conf", options), "config"); /* cut short */
}

static int scratch(char path[64])
{
	struct err err = ERR_INIT;
	strcpy(path, "/tmp/roost-base-XXXXXX");
	assert_non_null(mkdtemp(path));
	return dir_open(AT_FDCWD, path, &err);
}

static void files(void **state)
{
	(void)state;
	char path[64];
	_cleanup_close_ int dir = scratch(path);
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	struct stat st;
	umask(007);
	assert_int_equal(file_replace(dir, "a", "one", 3, true, &err), 0);
	assert_int_equal(fstatat(dir, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(file_replace_secret(dir, "a", "one", 3, true, &err), 0);
	assert_int_equal(fstatat(dir, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	umask(077);
	assert_int_equal(file_replace(dir, "a", "two", 3, false, &err), 0);
	assert_int_equal(file_read(dir, "a", 3, &text, &err), 0);
	assert_string_equal(text.data, "two");
	assert_int_equal(fstatat(dir, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_read(dir, "a", 2, &text, &err), -1);
	assert_int_equal(file_read(dir, "missing", 2, &text, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	char **list;
	size_t count;
	assert_int_equal(dir_names(dir, &list, &count, &err), 0);
	assert_int_equal(count, 1); /* no temporary left */
	names_free(&list);
	assert_int_equal(dir_remove(AT_FDCWD, path, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(dir_remove(AT_FDCWD, path, &err), 0);
}

static void deadlines(void **state)
{
	(void)state;
	assert_in_range(deadline_left(deadline_in(10000)), 9000, 10000);
	assert_int_equal(deadline_left(deadline_in(-1)), 0);
	assert_int_equal(deadline_left(deadline_in(INT64_MIN)), 0);
	assert_in_range(
		deadline_left(deadline_in(INT64_MAX)), DEADLINE_MOST_MS - 1000, DEADLINE_MOST_MS);
	assert_int_equal(deadline_left(DEADLINE_NONE), -1);
}

/* Stopped beyond its deadline, then told a moment later: has it heard that? */
static bool hears_late(void)
{
	int ends[2], status = -1;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fd_wait(ends[0], POLLIN, deadline_in(300)) == 1 ? 0 : 1);
	usleep(100000);
	kill(pid, SIGSTOP);
	usleep(400000);
	kill(pid, SIGCONT);
	usleep(20000);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(ends[0]);
	close(ends[1]);
	return status == 0;
}

static void late_waits(void **state)
{
	(void)state;
	bool heard = false;
	/* we may be late ourselves */
	for (int tries = 10; tries > 0 && !heard; tries--)
		heard = hears_late();
	assert_true(heard);
	int64_t since = clock_ms();
	assert_int_equal(fd_wait(-1, POLLIN, deadline_in(20)), 0);
	assert_true(clock_ms() - since >= 20);
	assert_int_equal(fd_wait(-1, POLLIN, deadline_in(-1000)), 0);
}

static void locks(void **state)
{
	(void)state;
	char path[64];
	_cleanup_close_ int dir = scratch(path);
	struct err err = ERR_INIT;
	assert_false(file_locked(dir, "lock"));
	int lock = file_lock(dir, "lock", &err);
	assert_true(lock >= 0);
	assert_true(file_locked(dir, "lock"));
	assert_int_equal(file_lock(dir, "lock", &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	close(lock);
	assert_false(file_locked(dir, "lock"));
	dir_remove(AT_FDCWD, path, &err);
}

static void sockets(void **state)
{
	(void)state;
	char dir[64], path[128];
	_cleanup_close_ int dir_fd = scratch(dir);
	struct err err = ERR_INIT;
	struct stat st;
	snprintf(path, sizeof(path), "%s/s", dir);
	umask(0);
	int listener = sock_listen_shared(path, 4, &err);
	assert_true(listener >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	close(listener);
	listener = sock_listen(path, 4, &err);
	assert_true(listener >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	int client = sock_connect(path, deadline_in(1000), &err);
	int server = sock_accept(listener);
	assert_true(client >= 0 && server >= 0);
	struct sock_peer who;
	assert_int_equal(sock_peer(server, &who, &err), 0);
	assert_int_equal(who.pid, getpid());
	assert_true(sock_peer_has_group(server, getegid()));
	assert_false(sock_peer_has_group(server, (gid_t)-2));
	int file = open("/dev/null", O_RDONLY), got[2];
	size_t count = 2;
	char byte;
	assert_int_equal(sock_send(client, "x", 1, &file, 1), 1);
	assert_int_equal(sock_recv(server, &byte, 1, got, &count), 1);
	assert_int_equal(count, 1);
	close(got[0]);
	close(file);
	close(listener);
	close(client);
	close(server);
	assert_int_equal(sock_connect(path, deadline_in(1000), &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	char deep[200];
	memset(deep, 'x', sizeof(deep));
	deep[199] = '\0';
	assert_int_equal(sock_listen(deep, 1, &err), -1);
	assert_non_null(strstr(err.hint, "ROOST_RUN"));
	dir_remove(AT_FDCWD, dir, &err);
}

static void children(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct child c = CHILD_NONE;
	const char *argv[] = {"/bin/sh", "-c", "echo hello; exit 3", NULL};
	assert_int_equal(child_start(argv, false, &c, &err), 0);
	int status;
	assert_int_equal(proc_reap(&c.proc, deadline_in(5000), &status, &err), 0);
	assert_string_equal(proc_status_text(status), "exited with status 3");
	char text[16] = "";
	assert_int_equal(read(c.out, text, sizeof(text) - 1), 6);
	child_end(&c);
	pid_t pid = fork();
	if (pid == 0)
		_exit(5);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	struct proc dead = PROC_NONE;
	assert_int_equal(proc_open(pid, &dead, &err), -1);
	assert_int_equal(proc_open_child(pid, &dead, &err), 0);
	assert_int_equal(proc_reap(&dead, deadline_in(5000), &status, &err), 0);
	assert_string_equal(proc_status_text(status), "exited with status 5");
	struct proc self = PROC_NONE;
	assert_int_equal(proc_open(getpid(), &self, &err), 0);
	assert_int_equal(proc_open_known(getpid(), self.start + 1, &self, &err), -1);
	assert_int_equal(err.kind, ERR_GONE);
	proc_close(&self);
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_false(proc_stopped(pid));
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(proc_stopped(pid));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(proc_stopped(pid));
}

static void json(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char deep[200];
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	assert_null(json_text_parse(deep, 130, &err));
	assert_null(json_text_parse("{\"a\":1,\"a\":2}", 13, &err));
	assert_null(json_text_parse("{} x", 4, &err));
	json_t *o = json_text_parse("{\"a\":1,\"b\":\"t\"}", 15, &err);
	const char *s = "untouched";
	assert_int_equal(json_str(o, "a", &s, &err), -1);
	assert_string_equal(s, "untouched");
	assert_int_equal(json_str(o, "b", &s, &err), 0);
	assert_int_equal(json_str(o, "c", &s, &err), -1);
	assert_string_equal(err.message, "'c' is missing");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(names),
		cmocka_unit_test(nearest),
		cmocka_unit_test(files),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(late_waits),
		cmocka_unit_test(locks),
		cmocka_unit_test(sockets),
		cmocka_unit_test(children),
		cmocka_unit_test(json),
	};
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
