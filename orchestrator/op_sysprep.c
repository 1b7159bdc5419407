/*
 * Sysprep of a guest that does not run: what makes it one and no other is removed from its disks, so that it
 * can be copied. Runs in a worker of roostd.
 *
 * The disks get a new top each, of which nobody knows yet, and a QEMU in its jail serves them with these
 * (disk_server.h) to roost-sysprep, another child in a jail, which reads and changes the file systems.
 * that has gone well the new tops are the guest's, by one change of the record; then they are merged into
 * what they stand on. Until that change nothing has happened to the guest, whoever is killed.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/sock.h"
#include "base/str.h"
#include "images/sysprep_ops.h"
#include "orchestrator/disk_server.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/launch.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshot_off.h"
#include "orchestrator/sysprep_boot.h"

enum { WORK_MS = 300000, END_MS = 5000, ANSWER_MAX = 1 << 20 };

struct sysprep {
	struct off off;
	struct disk_server server;
	struct disk_def disks[DISKS_MAX]; /* borrowed */
	size_t count;
	json_t *answer; /* roost-sysprep's */
};

/* ---- what it works on ---------------------------------------------------------------------------------- */

/* Each disk gets a new top, in which all changes are. */
static int put_tops(struct sysprep *s, struct err *err)
{
	struct off *o = &s->off;
	for (size_t i = 0; i < o->count; i++) {
		const char *target = o->disks[i].target;
		if (str_eq(target, SNAPSHOT_VARS))
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

static int serve(struct sysprep *s, struct err *err)
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
static json_t *plan(struct sysprep *s, struct launch *l, const json_t *args)
{
	json_t *disks = json_array();
	for (size_t i = 0; i < s->count; i++)
		json_array_append_new(disks,
			json_pack("{s:i, s:s}", "fd", launch_fd(l, TAKE_FD(s->server.fds[i])),
				"name", s->disks[i].target));
	json_t *p = json_pack("{s:o, s:O, s:O*}", "disks", disks, "operations",
		json_object_get(args, "operations"), "delete", json_object_get(args, "delete"));
	int stream = sysprep_files_stream(args);
	if (stream >= 0)
		json_object_set_new(p, "files", json_integer(launch_fd(l, dup(stream))));
	return p;
}

static int start(
	struct sysprep *s, const json_t *args, struct proc *program, int *said, struct err *err)
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
	launch_arg(&l, "%s", path);
	launch_arg_json(&l, plan(s, &l, args));
	return launch_run(&l, program, err);
}

/* Its answer, when it has ended. */
static json_t *hear(struct proc *program, int said, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	int64_t deadline = deadline_in(WORK_MS);
	int status = 0;
	for (ssize_t n = 1; n > 0 && text.len < ANSWER_MAX;) {
		int got = signals_or_readable(said, deadline, err);
		if (got == 0)
			err_set(err, ERR_TIMEOUT, "roost-sysprep does not end");
		if (got <= 0)
			return NULL;
		buf_reserve(&text, 8192);
		n = read(said, text.data + text.len, 8192);
		text.len += n > 0 ? (size_t)n : 0;
	}
	if (proc_reap(program, deadline, &status, err) < 0)
		return NULL;
	_cleanup_json_ json_t *answer = json_text_parse(text.data ? text.data : "", text.len, err);
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

static int clean(struct sysprep *s, const json_t *args, struct err *err)
{
	_cleanup_(program_end) struct proc program = PROC_NONE;
	_cleanup_close_ int said = -1;
	if (start(s, args, &program, &said, err) < 0)
		return -1;
	failpoint("sysprep-started");
	s->answer = hear(&program, said, err);
	return s->answer ? 0 : -1;
}

/* 1; 0: there is no system on its disks that could be cleaned so; -1 */
static int offline(struct sysprep *s, const json_t *args, struct err *err)
{
	if (serve(s, err) < 0)
		return -1;
	failpoint("sysprep-served");
	if (clean(s, args, err) < 0)
		return -1;
	bool system = json_get_bool(s->answer, "system", false);
	json_object_del(s->answer, "system");
	return system;
}

/* ---- both ways ----------------------------------------------------------------------------------------- */

static int booted(struct sysprep *s, const json_t *args, struct err *err)
{
	const json_t *operations = json_object_get(args, "operations");
	uint64_t copied = 0;
	if (!sysprep_can_boot(s->off.d)) {
		err_set(err, ERR_REFUSED, "nobody can log in to it");
		return err_hint(err, "give it `cloud_init`, or `ready: {user, identity}`");
	}
	if (sysprep_boot(&s->off, args, &s->server, &copied, err) < 0)
		return -1;
	json_t *changed = json_array(), *done = json_array(), *name;
	size_t i;
	for (i = 0; i < s->count; i++)
		json_array_append_new(changed, json_string(s->disks[i].target));
	json_array_foreach (operations, i, name)
		json_array_append_new(done, json_pack("{s:O}", "name", name));
	s->answer = json_pack(
		"{s:o, s:o, s:[]}", "changed", changed, "operations", done, "filesystems");
	if (sysprep_files_stream(args) >= 0)
		json_object_set_new(s->answer, "copied", json_integer((json_int_t)copied));
	return 0;
}

/* Offline if it can be; what there is nothing to be read of is booted, if somebody can log in. */
static int choose_way(struct sysprep *s, const json_t *args, const char **way, struct err *err)
{
	bool boot = json_get_bool(args, "boot", false) ||
		    json_array_size(json_object_get(args, "scripts"));
	*way = "offline";
	int done = boot ? 0 : offline(s, args, err);
	if (done)
		return done < 0 ? -1 : 0;
	if (!boot && !sysprep_can_boot(s->off.d))
		return err_set(err, ERR_NOT_FOUND,
			"there is no ext2, ext3 or ext4 with a system on its disks");
	disk_server_end(&s->server);
	json_decref(s->answer);
	s->answer = NULL;
	*way = "booted";
	return booted(s, args, err);
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

static int sysprep(struct sysprep *s, const json_t *args, struct err *err)
{
	const char *way;
	if (s->off.d->issued.template)
		return err_set(
			err, ERR_REFUSED, "it is a template, which others are cloned of as it is");
	if (off_tidy(&s->off, NULL, err) < 0 || put_tops(s, err) < 0 ||
		choose_way(s, args, &way, err) < 0)
		return -1;
	json_object_set_new(s->answer, "way", json_string(way));
	failpoint("sysprep-cleaned");
	/* it is cancelled no later than here */
	if (signals_check(err) < 0)
		return -1;
	if (json_get_bool(args, "dry-run", false)) /* the new tops go, as when it fails */
		return 0;
	drop_unchanged(s);
	snapshots_count_on(s->off.record);
	/* until the change is made QEMU holds the disks: nobody starts the guest on what it was */
	if (off_change(&s->off, err) < 0)
		return -1;
	disk_server_end(&s->server);
	snapshots_sweep(s->off.dir, s->off.record);
	return off_tidy(&s->off, NULL, err);
}

static void tell(const struct off *o, const json_t *args)
{
	_cleanup_json_ json_t *event =
		event_new("ROOST_COMMAND", event_command(o->d->name, "roost-sysprep",
						   json_incref(json_object_get(args, "by"))));
	event_log_append_as(o->dir, o->d->issued.keeper_uid, event);
}

static int check_delete(const json_t *args, struct err *err)
{
	size_t i;
	json_t *pattern;
	json_array_foreach (json_object_get(args, "delete"), i, pattern)
		if (sysprep_check_pattern(json_string_value(pattern) ?: "", err) < 0)
			return -1;
	return 0;
}

int op_sysprep(const json_t *args, json_t **ret, struct err *err)
{
	struct sysprep s = {.off = {.dir = -1}, .server = DISK_SERVER_NONE};
	int64_t began = clock_ms();
	bool dry = json_get_bool(args, "dry-run", false);
	int result = check_delete(args, err) < 0
			     ? -1
			     : off_begin(&s.off, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = sysprep(&s, args, err);
	disk_server_end(&s.server);
	if (result < 0 && s.off.d)
		err_prefix(err, "guest '%s'", s.off.d->name);
	if (result == 0) {
		if (!dry)
			tell(&s.off, args);
		json_object_set_new(s.answer, "ms", json_integer(clock_ms() - began));
		*ret = json_incref(s.answer);
	}
	json_decref(s.answer);
	off_end(&s.off, dry ? -1 : result);
	return result;
}
