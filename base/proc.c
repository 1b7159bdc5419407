#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"

/* /proc/PID/stat from the end of field 2 on, for the name in that may hold spaces and brackets; NULL: no such process. */
static const char *read_stat(pid_t pid, struct buf *text)
{
	char path[32];
	struct err ignored = ERR_INIT;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	return file_read(AT_FDCWD, path, 4096, text, &ignored) < 0 ? NULL
								   : strrchr(text->data, ')');
}

/* 0 when there is no such process. A zombie has a start time, too. */
static uint64_t start_time(pid_t pid)
{
	_cleanup_buf_ struct buf text = {0};
	const char *p = read_stat(pid, &text);
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

int proc_open(pid_t pid, struct proc *out, struct err *err)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return err_errno(err, "cannot open process %d", (int)pid);
	/* read after the pidfd: if the pid was reused meanwhile, the pidfd says that it ended */
	uint64_t start = start_time(pid);
	struct proc p = {.pid = pid, .start = start, .pidfd = fd};
	if (!start || !proc_alive(&p))
		return err_set(err, ERR_GONE, "process %d has ended", (int)pid);
	p.pidfd = TAKE_FD(fd);
	*out = p;
	return 0;
}

int proc_open_known(pid_t pid, uint64_t start, struct proc *out, struct err *err)
{
	struct proc p = PROC_NONE;
	if (pid <= 0 || proc_open(pid, &p, err) < 0 || p.start != start) {
		proc_close(&p);
		return err_set(err, ERR_GONE, "process %d has ended", (int)pid);
	}
	*out = p;
	return 0;
}

int proc_open_child(pid_t pid, struct proc *out, struct err *err)
{
	struct proc p = {.pid = pid, .start = start_time(pid)};
	p.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.pidfd < 0) {
		err_errno(err, "cannot hold the new process %d", (int)pid);
		kill(pid, SIGKILL); /* unreaped, the pid is still its own */
		waitpid(pid, NULL, 0);
		return -1;
	}
	*out = p;
	return 0;
}

bool proc_alive(const struct proc *p)
{
	return p->pidfd >= 0 && fd_wait(p->pidfd, POLLIN, 0) == 0;
}

int proc_signal(const struct proc *p, int signal, struct err *err)
{
	if (syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0) == 0)
		return 0;
	if (errno == EPERM)
		return err_set(err, ERR_REFUSED, "not permitted to signal process %d", (int)p->pid);
	return err_set(err, ERR_GONE, "process %d has ended", (int)p->pid);
}

int proc_reap(struct proc *p, int64_t deadline, int *status, struct err *err)
{
	if (fd_wait(p->pidfd, POLLIN, deadline) == 0)
		return err_set(err, ERR_TIMEOUT, "process %d does not end", (int)p->pid);
	int got;
	pid_t pid = waitpid(p->pid, &got, WNOHANG);
	if (pid != p->pid)
		return err_set(err, ERR_GONE, "process %d is not our child", (int)p->pid);
	*status = got;
	proc_close(p);
	return 0;
}

bool proc_lives(pid_t pid, uint64_t start)
{
	struct err ignored = ERR_INIT;
	struct proc p = PROC_NONE;
	bool alive = pid > 0 && proc_open_known(pid, start, &p, &ignored) == 0 && proc_alive(&p);
	proc_close(&p);
	return alive;
}

bool proc_stopped(pid_t pid)
{
	_cleanup_buf_ struct buf text = {0};
	const char *p = read_stat(pid, &text);
	return p && (str_starts(p, ") T") || str_starts(p, ") t"));
}

void proc_close(struct proc *p)
{
	cleanup_close(&p->pidfd);
	*p = PROC_NONE;
}

void proc_allow_many_files(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

const char *proc_status_text(int status)
{
	static char text[64];
	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "exited with status %d", WEXITSTATUS(status));
	return text;
}

/* In the new process: standard streams into place, nothing else open, then the program. */
static void exec_child(const char *const argv[], int in, int out)
{
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		syscall(SYS_close_range, 3U, ~0U, 0U) < 0)
		_exit(127);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

int child_start_on(const char *const argv[], int in, struct child *out, struct err *err)
{
	int from[2];
	if (access(argv[0], X_OK) < 0)
		return err_errno(err, "cannot run '%s'", argv[0]);
	if (pipe2(from, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int from_read = from[0], from_write = from[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot start '%s'", argv[0]);
	if (pid == 0)
		exec_child(argv, in, from_write);
	struct child c = CHILD_NONE;
	if (proc_open_child(pid, &c.proc, err) < 0)
		return err_prefix(err, "'%s'", argv[0]);
	fd_set_nonblocking(from_read, 1);
	c.out = TAKE_FD(from_read);
	*out = c;
	return 0;
}

int child_start(const char *const argv[], bool with_stdin, struct child *out, struct err *err)
{
	int to[2] = {-1, -1};
	if (with_stdin ? pipe2(to, O_CLOEXEC) < 0
		       : (to[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		return err_errno(err, "cannot make a standard input for '%s'", argv[0]);
	_cleanup_close_ int to_read = to[0], to_write = to[1];
	if (child_start_on(argv, to_read, out, err) < 0)
		return -1;
	out->in = TAKE_FD(to_write);
	return 0;
}

bool child_read(const struct child *c, struct buf *out, size_t max)
{
	for (;;) {
		buf_reserve(out, 4096);
		ssize_t n = read(c->out, out->data + out->len, 4096);
		if (n < 0)
			return errno != EAGAIN && errno != EINTR;
		if (n == 0 || out->len > max)
			return true;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

void child_end(struct child *c)
{
	struct err ignored = ERR_INIT;
	int status;
	cleanup_close(&c->in);
	cleanup_close(&c->out);
	if (c->proc.pidfd >= 0) {
		proc_signal(&c->proc, SIGKILL, &ignored);
		proc_reap(&c->proc, deadline_in(5000), &status, &ignored);
	}
	proc_close(&c->proc);
}

const char *boot_id(void)
{
	static char id[37];
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	if (!id[0] &&
		file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text, &ignored) == 0)
		snprintf(id, sizeof(id), "%.36s", text.data);
	return id;
}

/* By its text: /proc/PID itself is root's for a process that has dropped its privilege. */
uid_t proc_uid(pid_t pid)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = str_fmt("/proc/%d/status", (int)pid);
	const char *line = file_read(AT_FDCWD, path, 65536, &text, &ignored) < 0
				   ? NULL
				   : strstr(text.data, "\nUid:");
	return line ? (uid_t)strtoul(line + strlen("\nUid:"), NULL, 10) : (uid_t)-1;
}
