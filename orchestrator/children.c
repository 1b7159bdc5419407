#include "orchestrator/children.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"

enum { GRACE_MS = 1000, REPLY_MAX = 1024 * 1024 };

/* Who is killed does not leave work behind that goes on. */
static _Noreturn void run_in_child(
	const struct work *w, work_fn *work, int64_t deadline, pid_t parent, int out)
{
	struct err err = ERR_INIT;
	json_t *value = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	int result = work(w->about, deadline, &value, &err);
	_cleanup_json_ json_t *reply =
		result == 0 ? json_pack("{s:o}", "return", value ? value : json_object())
			    : json_pack("{s:o}", "error", json_from_err(&err));
	_cleanup_free_ char *text = json_line(reply);
	write_all(out, text, strlen(text));
	_exit(0);
}

static int start(struct work *w, work_fn *work, int64_t deadline, struct err *err)
{
	int ends[2];
	pid_t self = getpid();
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int in = ends[0], out = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot fork");
	if (pid == 0)
		run_in_child(w, work, deadline, self, out);
	w->child = CHILD_NONE;
	w->child.proc.pid = pid;
	w->child.proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	w->child.out = TAKE_FD(in);
	return fd_set_nonblocking(w->child.out, 1);
}

static void take_reply(struct work *w)
{
	struct err none = ERR_INIT;
	_cleanup_json_ json_t *said =
		json_text_parse(w->output.data ? w->output.data : "", w->output.len, &none);
	const json_t *error = json_object_get(said, "error");
	w->reply = json_incref(json_object_get(said, "return"));
	if (error)
		json_to_err(error, &w->err);
	else if (!w->reply)
		err_set(&w->err, ERR_SYSTEM, "the process that was at work died");
}

static void end(struct work *w, work_done_fn *done, void *context)
{
	child_end(&w->child);
	buf_free(&w->output);
	done(w, context);
}

/* One look at all; how many are still at work. */
static size_t look(
	struct work *all, size_t count, struct pollfd *fds, work_done_fn *done, void *context)
{
	size_t n = 0;
	for (struct work *w = all; w < all + count; w++) {
		if (w->child.out < 0)
			continue;
		if (child_read(&w->child, &w->output, REPLY_MAX)) {
			take_reply(w);
			end(w, done, context);
		} else {
			fds[n++] = (struct pollfd){.fd = w->child.out, .events = POLLIN};
		}
	}
	return n;
}

void work_all(struct work *all, size_t count, work_fn *work, int64_t deadline, work_done_fn *done,
	void *context)
{
	_cleanup_free_ struct pollfd *fds = xcalloc(count + 1, sizeof(*fds));
	size_t n;
	proc_allow_many_files(); /* a pipe and a pidfd for each */
	for (struct work *w = all; w < all + count; w++) {
		w->child = CHILD_NONE;
		if (start(w, work, deadline, &w->err) < 0)
			end(w, done, context);
	}
	for (int woken = 1; (n = look(all, count, fds, done, context)) && woken > 0;)
		woken = fds_wait(fds, n, deadline + GRACE_MS);
	for (struct work *w = all; w < all + count; w++) {
		if (w->child.out < 0)
			continue;
		err_set(&w->err, ERR_TIMEOUT, "nothing has answered in time");
		end(w, done, context);
	}
}
