/* Workers: long work of the supervisor in a child, which writes one reply into a pipe and ends. */
#include "orchestrator/roostd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/claim.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

enum { REPLY_MAX = 1024 * 1024, TELL_MS = 200 };

enum { PLACE = 3, FAR = 512 };

/* They are moved out of the way first: each has its place in a row from PLACE on. */
static void keep_only(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FAR);
	for (size_t i = 0; i < count; i++)
		fds[i] = dup3(fds[i], PLACE + (int)i, O_CLOEXEC);
	syscall(SYS_close_range, PLACE + (unsigned)count, ~0U, 0U);
}

/*
 * Of roostd's files only the pipe stays, and what came with the request, told in its "fds": a worker
 * that outlives roostd must hold neither its lock nor its listener, for the next one could not serve.
 */
static int settle_files(int out, struct request *r)
{
	int fds[1 + REQUEST_FDS_MAX] = {out};
	size_t count = 1;
	json_t *told = json_array();
	for (size_t i = 0; i < r->fd_count; i++)
		if (r->fds[i] >= 0)
			fds[count++] = r->fds[i];
	keep_only(fds, count);
	for (size_t i = 1; i < count; i++)
		json_array_append_new(told, json_integer(fds[i]));
	if (count > 1)
		json_object_set(r->args, "fds", told);
	json_decref(told);
	return fds[0];
}

static int told = -1; /* the pipe, in a worker */

static void tell(const json_t *event)
{
	_cleanup_free_ char *text = json_line(event);
	_cleanup_free_ char *line = str_fmt("%s\n", text);
	write_all(told, line, strlen(line));
}

void worker_tell_definition(const char *event, const char *guest, const char *how)
{
	_cleanup_json_ json_t *o =
		event_new(event, json_pack("{s:s, s:s}", "guest", guest, "how", how));
	tell(o);
}

void worker_progress(
	const char *kind, const char *name, const char *step, int64_t done, int64_t total)
{
	static int64_t next;
	if (deadline_left(next))
		return;
	next = deadline_in(TELL_MS);
	_cleanup_json_ json_t *event = event_new(
		"ROOST_PROGRESS", json_pack("{s:s, s:s, s:I, s:I}", kind, name, "step", step,
					  "done", (json_int_t)done, "total", (json_int_t)total));
	tell(event);
}

/* What changes a guest, so that it has it for itself; `off`: one that does not run. */
static const struct change {
	const char *command, *doing;
	bool off;
} changes[] = {
	{"roost-undefine", "undefined", true},
	{"roost-define", "defined", false},
	{"roost-rename", "renamed", true},
	{"roost-snapshot-create", "snapshotted", true},
	{"roost-snapshot-revert", "snapshotted", true},
	{"roost-snapshot-delete", "snapshotted", true},
	{"roost-snapshot-tidy", "snapshotted", true},
	{"roost-clone", "cloned", true},
	{"roost-sysprep", "cleaned", true},
	{"roost-template", "made a template", true},
	{"roost-blockpull", "flattened", true},
	{"roost-blockcommit", "committed", true},
	{"roost-commit-record", "committed", false},
	{"roost-host-key", "given a host key", false},
	{"roost-start", "given an identity of its own", true},
};

static const struct change *change_of(const struct request *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (str_eq(r->command, changes[i].command))
			return &changes[i];
	return NULL;
}

/* Started by the next roostd, after ours had looked and was killed? */
static int check_off(const char *name, struct err *err)
{
	struct err ignored = ERR_INIT;
	struct status s;
	_cleanup_definition_ struct definition *d = record_read(name, &ignored);
	_cleanup_close_ int run = d ? run_dir_open(d->issued.id, &ignored) : -1;
	if (run < 0 || status_read(run, "status", &s, &ignored) < 0)
		return 0;
	status_free(&s);
	return err_set(err, ERR_REFUSED, "guest '%s' is running", name);
}

/* The guest that there is, until we end: also when our roostd has ended, for the next one does not know us. */
static int have_for_itself(const struct request *r, struct err *err)
{
	const struct change *c = change_of(r);
	const char *name = json_get_str(r->args, "name", NULL);
	if (!name)
		name = json_get_str(json_object_get(r->args, "definition"), "name", "");
	if (!c)
		return 0;
	if (claim_take(name, false, err) < 0 && err->kind == ERR_BUSY)
		return -1;
	/* anything else that is wrong with it the work itself says best */
	*err = (struct err)ERR_INIT;
	return c->off && !json_object_get(r->args, "layers") ? check_off(name, err) : 0;
}

static _Noreturn void work_in_child(worker_fn *work, const struct request *r, int out)
{
	struct err err = ERR_INIT;
	json_t *value = NULL;
	told = out;
	int result = have_for_itself(r, &err) < 0 ? -1 : work(r->args, &value, &err);
	json_t *reply = json_object();
	if (result == 0)
		json_object_set_new(reply, "return", value ? value : json_object());
	else
		json_object_set_new(reply, "error", json_from_err(&err));
	_cleanup_free_ char *text = json_line(reply);
	write_all(out, text, strlen(text));
	_exit(0);
}

int worker_start(struct supervisor *s, worker_fn *work, struct request *request, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(err, "cannot make a pipe");
	pid_t pid = fork();
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return err_errno(err, "cannot fork a worker");
	}
	if (pid == 0) {
		fd_set_nonblocking(ends[1], 0);
		int out = settle_files(ends[1], request);
		work_in_child(work, request, out);
	}
	close(ends[1]);
	struct worker *w = xcalloc(1, sizeof(*w));
	w->child = CHILD_NONE;
	w->child.out = ends[0];
	w->child.proc.pid = pid;
	w->child.proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	w->request = request;
	w->next = s->workers;
	s->workers = w;
	return 0;
}

/* How far it has come: whole lines. Its reply has no end of line. */
static void pass_progress(struct supervisor *s, struct worker *w)
{
	struct err ignored = ERR_INIT;
	char *end;
	while (w->output.len && (end = memchr(w->output.data, '\n', w->output.len))) {
		size_t len = (size_t)(end - w->output.data);
		json_t *event = json_text_parse(w->output.data, len, &ignored);
		buf_drop(&w->output, len + 1);
		if (event)
			server_event(s->server, event);
	}
}

static void end_worker(struct worker *w)
{
	struct err ignored = ERR_INIT;
	if (!w->ending)
		proc_signal(&w->child.proc, SIGTERM, &ignored);
	w->ending = true;
}

/* The name of what it copies, or cleans, if it does; *kind says what that is. */
static const char *made_by(const struct worker *w, const char **kind)
{
	const char *command = w->request->command;
	const json_t *args = w->request->args;
	*kind = "guest";
	if (str_eq(command, "roost-clone"))
		return json_get_str(args, "new-name", NULL);
	if (str_eq(command, "roost-blockpull") || str_eq(command, "roost-blockcommit") ||
		str_eq(command, "roost-sysprep") || str_eq(command, "roost-snapshot-tidy") ||
		str_eq(command, "roost-snapshot-delete"))
		return json_get_str(args, "name", NULL);
	if (str_eq(command, "roost-define") && json_object_get(args, "files"))
		return json_get_str(json_object_get(args, "definition"), "name", NULL);
	*kind = "image";
	return str_starts(command, "roost-image-") ? json_get_str(args, "image", NULL) : NULL;
}

/* Who wanted a copy, or a guest saved, has gone: it is not to be done for nobody. */
static void look_for_client(const struct supervisor *s, struct worker *w)
{
	const char *kind;
	bool saves = str_eq(w->request->command, "roost-managed-save") ||
		     str_eq(w->request->command, "roost-managed-snapshot");
	if ((made_by(w, &kind) || saves) && !server_client_alive(s->server, w->request->client))
		end_worker(w);
}

/* The guest by its name, or by the one that it is to have. */
static bool is_about(const struct worker *w, const char *name)
{
	const json_t *args = w->request->args;
	return str_eq(json_get_str(args, "name", NULL), name) ||
	       str_eq(json_get_str(args, "new-name", NULL), name) ||
	       str_eq(json_get_str(json_object_get(args, "definition"), "name", NULL), name);
}

const char *worker_cancel(struct supervisor *s, const char *kind, const char *name)
{
	for (struct worker *w = s->workers; w; w = w->next) {
		const char *its, *made = made_by(w, &its);
		if (made && str_eq(its, kind) && (str_eq(made, name) || is_about(w, name))) {
			end_worker(w);
			return w->request->command;
		}
	}
	return NULL;
}

static void answer(struct supervisor *s, struct worker *w)
{
	struct err err = ERR_INIT;
	json_t *reply = json_text_parse(w->output.data ? w->output.data : "", w->output.len, &err);
	json_t *done = json_object_get(reply, "return");
	if (done && str_eq(w->request->command, "roost-start")) { /* that was only before it */
		json_object_update(w->request->args, done);
		json_decref(reply);
		child_end(&w->child); /* and the guest is nobody's any more */
		supervisor_run(s, w->request);
		return;
	}
	if (reply) {
		server_raw(s->server, w->request, reply);
		return;
	}
	/* it has ended when that is done: what is locked yet counts as at work */
	child_end(&w->child);
	leftovers_clean(true);
	err_set(&err, ERR_SYSTEM, "%s: its worker process died", w->request->command);
	server_error(s->server, w->request, &err);
}

void workers_look(struct supervisor *s)
{
	for (struct worker **at = &s->workers; *at;) {
		struct worker *w = *at;
		bool ended = child_read(&w->child, &w->output, REPLY_MAX);
		pass_progress(s, w);
		if (!ended) {
			look_for_client(s, w);
			at = &w->next;
			continue;
		}
		*at = w->next;
		answer(s, w);
		s->networks_due = 0; /* it may have started one */
		child_end(&w->child);
		buf_free(&w->output);
		free(w);
	}
}

const char *worker_changes(const struct supervisor *s, const char *name)
{
	for (const struct worker *w = s->workers; w; w = w->next) {
		const struct change *c = change_of(w->request);
		if (c && is_about(w, name))
			return c->doing;
	}
	return NULL;
}

json_t *workers_guests(const struct supervisor *s)
{
	json_t *names = json_array();
	for (const struct worker *w = s->workers; w; w = w->next) {
		const char *name = json_get_str(w->request->args, "name", NULL);
		if (!name)
			name = json_get_str(
				json_object_get(w->request->args, "definition"), "name", NULL);
		if (name && change_of(w->request))
			json_array_append_new(names, json_string(name));
	}
	return names;
}

size_t workers_poll_fds(struct supervisor *s, struct pollfd *fds, size_t max)
{
	size_t n = 0;
	for (struct worker *w = s->workers; w && n < max; w = w->next)
		fds[n++] = (struct pollfd){.fd = w->child.out, .events = POLLIN};
	return n;
}
