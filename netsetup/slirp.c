#include "netsetup/slirp.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "netsetup/netlink.h"

enum {
	START_MS = 10000, /* some 50 as a rule */
	STOP_MS = 5000,
	AGAIN_MS = 50,         /* after it died, before it is started anew */
	AGAIN_MOST_MS = 10000, /* if it dies again and again */
	STEADY_MS = 2000,      /* lived so long: its death is a new one */
	SAID_MAX = 4096,
};

struct slirp {
	struct slirp_plan plan;
	struct proc proc;
	int said;  /* its standard output and error */
	int alive; /* our end of the pipe with which it ends */
	char last[256];
	int64_t started, again_at, pause;
};

char *slirp_path(void)
{
	const char *chosen = getenv("ROOST_SLIRP4NETNS"), *path = getenv("PATH");
	_cleanup_free_ char *folders = xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	char *save = NULL;
	if (chosen && chosen[0])
		return access(chosen, X_OK) == 0 ? xstrdup(chosen) : NULL;
	for (char *folder = strtok_r(folders, ":", &save); folder;
		folder = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *program = str_fmt("%s/slirp4netns", folder);
		if (access(program, X_OK) == 0)
			return TAKE(program);
	}
	return NULL;
}

/* ---- the process ---------------------------------------------------------------------------------- */

enum { EXIT_FD = 3, READY_FD = 4 };

static _Noreturn void exec_slirp(char *const argv[], int said, int alive, int ready)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* out of the way of the numbers that they get */
	said = fcntl(said, F_DUPFD_CLOEXEC, READY_FD + 1);
	alive = fcntl(alive, F_DUPFD_CLOEXEC, READY_FD + 1);
	ready = fcntl(ready, F_DUPFD_CLOEXEC, READY_FD + 1);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(said, STDOUT_FILENO) < 0 ||
		dup2(said, STDERR_FILENO) < 0 || dup2(alive, EXIT_FD) < 0 ||
		dup2(ready, READY_FD) < 0 || syscall(SYS_close_range, READY_FD + 1, ~0U, 0U) < 0)
		_exit(126);
	execv(argv[0], argv);
	_exit(127);
}

static int make_pipe(int *read_end, int *write_end, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	*read_end = ends[0];
	*write_end = ends[1];
	return 0;
}

/* Its lines; the last one that is not empty, no warning, and tells more than that it failed is kept. */
static void take_said(struct slirp *s)
{
	char text[SAID_MAX + 1], *save = NULL;
	ssize_t len = -1;
	while (s->said >= 0 && (len = read(s->said, text, SAID_MAX)) > 0) {
		text[len] = '\0';
		for (char *line = strtok_r(text, "\n", &save); line;
			line = strtok_r(NULL, "\n", &save))
			if (!str_starts(line, "WARNING") && !str_starts(line, "child failed"))
				snprintf(s->last, sizeof(s->last), "%s", line);
	}
	if (s->said >= 0 && len == 0) /* it says no more: nobody need poll that */
		cleanup_close(&s->said);
}

static int spawn(struct slirp *s, const char *program, int *ready, struct err *err)
{
	_cleanup_close_ int said = -1, theirs = -1, alive = -1, end = -1, is_ready = -1, tell = -1;
	_cleanup_free_ char *net = str_fmt("--cidr=%s", s->plan.net);
	_cleanup_free_ char *inner = str_fmt("%d", (int)s->plan.inner);
	char *argv[] = {(char *)program, "--configure", "--mtu=65520", "--disable-host-loopback",
		"--enable-sandbox", "--enable-seccomp", "--exit-fd=3", "--ready-fd=4", net, inner,
		(char *)s->plan.interface, s->plan.ipv6 ? "--enable-ipv6" : NULL, NULL};
	if (make_pipe(&said, &theirs, err) < 0 || make_pipe(&end, &alive, err) < 0 ||
		make_pipe(&is_ready, &tell, err) < 0)
		return -1;
	fd_set_nonblocking(said, 1);
	pid_t pid = fork();
	if (pid == 0)
		exec_slirp(argv, theirs, end, tell);
	if (pid < 0)
		return err_errno(err, "cannot fork slirp4netns");
	if (proc_open_child(pid, &s->proc, err) < 0)
		return -1;
	cleanup_close(&s->said);
	cleanup_close(&s->alive);
	s->said = TAKE_FD(said);
	s->alive = TAKE_FD(alive);
	*ready = TAKE_FD(is_ready);
	s->started = clock_ms();
	s->again_at = DEADLINE_NONE;
	s->last[0] = '\0';
	return 0;
}

static void end(struct slirp *s)
{
	struct err ignored = ERR_INIT;
	int status;
	cleanup_close(&s->alive);
	if (s->proc.pidfd < 0)
		return;
	if (fd_wait(s->proc.pidfd, POLLIN, deadline_in(STOP_MS)) <= 0)
		proc_signal(&s->proc, SIGKILL, &ignored);
	proc_reap(&s->proc, deadline_in(STOP_MS), &status, &ignored);
	proc_close(&s->proc);
	s->proc = PROC_NONE;
}

static int give_ipv6(const char *interface, struct err *err)
{
	static const struct prefix own = {
		.family = AF_INET6, .bits = 64, .address = {0xfd, [14] = 1}};
	static const struct prefix router = {
		.family = AF_INET6, .bits = 64, .address = {0xfd, [15] = 2}};
	_cleanup_netlink_ struct netlink *n = netlink_open(err);
	int link = n ? link_index(n, interface, err) : -1;
	if (link < 0 || address_add(n, link, &own, err) < 0)
		return -1;
	return route_add(n, NULL, &router, err);
}

/*
 * The namespace forwards, so the kernel heeds no router advertisement, by which slirp4netns would tell: fd00::2 is the way
 * out (libslirp's vhost6_addr). In a child, for who has entered a user namespace cannot return.
 */
static int set_up_ipv6(const struct slirp *s, struct err *err)
{
	_cleanup_free_ char *user = str_fmt("/proc/%d/ns/user", (int)s->plan.inner);
	_cleanup_free_ char *net = str_fmt("/proc/%d/ns/net", (int)s->plan.inner);
	_cleanup_close_ int user_fd = open(user, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int net_fd = open(net, O_RDONLY | O_CLOEXEC);
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(setns(user_fd, CLONE_NEWUSER) == 0 && setns(net_fd, CLONE_NEWNET) == 0 &&
					give_ipv6(s->plan.interface, err) == 0
				? 0
				: 1);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		return 0;
	return err_set(err, ERR_SYSTEM, "cannot give '%s' an IPv6 address", s->plan.interface);
}

/* A byte comes when it is ready; when it ends before, the pipe does. */
static int start(struct slirp *s, struct err *err)
{
	char byte;
	_cleanup_close_ int ready = -1;
	_cleanup_free_ char *program = slirp_path();
	if (!program) {
		err_set(err, ERR_NOT_FOUND, "there is no slirp4netns");
		return err_hint(err, "install the package slirp4netns");
	}
	if (spawn(s, program, &ready, err) < 0)
		return -1;
	int there = fd_wait(ready, POLLIN, deadline_in(START_MS));
	if (there > 0 && read(ready, &byte, 1) == 1) {
		if (!s->plan.ipv6 || set_up_ipv6(s, err) == 0)
			return 0;
		end(s);
		return -1;
	}
	if (there <= 0)
		err_set(err, ERR_TIMEOUT, "%s was not ready within %d s", program, START_MS / 1000);
	end(s);
	take_said(s);
	return there <= 0 ? -1
			  : err_set(err, ERR_SYSTEM, "%s ended at once: %s", program,
				    s->last[0] ? s->last : "it does not say why");
}

struct slirp *slirp_start(const struct slirp_plan *plan, struct err *err)
{
	struct slirp *s = xcalloc(1, sizeof(*s));
	s->plan = *plan;
	s->proc = PROC_NONE;
	s->said = s->alive = -1;
	s->pause = AGAIN_MS;
	s->again_at = DEADLINE_NONE;
	if (start(s, err) == 0)
		return s;
	slirp_stop(s);
	return NULL;
}

void slirp_stop(struct slirp *s)
{
	if (!s)
		return;
	end(s);
	cleanup_close(&s->said);
	free(s);
}

pid_t slirp_pid(const struct slirp *s)
{
	return s->proc.pidfd < 0 ? 0 : s->proc.pid;
}

const char *slirp_said(const struct slirp *s)
{
	return s->last;
}

/* ---- while it runs -------------------------------------------------------------------------------- */

size_t slirp_poll_fds(const struct slirp *s, struct pollfd *fds)
{
	if (s->proc.pidfd < 0)
		return 0;
	fds[0] = (struct pollfd){.fd = s->proc.pidfd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = s->said, .events = POLLIN};
	return 2;
}

int64_t slirp_deadline(const struct slirp *s)
{
	return s->again_at;
}

bool slirp_look(struct slirp *s)
{
	struct err err = ERR_INIT;
	take_said(s);
	if (s->proc.pidfd >= 0) {
		if (proc_alive(&s->proc))
			return false;
		bool steady = clock_ms() - s->started >= STEADY_MS;
		end(s);
		s->pause = steady                         ? AGAIN_MS
			   : s->pause * 2 > AGAIN_MOST_MS ? AGAIN_MOST_MS
							  : s->pause * 2;
		s->again_at = deadline_in(s->pause);
		return true;
	}
	if (clock_ms() < s->again_at)
		return false;
	if (start(s, &err) == 0)
		return true;
	snprintf(s->last, sizeof(s->last), "%.255s", err.message);
	s->pause = s->pause * 2 > AGAIN_MOST_MS ? AGAIN_MOST_MS : s->pause * 2;
	s->again_at = deadline_in(s->pause);
	return false;
}
