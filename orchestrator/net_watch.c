#include "orchestrator/net_watch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/connect.h"

enum {
	LOOK_MS = 1000, /* for another roostd than the one that it knows */
	PAUSE_MS = 200, /* between two starts of a watch */
	END_MS = 5000,
	OUTER_FD = 3,
};

/* ---- the child ------------------------------------------------------------------------------------ */

/* Of one that has ended in order nothing is left; the next one has a watch of its own. */
static bool is_over(const struct network *n, const struct proc *outer)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = network_run_path(n, "holder", &ignored);
	_cleanup_json_ json_t *who = path ? json_file_read(AT_FDCWD, path, &ignored) : NULL;
	/* the holder dies a little later than outer */
	bool same = json_get_int(who, "outer", 0) == outer->pid &&
		    (uint64_t)json_get_int(who, "outer_start", 0) == outer->start;
	return !who || (!same && network_active(n));
}

static void doze(const struct proc *outer, bool alone, const struct proc *roostd)
{
	struct pollfd fds[2] = {{.fd = alone ? -1 : outer->pidfd, .events = POLLIN},
		{.fd = roostd->pidfd, .events = POLLIN}};
	poll(fds, 2, LOOK_MS);
}

static _Noreturn void watch(const struct network *n, struct proc outer)
{
	struct err ignored = ERR_INIT;
	struct proc roostd = PROC_NONE;
	for (;;) {
		bool alone = !proc_alive(&outer);
		if (alone && is_over(n, &outer))
			_exit(0);
		if (!proc_alive(&roostd)) {
			proc_close(&roostd);
			bool killed = supervisor_killed(&roostd);
			if (killed || (alone && roostd.pidfd < 0))
				orphans_adopt(&ignored);
		}
		doze(&outer, alone, &roostd);
	}
}

/* No open file of outer's: neither the lock of the network, nor a tap, nor the pipe of who waits for it. */
static _Noreturn void begin(const struct network *n, struct proc outer)
{
	sigset_t none;
	sigemptyset(&none);
	int null = open("/dev/null", O_RDWR);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			_exit(1);
	if (outer.pidfd != OUTER_FD)
		outer.pidfd = dup3(outer.pidfd, OUTER_FD, O_CLOEXEC);
	if (outer.pidfd < 0)
		_exit(1);
	syscall(SYS_close_range, OUTER_FD + 1U, ~0U, 0U);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "roost-watch");
	watch(n, outer);
}

/* ---- for outer ------------------------------------------------------------------------------------ */

int net_watch_start(struct net_watch *w, const struct network *network, struct err *err)
{
	struct proc self = PROC_NONE;
	if (proc_open(getpid(), &self, err) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0)
		begin(network, self);
	proc_close(&self);
	*w = (struct net_watch){.network = network, .proc = PROC_NONE, .begun = clock_ms()};
	if (pid < 0)
		return err_errno(err, "cannot fork the watch of the network");
	return proc_open_child(pid, &w->proc, err);
}

size_t net_watch_poll_fds(const struct net_watch *w, struct pollfd *fds)
{
	fds[0] = (struct pollfd){.fd = w->proc.pidfd, .events = POLLIN};
	return w->proc.pidfd >= 0;
}

int64_t net_watch_deadline(const struct net_watch *w)
{
	return w->proc.pidfd < 0 ? w->begun + PAUSE_MS : DEADLINE_NONE;
}

void net_watch_look(struct net_watch *w)
{
	struct err ignored = ERR_INIT;
	int status;
	if (w->proc.pidfd >= 0 && proc_reap(&w->proc, deadline_in(0), &status, &ignored) < 0)
		return;
	if (clock_ms() >= w->begun + PAUSE_MS)
		net_watch_start(w, w->network, &ignored);
}

void net_watch_end(struct net_watch *w)
{
	struct err ignored = ERR_INIT;
	int status;
	if (w->proc.pidfd < 0)
		return;
	proc_signal(&w->proc, SIGKILL, &ignored);
	proc_reap(&w->proc, deadline_in(END_MS), &status, &ignored);
}
