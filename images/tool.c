#include "images/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/signals.h"
#include "base/sock.h"

enum { OUT_MAX = 16 << 20, SAID_MAX = 4096, REAP_MS = 5000, STALL_MS = 300000, PERCENT = 10000 };

/* ---- nodes ---------------------------------------------------------------------------------------- */

static json_t *node_of(const struct tool_file *f, json_t *backing)
{
	json_t *file = json_pack("{s:s, s:s}", "driver", "file", "filename", f->path);
	json_t *node = json_pack("{s:s, s:o*}", "driver", f->qcow2 ? "qcow2" : "raw", "file", file);
	if (node && file && f->locked)
		json_object_set_new(file, "locking", json_string("off"));
	if (node && file && f->qcow2 && !f->follows)
		json_object_set_new(node, "backing", backing ? backing : json_null());
	else
		json_decref(backing);
	if (file)
		return node;
	json_decref(node);
	return NULL;
}

char *tool_files_node(const struct tool_file files[], size_t count, struct err *err)
{
	json_t *node = NULL;
	for (size_t i = count; i-- > 0;) {
		node = node_of(&files[i], node);
		if (!node)
			break;
	}
	_cleanup_json_ json_t *owned = node;
	if (!owned) {
		err_set(err, ERR_USAGE, "the name of an image is not UTF-8");
		return NULL;
	}
	_cleanup_free_ char *line = json_line(owned);
	return str_fmt("json:%s", line);
}

char *tool_node(const char *path, bool qcow2, struct err *err)
{
	const struct tool_file file = {.path = path, .qcow2 = qcow2};
	return tool_files_node(&file, 1, err);
}

char *tool_chain_node(const struct chain *c, size_t from, struct err *err)
{
	struct tool_file files[CHAIN_MAX];
	for (size_t i = from; i < c->count; i++)
		files[i - from] =
			(struct tool_file){.path = c->links[i].path, .qcow2 = c->links[i].qcow2};
	return tool_files_node(files, c->count - from, err);
}

static const char *called(const struct tool_run *run)
{
	return run->called ? run->called : "qemu-img";
}

/* ---- the child ------------------------------------------------------------------------------------ */

static const char *find_program(const struct tool_run *run, struct err *err)
{
	static const char *const places[] = {
		"/usr/bin/qemu-img", "/usr/local/bin/qemu-img", "/bin/qemu-img"};
	if (run->program)
		return run->program;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	err_set(err, ERR_SYSTEM, "there is no qemu-img on this host");
	err_hint(err, "it comes with the package qemu-utils, qemu-img or qemu-tools");
	return NULL;
}

static void limit(int what, uint64_t most)
{
	struct rlimit now;
	if (getrlimit((__rlimit_resource_t)what, &now) < 0)
		return;
	if (now.rlim_max > most)
		now.rlim_max = most;
	now.rlim_cur = now.rlim_max;
	setrlimit((__rlimit_resource_t)what, &now);
}

static void limits(const struct tool_run *run)
{
	limit(RLIMIT_AS, run->memory ? run->memory : 2ULL << 30);
	limit(RLIMIT_CPU, run->cpu_seconds ? run->cpu_seconds : 3600);
	limit(RLIMIT_CORE, 0); /* it would hold the guest's data */
	if (run->file_size)
		limit(RLIMIT_FSIZE, run->file_size);
}

/* Nothing stays open but the standard streams and what it is given. */
static int settle_files(const struct tool_run *run, int out, int said)
{
	enum { ABOVE = 200 };
	int null = open("/dev/null", O_RDONLY), count = (int)run->fd_count;
	int high[TOOL_FDS_MAX];
	if (run->fd_count > TOOL_FDS_MAX || dup2(null, STDIN_FILENO) < 0 ||
		dup2(out, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0)
		return -1;
	for (int i = 0; i < count; i++) /* out of the way first */
		high[i] = fcntl(run->fds[i], F_DUPFD, ABOVE);
	for (int i = 0; i < count; i++)
		if (dup2(high[i], TOOL_FD_FIRST + i) < 0)
			return -1;
	return syscall(SYS_close_range, 3U, (unsigned)TOOL_FD_FIRST - 1, 0U) < 0 ||
			       syscall(SYS_close_range, (unsigned)(TOOL_FD_FIRST + count), ~0U,
				       0U) < 0
		       ? -1
		       : 0;
}

/* Files of other users are opened by their images' chains: that right of root's stays, unless it has another uid. */
static bool drop_privilege(uid_t uid)
{
	if (geteuid() != 0)
		return true;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap != CAP_DAC_OVERRIDE && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return false;
	return !uid || (setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 &&
			       setresuid(uid, uid, uid) == 0);
}

/* Its walls, then the program. A session of its own: a terminal's ^C comes to us, who kill it. */
static _Noreturn void exec_tool(
	const struct tool_run *run, const char *const argv[], pid_t parent, int out, int said)
{
	static char *const environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
	sigset_t none;
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (settle_files(run, out, said) < 0)
		_exit(127);
	/* where the host allows none, it has only files to talk to all the same */
	unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET);
	limits(run);
	if (!drop_privilege(run->uid) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(127);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* now, for another uid has undone it */
	if (getppid() != parent)
		_exit(127);
	execve(argv[0], (char *const *)argv, environment);
	_exit(127);
}

/* One that is at work. */
struct work {
	const struct tool_run *run;
	struct proc proc;
	int out, said;
	int signals;
	struct buf line;  /* of its standard output, what may become progress */
	struct buf words; /* its standard error */
	int64_t done;     /* as told last */
	int64_t stalled;  /* when it will have been silent for too long */
};

static void work_end(struct work *w)
{
	struct err ignored = ERR_INIT;
	int status;
	if (w->proc.pidfd >= 0) {
		proc_signal(&w->proc, SIGKILL, &ignored);
		proc_reap(&w->proc, deadline_in(REAP_MS), &status, &ignored);
	}
	proc_close(&w->proc);
	cleanup_close(&w->out);
	cleanup_close(&w->said);
	buf_free(&w->line);
	buf_free(&w->words);
}

static int start(struct work *w, struct err *err)
{
	enum { WORDS_MAX = 64 };
	const char *argv[WORDS_MAX] = {find_program(w->run, err)};
	int out[2], said[2];
	pid_t self = getpid();
	if (!argv[0])
		return -1;
	for (size_t n = 1; w->run->argv[n - 1]; n++) {
		if (n + 1 == WORDS_MAX)
			return err_set(err, ERR_USAGE, "%s: too many words", called(w->run));
		argv[n] = w->run->argv[n - 1];
	}
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	w->out = out[0];
	_cleanup_close_ int out_theirs = out[1];
	if (pipe2(said, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	w->said = said[0];
	_cleanup_close_ int said_theirs = said[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot start %s", called(w->run));
	if (pid == 0)
		exec_tool(w->run, argv, self, out_theirs, said_theirs);
	if (proc_open_child(pid, &w->proc, err) < 0)
		return -1;
	fd_set_nonblocking(w->out, 1);
	fd_set_nonblocking(w->said, 1);
	return 0;
}

/* ---- what it says --------------------------------------------------------------------------------- */

static void push_back_stall(struct work *w)
{
	w->stalled = deadline_in(w->run->stall_ms ? w->run->stall_ms : STALL_MS);
}

/* "    (12.34/100%)\r", again and again. */
static void take_progress(struct work *w)
{
	const char *open = w->line.len ? memrchr(w->line.data, '(', w->line.len) : NULL;
	char *end;
	if (!open || !strstr(open, "/100%)"))
		return;
	int64_t done = (int64_t)(strtod(open + 1, &end) * 100 + 0.5);
	buf_drop(&w->line, w->line.len);
	if (done == w->done)
		return;
	w->done = done;
	push_back_stall(w);
	if (w->run->told)
		w->run->told(w->run->about, w->run->argv[0], done, PERCENT);
}

static int take(int *fd, struct buf *into, size_t most, struct err *err)
{
	buf_reserve(into, SAID_MAX);
	ssize_t n = read(*fd, into->data + into->len, SAID_MAX);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		cleanup_close(fd);
		return 0;
	}
	into->len += (size_t)n;
	into->data[into->len] = '\0';
	if (into->len > most)
		return err_set(err, ERR_QEMU, "qemu-img says too much");
	return 0;
}

static int take_out(struct work *w, struct err *err)
{
	if (w->run->out)
		return take(&w->out, w->run->out, OUT_MAX, err);
	if (take(&w->out, &w->line, OUT_MAX, err) < 0)
		return -1;
	take_progress(w);
	if (w->line.len > SAID_MAX)
		buf_drop(&w->line, w->line.len - SAID_MAX / 2);
	return 0;
}

/* The last line of what it said: "qemu-img: Could not open 'x': ...", made one that may be printed. */
static int fail(const struct work *w, int status, struct err *err)
{
	_cleanup_free_ char *text = strndup(w->words.len ? w->words.data : "", w->words.len);
	size_t len = strlen(text);
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	char *line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	line += str_starts(line, "qemu-img: ") ? strlen("qemu-img: ") : 0;
	for (char *p = line; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
		return err_set(err, ERR_TIMEOUT, "%s %s has used up its time on the CPU",
			called(w->run), w->run->argv[0]);
	if (WIFSIGNALED(status) || !*line)
		return err_set(err, ERR_QEMU, "%s %s: %s%s%s", called(w->run), w->run->argv[0],
			proc_status_text(status), *line ? ": " : "", line);
	return err_set(err, ERR_QEMU, "%s %s: %.600s", called(w->run), w->run->argv[0], line);
}

/* ---- to its end ----------------------------------------------------------------------------------- */

static int cancelled(const struct work *w, struct err *err)
{
	int signal = signals_take(w->signals);
	if (!signal)
		return 0;
	return err_set(err, ERR_GONE, "%s %s was cancelled by %s", called(w->run), w->run->argv[0],
		signal == SIGINT ? "^C" : strsignal(signal));
}

/* Both pipes until they are closed, which is when it has ended. */
static int follow(struct work *w, int64_t deadline, struct err *err)
{
	while (w->out >= 0 || w->said >= 0) {
		struct pollfd fds[] = {
			{w->out, POLLIN, 0}, {w->said, POLLIN, 0}, {w->signals, POLLIN, 0}};
		int64_t until = w->stalled < deadline ? w->stalled : deadline;
		int n = poll(fds, ARRAY_SIZE(fds), deadline_left(until));
		if (n < 0 && errno != EINTR)
			return err_errno(err, "cannot wait for %s", called(w->run));
		if (n == 0)
			return err_set(err, ERR_TIMEOUT, "%s %s: %s", called(w->run),
				w->run->argv[0],
				until == deadline ? "not done in the time that it had"
						  : "there was no progress for too long");
		if (n < 0)
			continue;
		if (fds[2].revents && cancelled(w, err) < 0)
			return -1;
		if (fds[0].revents && take_out(w, err) < 0)
			return -1;
		if (fds[1].revents && take(&w->said, &w->words, OUT_MAX, err) < 0)
			return -1;
	}
	return 0;
}

static int run_to_end(struct work *w, int *status, struct err *err)
{
	int got;
	int64_t deadline = w->run->time_ms ? deadline_in(w->run->time_ms) : DEADLINE_NONE;
	push_back_stall(w);
	if (start(w, err) < 0 || follow(w, deadline, err) < 0 ||
		proc_reap(&w->proc, deadline_in(REAP_MS), &got, err) < 0)
		return -1;
	if (!WIFEXITED(got) || WEXITSTATUS(got) > 31 ||
		!((1U | w->run->answers) & 1U << WEXITSTATUS(got)))
		return fail(w, got, err);
	if (status)
		*status = WEXITSTATUS(got);
	return 0;
}

int tool_run(const struct tool_run *run, int *status, struct err *err)
{
	sigset_t before;
	_cleanup_close_ int signals = signals_catch(&before, err);
	if (signals < 0)
		return -1;
	_cleanup_(work_end) struct work w = {.run = run,
		.proc = PROC_NONE,
		.out = -1,
		.said = -1,
		.signals = signals,
		.done = -1};
	int result = run_to_end(&w, status, err);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}
