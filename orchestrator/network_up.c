#include "orchestrator/network_up.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_publish.h"
#include "orchestrator/network_tap.h"
#include "orchestrator/paths.h"

enum {
	UP_MS = 30000,  /* each step of roost-net has a shorter deadline of its own */
	DOWN_MS = 6000, /* of which slirp4netns may take 5 */
	ASK_MS = 5000,
	ANSWER_MAX = 64 * 1024,
	TAP_FD = 3,
};

/* ---- the lock ------------------------------------------------------------------------------------- */

/*
 * The folder goes with the network, and the lock with it: one that has no name any more is no lock. With `make` it is made,
 * else there is nothing to be changed, ERR_NOT_FOUND.
 */
static int lock_changes(const struct network *n, bool make, struct err *err)
{
	_cleanup_free_ char *folder = network_run_path(n, NULL, err);
	for (; folder;) {
		struct stat st;
		mode_t mode = access_group() == ACCESS_NONE ? 0711 : 02751;
		_cleanup_close_ int run =
			make ? dir_make(folder, mode, err) : dir_open(AT_FDCWD, folder, err);
		_cleanup_close_ int lock = run < 0 ? -1 : file_lock_wait(run, "up.lock", err);
		if (run < 0)
			return -1;
		if (lock >= 0 && fstat(lock, &st) == 0 && st.st_nlink)
			return TAKE_FD(lock);
		if (lock < 0 && err->kind != ERR_NOT_FOUND)
			return -1;
		*err = (struct err)ERR_INIT;
	}
	return -1;
}

/* Nothing stays of it, unless a guest's tap does. */
static void remove_folder(const struct network *n)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *folder = network_run_path(n, NULL, &ignored);
	_cleanup_close_ int tap = network_find_tap(n->id, &ignored);
	if (folder && tap < 0)
		dir_remove(AT_FDCWD, folder, &ignored);
}

void network_sweep(const char *id)
{
	struct err ignored = ERR_INIT;
	const char *run = paths_run(&ignored);
	_cleanup_free_ char *folder = str_fmt("%s/n/%s", run, id);
	_cleanup_close_ int dir = dir_open(AT_FDCWD, folder, &ignored);
	_cleanup_close_ int lock = dir < 0 ? -1 : file_lock(dir, "up.lock", &ignored);
	_cleanup_close_ int tap = lock < 0 ? -1 : network_find_tap(id, &ignored);
	if (lock >= 0 && tap < 0 && !file_locked(dir, "holder"))
		dir_remove(AT_FDCWD, folder, &ignored);
}

/* ---- starting it ---------------------------------------------------------------------------------- */

/* In the grandchild: nothing of ours but the pipe and the tap. */
static _Noreturn void exec_holder(const struct network *n, const char *path, int answer, int tap)
{
	char number[16];
	const char *again = tap >= 0 ? "--again" : NULL;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR);
	snprintf(number, sizeof(number), "%d", TAP_FD);
	if (setsid() < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(answer, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
		(tap >= 0 && tap != TAP_FD && dup2(tap, TAP_FD) < 0) ||
		syscall(SYS_close_range, (unsigned)(tap >= 0 ? TAP_FD + 1 : TAP_FD), ~0U, 0U) < 0)
		_exit(126);
	if (tap >= 0)
		fcntl(TAP_FD, F_SETFD, 0);
	execl(path, "roost-net", n->name, again, number, (char *)NULL);
	_exit(127);
}

/* The one in between ends at once, so that the nearest sub-reaper becomes the parent: roostd. */
static int spawn(const struct network *n, const char *path, int answer, int tap, struct err *err)
{
	pid_t pid = fork();
	if (pid == 0) {
		pid_t holder = fork();
		if (holder == 0)
			exec_holder(n, path, answer, tap);
		_exit(holder < 0 ? 1 : 0);
	}
	int status = 1;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return err_errno(err, "cannot fork the holder of network '%s'", n->name);
	return 0;
}

/* One line of JSON, when it serves or when it gives up. */
static int hear_answer(const struct network *n, int fd, struct err *err)
{
	int64_t deadline = deadline_in(UP_MS);
	_cleanup_buf_ struct buf text = {0};
	for (;;) {
		if (fd_wait(fd, POLLIN, deadline) == 0)
			return err_set(err, ERR_TIMEOUT,
				"network '%s': its holder does not say that it has started",
				n->name);
		buf_reserve(&text, 4096);
		ssize_t got = read(fd, text.data + text.len, 4096);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0 || text.len > ANSWER_MAX)
			break;
		text.len += (size_t)got;
	}
	_cleanup_json_ json_t *answer = text.len ? json_text_parse(text.data, text.len, err) : NULL;
	const json_t *error = json_object_get(answer, "error");
	if (!answer)
		return err_set(
			err, ERR_GONE, "network '%s': its holder died while it started", n->name);
	if (!error)
		return 0;
	json_to_err(error, err);
	return err_prefix(err, "network '%s'", n->name);
}

static int start(const struct network *n, struct err *err)
{
	int ends[2];
	struct err ignored = ERR_INIT;
	const char *path = libexec_path("roost-net");
	if (access(path, X_OK) < 0) {
		err_errno(err, "cannot run '%s'", path);
		return err_hint(err, "roost was built without libmnl or libnftables; "
				     "interfaces of kind `user` do without");
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int answer = ends[0], theirs = ends[1];
	_cleanup_close_ int tap = network_find_tap(n->id, &ignored);
	/* root's network would take a route of the host's away; a user's only hides it, and so does one that guests are in */
	if (tap < 0 && geteuid() == 0 && network_check_subnet(n, err) < 0)
		return -1;
	if (spawn(n, path, theirs, tap, err) < 0)
		return -1;
	failpoint("network-spawned");
	cleanup_close(&theirs);
	return hear_answer(n, answer, err);
}

/* Of one that was ended nothing is there. */
static bool was_killed(const struct network *n)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = network_run_path(n, "holder", &ignored);
	return path && access(path, F_OK) == 0;
}

static int up(const struct network *n, bool again, struct err *err)
{
	struct network recorded = *n;
	if (network_settle(&recorded, err) < 0)
		return -1;
	/* one that is active may still be starting, or be ending: whose is the lock waits for either */
	_cleanup_close_ int lock = lock_changes(n, !again, err);
	if (lock < 0 && again && err->kind == ERR_NOT_FOUND) {
		*err = (struct err)ERR_INIT;
		return 0;
	}
	if (lock < 0)
		return -1;
	if (network_active(n) || (again && !was_killed(n)))
		return 0;
	if (start(&recorded, err) < 0) {
		remove_folder(n);
		return -1;
	}
	failpoint("network-up");
	network_republish(n);
	return 0;
}

int network_up(const struct network *n, struct err *err)
{
	return up(n, false, err);
}

int network_up_again(const struct network *n, struct err *err)
{
	return up(n, true, err);
}

/* ---- ending it ------------------------------------------------------------------------------------ */

static bool waits_until_free(const struct network *n)
{
	for (int64_t deadline = deadline_in(DOWN_MS); network_active(n);) {
		if (!deadline_left(deadline))
			return false;
		poll(NULL, 0, 2); /* no event tells of a lock */
	}
	return true;
}

/* One that is stopped or hangs cannot end in order: then what it has on the host is removed for it. */
static int end_silent(const struct network *n, struct err *err)
{
	if (network_kill(n, err) < 0)
		return -1;
	json_decref(network_ask_host("--sweep", n->id));
	return 0;
}

int network_down(const struct network *n, struct err *err)
{
	struct err why = ERR_INIT;
	_cleanup_close_ int lock = lock_changes(n, true, err);
	if (lock < 0)
		return -1;
	bool asked = !network_active(n) || network_call_once(n, "net-quit", &why) == 0 ||
		     why.kind == ERR_GONE;
	if (!asked && why.kind != ERR_TIMEOUT) {
		*err = why;
		return -1;
	}
	failpoint("network-quit");
	if ((!asked || !waits_until_free(n)) && end_silent(n, err) < 0)
		return -1;
	failpoint("network-ended");
	remove_folder(n);
	return 0;
}

json_t *network_status(const struct network *n)
{
	struct err ignored = ERR_INIT;
	json_t *status = NULL;
	network_call(
		n, "net-status", NULL, NULL, 0, &status, NULL, NULL, NETWORK_CALL_MS, &ignored);
	return status;
}

json_t *network_uplink(const struct network *n)
{
	_cleanup_json_ json_t *status = network_status(n);
	return json_incref(json_object_get(status, "uplink"));
}

json_t *network_ask_host(const char *option, const char *word)
{
	struct err ignored = ERR_INIT;
	const char *const argv[] = {libexec_path("roost-net"), option, word, NULL};
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_buf_ struct buf text = {0};
	int64_t deadline = deadline_in(ASK_MS);
	if (child_start(argv, false, &c, &ignored) < 0)
		return NULL;
	while (!child_read(&c, &text, ANSWER_MAX))
		if (fd_wait(c.out, POLLIN, deadline) <= 0)
			return NULL;
	_cleanup_json_ json_t *answer =
		text.len ? json_text_parse(text.data, text.len, &ignored) : NULL;
	return json_incref(json_object_get(answer, "return"));
}
