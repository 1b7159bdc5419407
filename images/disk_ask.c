#include "images/disk_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"

enum {
	FIRST_LAYER = 3,
	ADDRESS_SPACE = 256 << 20,
	CPU_SECONDS = 60,
	LINE_MAX_LENGTH = 1 << 20,
	SILENT_MS = 300000,
	REAP_MS = 5000,
};

/* ---- the child ------------------------------------------------------------------------------------ */

static void limit(int what, uint64_t most)
{
	struct rlimit both = {most, most};
	setrlimit((__rlimit_resource_t)what, &both);
}

/* First out of the way of the numbers that they get. */
static int place_layers(const struct volume_layer *layers, size_t count)
{
	int above[VOLUME_LAYERS_MAX];
	for (size_t i = 0; i < count; i++)
		if ((above[i] = fcntl(layers[i].fd, F_DUPFD, FIRST_LAYER + VOLUME_LAYERS_MAX)) < 0)
			return -1;
	for (size_t i = 0; i < count; i++)
		if (dup2(above[i], FIRST_LAYER + (int)i) < 0)
			return -1;
	return (int)syscall(SYS_close_range, FIRST_LAYER + (unsigned)count, ~0U, 0U);
}

static _Noreturn void exec_disk(const char *const argv[], const struct volume_layer *layers,
	size_t count, pid_t parent, int out)
{
	static char *const environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (getppid() != parent || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		place_layers(layers, count) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(127);
	limit(RLIMIT_AS, ADDRESS_SPACE);
	limit(RLIMIT_CPU, CPU_SECONDS);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_CORE, 0); /* it would hold the guest's data */
	execve(argv[0], (char *const *)argv, environment);
	_exit(127);
}

static int start(const char *const argv[], const struct volume_layer *layers, size_t count,
	struct child *out, struct err *err)
{
	int from[2];
	pid_t self = getpid();
	if (access(argv[0], X_OK) < 0) {
		err_errno(err, "cannot run '%s'", argv[0]);
		return err_hint(err, "it is built where zlib and libzstd are: "
				     "scripts/install-deps --build, then make");
	}
	if (pipe2(from, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int theirs = from[1];
	out->out = from[0];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot start '%s'", argv[0]);
	if (pid == 0)
		exec_disk(argv, layers, count, self, theirs);
	fd_set_nonblocking(out->out, 1);
	return proc_open_child(pid, &out->proc, err);
}

/* ---- its answers ---------------------------------------------------------------------------------- */

static int take_line(const char *text, size_t len, disk_line_fn *line, void *about, struct err *err)
{
	_cleanup_json_ json_t *o = json_text_parse(text, len, err);
	if (!json_is_object(o))
		return err_set(err, ERR_QEMU, "roost-disk gave an answer that is none");
	const json_t *error = json_object_get(o, "error");
	if (!error)
		return line(about, o, err);
	json_to_err(error, err);
	return -1;
}

static int take_lines(struct buf *text, disk_line_fn *line, void *about, struct err *err)
{
	size_t done = 0;
	const char *end;
	while (text->len > done && (end = memchr(text->data + done, '\n', text->len - done))) {
		size_t len = (size_t)(end - text->data) - done;
		if (take_line(text->data + done, len, line, about, err) < 0)
			return -1;
		done += len + 1;
	}
	buf_drop(text, done);
	if (text->len > LINE_MAX_LENGTH)
		return err_set(err, ERR_QEMU, "roost-disk gave an answer that does not end");
	return 0;
}

/* To the end of its standard output. */
static int follow(int fd, disk_line_fn *line, void *about, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	for (;;) {
		if (fd_wait(fd, POLLIN, deadline_in(SILENT_MS)) == 0)
			return err_set(err, ERR_QEMU, "roost-disk does not answer");
		buf_reserve(&text, 65536);
		ssize_t n = read(fd, text.data + text.len, 65535);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return err_errno(err, "cannot read what roost-disk says");
		if (n == 0)
			return 0;
		text.len += (size_t)n;
		if (take_lines(&text, line, about, err) < 0)
			return -1;
	}
}

static int ended_well(struct proc *p, struct err *err)
{
	int status;
	if (proc_reap(p, deadline_in(REAP_MS), &status, err) < 0)
		return -1;
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
		return err_set(err, ERR_TIMEOUT, "roost-disk has used up its time on the CPU");
	if (status)
		return err_set(err, ERR_QEMU, "roost-disk %s", proc_status_text(status));
	return 0;
}

int disk_ask(const char *program, const char *command, const struct volume_layer *layers,
	size_t count, disk_line_fn *line, void *about, struct err *err)
{
	const char *argv[2 + VOLUME_LAYERS_MAX + 1] = {program, command};
	_cleanup_(child_end) struct child child = CHILD_NONE;
	if (count > VOLUME_LAYERS_MAX)
		return err_set(err, ERR_REFUSED, "a disk of more than %d files", VOLUME_LAYERS_MAX);
	for (size_t i = 0; i < count; i++)
		argv[2 + i] = layers[i].qcow2 ? "qcow2" : "raw";
	if (start(argv, layers, count, &child, err) < 0 || follow(child.out, line, about, err) < 0)
		return -1;
	return ended_well(&child.proc, err);
}
