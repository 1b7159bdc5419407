#include "orchestrator/sysprep_off.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/str.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/launch.h"
#include "orchestrator/paths.h"

enum { WORK_MS = 300000, END_MS = 5000, ANSWER_MAX = 1 << 20 };

/* ---- what it works on ---------------------------------------------------------------------------------- */

static bool is_among(const char *targets, const char *target)
{
	size_t len = strlen(target);
	for (const char *at = targets; (at = strstr(at, target)); at += len)
		if ((at == targets || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

/* Each disk gets a new top, in which all changes are. */
int sysprep_put_tops(struct sysprep *s, const char *targets, struct err *err)
{
	struct off *o = &s->off;
	for (size_t i = 0; i < o->count; i++) {
		const char *target = o->disks[i].target;
		if (str_eq(target, SNAPSHOT_VARS) || (targets && !is_among(targets, target)))
			continue;
		s->disks[s->count++] = o->disks[i];
		if (off_put_on_top(o, &o->disks[i], snapshot_top(o->record, target), err) < 0)
			return -1;
	}
	failpoint("sysprep-layered");
	return s->count ? 0 : err_set(err, ERR_REFUSED, "it has no disk that it writes to");
}

static int open_disk(
	struct off *o, const struct disk_def *d, struct disk_files *out, struct err *err)
{
	const char *layers[CHAIN_MAX];
	size_t count;
	if (snapshot_chain(o->record, d, NULL, layers, &count, err) < 0)
		return -1;
	return disk_open_layers(d, o->dir, layers, count, out, err);
}

int sysprep_serve(struct sysprep *s, struct err *err)
{
	struct disk_files files[DISKS_MAX] = {0};
	struct off *o = &s->off;
	int result = 0;
	for (size_t i = 0; i < s->count && result == 0; i++)
		result = open_disk(o, &s->disks[i], &files[i], err);
	if (result == 0)
		result =
			disk_server_start(&s->server, o->dir, o->d, s->disks, files, s->count, err);
	for (size_t i = 0; i < s->count; i++)
		disk_files_close(&files[i]);
	if (result == 0)
		failpoint("sysprep-served");
	return result;
}

/* ---- the program that does it -------------------------------------------------------------------------- */

static const char *find_program(struct err *err)
{
	const char *path = libexec_path("roost-sysprep");
	if (access(path, X_OK) == 0)
		return path;
	err_set(err, ERR_SYSTEM, "the program roost-sysprep is not installed");
	err_hint(err, "build roost with libext2fs: `apt install libext2fs-dev`, then `make`");
	return NULL;
}

/* Its fds come to it in the order in which they are added. */
static void add_disks(struct sysprep *s, struct launch *l, json_t *plan)
{
	json_t *disks = json_array();
	for (size_t i = 0; i < s->count; i++)
		json_array_append_new(disks,
			json_pack("{s:i, s:s}", "fd", launch_fd(l, TAKE_FD(s->server.fds[i])),
				"name", s->disks[i].target));
	json_object_set_new(plan, "disks", disks);
}

static int start(struct sysprep *s, json_t *plan, const char *key, int *fd, struct proc *program,
	int *said, struct err *err)
{
	_cleanup_launch_ struct launch l = LAUNCH_NONE;
	const char *path = find_program(err);
	int ends[2];
	if (!path)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	*said = ends[0];
	l.stderr_fd = ends[1];
	l.uid = geteuid() == 0 ? s->off.d->issued.qemu_uid : 0;
	l.dies_with_us = true;
	add_disks(s, &l, plan);
	if (*fd >= 0)
		json_object_set_new(plan, key, json_integer(launch_fd(&l, TAKE_FD(*fd))));
	launch_arg(&l, "%s", path);
	launch_arg_json(&l, json_incref(plan));
	return launch_run(&l, program, err);
}

/* Its next line, or what there is at its end, is at the beginning of `text`. */
static int read_line(int said, struct buf *text, int64_t deadline, struct err *err)
{
	for (ssize_t n = 1; n > 0 && text->len < ANSWER_MAX;) {
		if (text->len && memchr(text->data, '\n', text->len))
			return 0;
		int got = signals_or_readable(said, deadline, err);
		if (got == 0)
			err_set(err, ERR_TIMEOUT, "roost-sysprep does not end");
		if (got <= 0)
			return -1;
		buf_reserve(text, 8192);
		n = read(said, text->data + text->len, 8192);
		text->len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* A line in which it wants something is answered; the first other one is its answer. */
static json_t *next_answer(
	int said, int64_t deadline, sysprep_wants_fn *wants, void *about, int *to, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	struct err none = ERR_INIT;
	for (;;) {
		if (read_line(said, &text, deadline, err) < 0)
			return NULL;
		const char *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
		size_t len = end ? (size_t)(end - text.data) : text.len;
		_cleanup_json_ json_t *line =
			json_text_parse(text.data ? text.data : "", len, &none);
		const json_t *wanted = json_object_get(line, "wants");
		if (!wanted || !wants)
			return json_incref(line);
		int result = wants(about, wanted, *to, err);
		cleanup_close(to);
		if (result < 0)
			return NULL;
		buf_drop(&text, end ? len + 1 : len);
	}
}

/* Its answer, when it has ended. */
static json_t *hear(struct sysprep *s, struct proc *program, int said, sysprep_wants_fn *wants,
	void *about, int *to, struct err *err)
{
	int64_t deadline = deadline_in(WORK_MS);
	int status = 0;
	_cleanup_json_ json_t *answer = next_answer(said, deadline, wants, about, to, err);
	if (err->kind || proc_reap(program, deadline, &status, err) < 0)
		return NULL;
	s->answered = answer;
	if (!answer)
		err_set(err, ERR_SYSTEM, "roost-sysprep %s", proc_status_text(status));
	else if (json_object_get(answer, "error"))
		json_to_err(json_object_get(answer, "error"), err);
	return json_incref(json_object_get(answer, "return"));
}

static void program_end(struct proc *p)
{
	struct err ignored = ERR_INIT;
	int status;
	if (p->pidfd >= 0 && proc_signal(p, SIGKILL, &ignored) == 0)
		proc_reap(p, deadline_in(END_MS), &status, &ignored);
	proc_close(p);
}

int sysprep_run(struct sysprep *s, json_t *plan, const char *key, int fd, sysprep_wants_fn *wants,
	void *about, struct err *err)
{
	_cleanup_(program_end) struct proc program = PROC_NONE;
	_cleanup_close_ int said = -1, its = fd, to = -1;
	_cleanup_json_ json_t *owned = plan;
	int ends[2];
	if (wants) { /* a question comes on its standard output, what answers it over a pipe */
		if (pipe2(ends, O_CLOEXEC) < 0)
			return err_errno(err, "cannot make a pipe");
		its = ends[0];
		to = ends[1];
	}
	if (start(s, plan, key, &its, &program, &said, err) < 0)
		return -1;
	failpoint("sysprep-started");
	s->answer = hear(s, &program, said, wants, about, &to, err);
	return s->answer ? 0 : -1;
}

/* ---- the change ---------------------------------------------------------------------------------------- */

/* A top in which nothing was written is none. */
static void drop_unchanged(struct sysprep *s)
{
	json_t *changed = json_object_get(s->answer, "changed"), *name;
	for (size_t i = 0; i < s->count; i++) {
		const char *target = s->disks[i].target;
		size_t at;
		bool is = false;
		json_array_foreach (changed, at, name)
			is = is || str_eq(json_string_value(name), target);
		const char *top = snapshot_top(s->off.record, target);
		const json_t *layer =
			json_object_get(json_object_get(s->off.record, "layers"), top);
		if (!is)
			snapshots_forget_layer(
				s->off.record, &(struct loose_layer){top, target,
						       json_get_str(layer, "over", "")});
	}
}

int sysprep_take(struct sysprep *s, struct err *err)
{
	drop_unchanged(s);
	snapshots_count_on(s->off.record);
	/* until the change is made QEMU holds the disks: nobody starts the guest on what it was */
	if (off_change(&s->off, err) < 0)
		return -1;
	disk_server_end(&s->server);
	snapshots_sweep(s->off.dir, s->off.record);
	return off_tidy(&s->off, NULL, err);
}

void sysprep_end(struct sysprep *s)
{
	disk_server_end(&s->server);
	json_decref(TAKE(s->answer));
}
