/* How roostd becomes the one that serves $RUN: its lock and its socket. */
#include "orchestrator/roostd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"

enum {
	BACKLOG = 128,
	FIRST_PASSED = 3, /* systemd's first one: sd_listen_fds(3) */
	OUT_OF_MS = 5000, /* for another roostd to end */
	LOOK_AGAIN_MS = 20,
};

/* ---- systemd's socket --------------------------------------------------------------------------- */

static bool is_listener(int fd)
{
	int domain = 0, type = 0, listens = 0;
	socklen_t len = sizeof(int);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 &&
	       domain == AF_UNIX && type == SOCK_STREAM && listens;
}

/* The variables are for one process alone: a child that finds them takes them for its own. */
static int take_passed(bool *activated, struct err *err)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	*activated = pid && count && atol(pid) == getpid();
	bool one = *activated && str_eq(count, "1");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!*activated)
		return -1;
	if (!one || !is_listener(FIRST_PASSED)) {
		err_set(err, ERR_USAGE, "what LISTEN_FDS passes is not one listening unix socket");
		return err_hint(err, "roostd.socket must have one ListenStream=");
	}
	if (fcntl(FIRST_PASSED, F_SETFD, FD_CLOEXEC) < 0 || fd_set_nonblocking(FIRST_PASSED, 1) < 0)
		return err_errno(err, "cannot use the socket that was passed");
	return FIRST_PASSED;
}

/* ---- the lock ----------------------------------------------------------------------------------- */

/* Who holds it is written into it, as a pid and a start time, for take_over() and connect.c. */
static void sign(int lock)
{
	struct err ignored = ERR_INIT;
	struct proc self = PROC_NONE;
	if (proc_open(getpid(), &self, &ignored) == 0 && ftruncate(lock, 0) == 0)
		dprintf(lock, "{\"pid\": %d, \"start\": %llu}\n", (int)self.pid,
			(unsigned long long)self.start);
	proc_close(&self);
}

static int busy(struct err *err)
{
	return err_set(err, ERR_BUSY, "another roostd serves '%s' already", paths_run(err));
}

/* Ends the one that holds the lock, which harms no guest, and takes its place. */
static int take_over(int run, struct err *err)
{
	struct err why = ERR_INIT;
	struct proc other = PROC_NONE;
	_cleanup_json_ json_t *holder = json_file_read(run, "roostd.lock", &why);
	if (proc_open_known((pid_t)json_get_int(holder, "pid", 0),
		    (uint64_t)json_get_int(holder, "start", 0), &other, &why) == 0)
		proc_signal(&other, SIGTERM, &why);
	proc_close(&other);
	for (int64_t deadline = deadline_in(OUT_OF_MS); deadline_left(deadline);) {
		int lock = file_lock(run, "roostd.lock", err);
		if (lock >= 0 || err->kind != ERR_BUSY)
			return lock;
		poll(NULL, 0, LOOK_AGAIN_MS); /* no event tells that a lock is free */
	}
	return busy(err);
}

static int take_lock(bool activated, struct err *err)
{
	_cleanup_close_ int run = dir_open(AT_FDCWD, paths_run(err), err);
	int lock = run < 0 ? -1 : file_lock(run, "roostd.lock", err);
	if (lock < 0 && run >= 0 && err->kind == ERR_BUSY)
		lock = activated ? take_over(run, err) : busy(err);
	if (lock >= 0)
		sign(lock);
	return lock;
}

/* ---- the listener ------------------------------------------------------------------------------- */

static int listen_at_path(struct supervisor *s,
	int (*make)(const char *path, int backlog, struct err *err), struct err *err)
{
	struct stat st;
	_cleanup_free_ char *path = supervisor_socket(err);
	int listener = make(path, BACKLOG, err);
	if (listener >= 0 && stat(path, &st) == 0) {
		s->socket_dev = st.st_dev;
		s->socket_ino = st.st_ino;
	}
	return listener;
}

int supervisor_listen(struct supervisor *s, struct err *err)
{
	struct err none = ERR_INIT;
	int passed = take_passed(&s->activated, &none);
	if (none.kind) {
		*err = none;
		return -1;
	}
	s->lock = take_lock(s->activated, err);
	if (s->lock < 0)
		return -1;
	return s->activated ? passed : listen_at_path(s, sock_listen_shared, err);
}

void supervisor_look_home(struct supervisor *s)
{
	enum { LOOK_MS = 1000 };
	struct err err = ERR_INIT;
	struct stat st;
	if (clock_ms() < s->home_due)
		return;
	s->home_due = deadline_in(LOOK_MS);
	_cleanup_free_ char *path = supervisor_socket(&err);
	bool unlocked = fstat(s->lock, &st) == 0 && !st.st_nlink;
	if ((!unlocked && access(path, F_OK) == 0) || access_make_folders(&err) < 0)
		return;
	if (unlocked) {
		int lock = take_lock(false, &err);
		s->quit = lock < 0 && err.kind == ERR_BUSY; /* another has come meanwhile */
		if (lock < 0)
			return;
		close(s->lock);
		s->lock = lock;
	}
	/* systemd's may have come in this very moment: that one counts */
	int listener = listen_at_path(s, sock_listen_where_none, &err);
	if (listener >= 0)
		server_set_listener(s->server, listener);
}

void supervisor_unlisten(const struct supervisor *s)
{
	struct err ignored = ERR_INIT;
	struct stat st;
	_cleanup_free_ char *path = supervisor_socket(&ignored);
	if (stat(path, &st) == 0 && st.st_ino == s->socket_ino && st.st_dev == s->socket_dev)
		unlink(path);
	(void)!ftruncate(s->lock, 0); /* it was not killed */
}

int may_change(const struct supervisor *s, const struct request *r, struct err *err)
{
	gid_t group = access_group();
	if (r->peer.uid == 0 || r->peer.uid == geteuid() ||
		(group != ACCESS_NONE && server_peer_has_group(s->server, r, group)))
		return 0;
	return err_set(err, ERR_REFUSED, "uid %u may not change the guests of uid %u",
		(unsigned)r->peer.uid, (unsigned)geteuid());
}
