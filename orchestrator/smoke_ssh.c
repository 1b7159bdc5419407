/* The steps run, script, copy and port: by roost-ssh, in a process of its own. And host: by sh. */
#include "orchestrator/smoke_ssh.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sock.h"
#include "orchestrator/guest_text.h"
#include "orchestrator/ssh_child.h"

enum { SSH_FAILED = 255, ENDS_MS = 5000 };

void answer_free(struct answer *a)
{
	buf_free(&a->out);
	buf_free(&a->err);
}

/* ---- one command ------------------------------------------------------------------------------ */

json_t *trial_params(const struct trial *t, const char *user, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	if (guest_look(&t->guest, &s, err) < 0)
		return NULL;
	if (!s.number) {
		err_set(err, ERR_GONE, "the guest is %s%s%s", guest_state_name(s.state),
			s.reason[0] ? ": " : "", s.reason);
		return NULL;
	}
	return ssh_params(t->def, &s, user, err);
}

/* Who answers: roost-ssh with parameters, else a shell. */
struct asked {
	json_t *params;
	const char *command, *folder, *guest;
};

/* `roost` is the one that runs the suite, installed or not. */
static void prefer_own(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = '\0';
	char *slash = strrchr(self, '/');
	const char *path = getenv("PATH");
	if (!slash)
		return;
	*slash = '\0';
	_cleanup_free_ char *longer = str_fmt("%s:%s", self, path ? path : "/usr/bin:/bin");
	setenv("PATH", longer, 1);
}

static void ask_shell(const struct asked *a, struct err *err)
{
	prefer_own();
	setenv("ROOST_GUEST", a->guest, 1);
	if (chdir(a->folder) < 0)
		err_errno(err, "cannot enter '%s'", a->folder);
	else if (execl("/bin/sh", "sh", "-c", a->command, (char *)NULL) < 0)
		err_errno(err, "cannot run /bin/sh");
}

static _Noreturn void become(struct asked *a, int in, int out, int err_fd)
{
	struct err err = ERR_INIT;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* of the test: nobody would read its answer */
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		dup2(err_fd, STDERR_FILENO) < 0)
		_exit(SSH_FAILED);
	syscall(SYS_close_range, 3U, ~0U, 0U);
	if (a->params)
		ssh_become("exec", TAKE(a->params), &err);
	else
		ask_shell(a, &err);
	dprintf(STDERR_FILENO, "roost: %s\n", err.message);
	_exit(SSH_FAILED);
}

/* What has come; false at the end. */
static bool take(int *fd, struct buf *into, bool *cut)
{
	char chunk[16384];
	ssize_t n = read(*fd, chunk, sizeof(chunk));
	if (n <= 0) {
		cleanup_close(fd);
		return false;
	}
	size_t room = OUTPUT_MAX - into->len;
	buf_add(into, chunk, (size_t)n < room ? (size_t)n : room);
	*cut = *cut || (size_t)n > room;
	return true;
}

static int collect(struct child *c, int err_fd, int64_t deadline, struct answer *a, struct err *err)
{
	_cleanup_close_ int errors = err_fd;
	int status;
	while (c->out >= 0 || errors >= 0) {
		struct pollfd fds[] = {
			{.fd = c->out, .events = POLLIN}, {.fd = errors, .events = POLLIN}};
		if (poll(fds, ARRAY_SIZE(fds), deadline_left(deadline)) == 0)
			return err_set(err, ERR_TIMEOUT, "it has not ended");
		if (fds[0].revents)
			take(&c->out, &a->out, &a->cut);
		if (fds[1].revents)
			take(&errors, &a->err, &a->cut);
	}
	if (proc_reap(&c->proc, deadline_in(ENDS_MS), &status, err) < 0)
		return -1;
	a->status = WIFEXITED(status) ? WEXITSTATUS(status) : SSH_FAILED;
	return 0;
}

/* roost-ssh's own words, without its "roost: ". */
static int no_answer(const struct answer *a, struct err *err)
{
	const char *words = a->err.data ? a->err.data : "";
	size_t len = strcspn(words, "\n"), skip = str_starts(words, "roost: ") ? 7 : 0;
	_cleanup_free_ char *text = text_line(words + skip, len - skip, 300);
	return err_set(err, ERR_GONE, "%s", text[0] ? text : "roost-ssh ended without a word");
}

static int answer_of(
	struct asked *asked, int in, int64_t deadline, struct answer *out, struct err *err)
{
	int ends[2], errors[2];
	_cleanup_(child_end) struct child c = CHILD_NONE;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int out_read = ends[0], out_write = ends[1];
	if (pipe2(errors, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int err_read = errors[0], err_write = errors[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot fork");
	if (pid == 0)
		become(asked, in, out_write, err_write);
	c.proc = (struct proc){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
	c.out = TAKE_FD(out_read);
	cleanup_close(&out_write);
	cleanup_close(&err_write);
	if (collect(&c, TAKE_FD(err_read), deadline, out, err) < 0)
		return -1;
	bool own_words = out->status == SSH_FAILED &&
			 str_starts(out->err.data ? out->err.data : "", "roost: ");
	return own_words ? no_answer(out, err) : 0;
}

int guest_exec(json_t *params, int in, int64_t deadline, struct answer *out, struct err *err)
{
	_cleanup_json_ json_t *owned = params;
	struct asked asked = {.params = params};
	return answer_of(&asked, in, deadline, out, err);
}

/* ---- run, script ------------------------------------------------------------------------------ */

static int wrong_status(const struct step *s, const struct answer *a, struct err *err)
{
	const struct buf *said = a->err.len ? &a->err : &a->out;
	size_t len = said->len;
	while (len && said->data[len - 1] == '\n')
		len--;
	_cleanup_free_ char *text = text_line(said->data ? said->data : "", len, 200);
	return err_set(err, ERR_QEMU, "expected exit status %u, got %d%s%s%s", s->status, a->status,
		text[0] ? " and '" : "", text, text[0] ? "'" : "");
}

static int ask(
	struct trial *t, const struct step *s, int64_t deadline, struct answer *a, struct err *err)
{
	bool script = s->kind == STEP_SCRIPT;
	_cleanup_close_ int in = open(script ? s->text : "/dev/null", O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return err_errno(err, "cannot read '%s'", script ? s->text : "/dev/null");
	if (s->kind == STEP_HOST) {
		struct asked here = {
			.command = s->text, .folder = s->folder, .guest = t->guest.name};
		return answer_of(&here, in, deadline, a, err);
	}
	json_t *params = trial_params(t, s->user, err);
	if (!params)
		return -1;
	const char *shell = s->shell ? s->shell : "sh";
	json_object_set_new(params, "command", json_string(script ? shell : s->text));
	return guest_exec(params, in, deadline, a, err);
}

static int run_once(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	_cleanup_answer_ struct answer a = {0};
	if (ask(t, s, deadline, &a, err) < 0) {
		if (err->kind != ERR_TIMEOUT)
			return err_prefix(err, "expected exit status %u, got no answer", s->status);
		return err_set(err, ERR_TIMEOUT,
			"expected exit status %u, but it has not ended within %lld s", s->status,
			(long long)s->timeout_ms / 1000);
	}
	if (a.status != (int)s->status)
		return wrong_status(s, &a, err);
	if (a.cut && (s->equals || s->matches || s->contains))
		return err_set(err, ERR_QEMU, "expected at most %s of output, got more",
			str_size(OUTPUT_MAX));
	return step_expect(s, "output", &a.out, err);
}

int step_run(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	int64_t until = s->retry_ms ? deadline_in(s->retry_ms) : 0;
	for (;;) {
		struct err ended = ERR_INIT;
		if (run_once(t, s, deadline, err) == 0)
			return 0;
		if (!until || !deadline_left(until) || !deadline_left(deadline))
			return -1;
		if (trial_pause(t, NULL, deadline, &ended) < 0)
			return -1;
	}
}

/* ---- copy ------------------------------------------------------------------------------------- */

/* Lines up to the end; the last one is the answer. */
static json_t *last_line(struct child *c, int64_t deadline, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	bool cut = false;
	for (;;) {
		if (fd_wait(c->out, POLLIN, deadline) <= 0) {
			err_set(err, ERR_TIMEOUT, "it is not done");
			return NULL;
		}
		if (!take(&c->out, &text, &cut))
			break;
		char *line = text.len ? memrchr(text.data, '\n', text.len - 1) : NULL;
		if (line)
			buf_drop(&text, (size_t)(line - text.data) + 1);
	}
	if (text.len)
		return json_text_parse(text.data, text.len, err);
	err_set(err, ERR_SYSTEM, "roost-ssh ended without a word");
	return NULL;
}

int step_copy(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	_cleanup_(child_end) struct child c = CHILD_NONE;
	json_t *params = trial_params(t, s->user, err);
	if (!params)
		return -1;
	json_object_update_new(params,
		json_pack("{s:s, s:s, s:s, s:b, s:b}", "direction", s->copy_in ? "to" : "from",
			"local", s->copy_in ? s->copy_in : s->copy_to, "remote",
			s->copy_in ? s->copy_to : s->copy_out, "recursive", s->recursive,
			"preserve", 1));
	if (ssh_start("copy", params, &c, err) < 0)
		return -1;
	_cleanup_json_ json_t *answer = last_line(&c, deadline, err);
	if (answer && json_object_get(answer, "state"))
		return 0;
	if (answer)
		json_to_err(json_object_get(answer, "error"), err);
	return err_prefix(err, "expected a copy at '%s', got", s->copy_to);
}

/* ---- port ------------------------------------------------------------------------------------- */

/* Does something accept there? If not, *why; if that could not be learnt, an error. */
static int probe(struct trial *t, const struct step *s, int64_t deadline, bool *open_now,
	char **why, struct err *err)
{
	_cleanup_answer_ struct answer a = {0};
	_cleanup_close_ int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	json_t *params = trial_params(t, NULL, err);
	if (!params)
		return -1;
	json_object_set_new(params, "dial",
		json_pack("{s:s, s:i, s:b}", "address", s->address ? s->address : "127.0.0.1",
			"port", (int)s->port, "probe", 1));
	if (guest_exec(params, in, deadline, &a, err) < 0)
		return -1;
	const char *said = a.err.data ? a.err.data : "";
	size_t skip = str_starts(said, "roost: ") ? 7 : 0, len = strcspn(said, "\n");
	free(*why);
	*why = text_line(said + skip, len > skip ? len - skip : 0, 200);
	*open_now = a.status == 0;
	return 0;
}

int step_port(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	const char *address = s->address ? s->address : "127.0.0.1";
	_cleanup_free_ char *why = NULL;
	bool known = false, open_now = false;
	for (;;) {
		struct err unknown = ERR_INIT;
		if (probe(t, s, deadline, &open_now, &why, &unknown) == 0)
			known = true;
		else if (!known)
			*err = unknown;
		if (known && open_now == s->open)
			return 0;
		if (!deadline_left(deadline))
			break;
		if (trial_pause(t, NULL, deadline, err) < 0)
			return err_prefix(err, "expected port %u of %s", s->port, address);
	}
	const char *state = s->open ? "open" : "closed";
	if (!known)
		return err_prefix(err, "expected port %u of %s to be %s, got no answer", s->port,
			address, state);
	return err_set(err, ERR_TIMEOUT, "expected port %u of %s to be %s, got '%s' for %lld s",
		s->port, address, state, s->open ? why : "open", (long long)s->timeout_ms / 1000);
}
