#include "orchestrator/status.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"

static const char *const state_names[] = {
	[GUEST_SHUT_OFF] = "shut off",
	[GUEST_STARTING] = "starting",
	[GUEST_RUNNING] = "running",
	[GUEST_PAUSED] = "paused",
	[GUEST_IN_SHUTDOWN] = "in shutdown",
	[GUEST_MIGRATING] = "migrating",
	[GUEST_CRASHED] = "crashed",
	[GUEST_UNRESPONSIVE] = "unresponsive",
	[GUEST_IO_ERROR] = "io-error",
	[GUEST_BROKEN] = "broken",
};
static_assert(ARRAY_SIZE(state_names) == GUEST_STATE_MAX, "a state lacks its name");

const char *guest_state_name(enum guest_state state)
{
	return state < GUEST_STATE_MAX ? state_names[state] : "broken";
}

enum guest_state guest_state_of(const char *name)
{
	for (enum guest_state s = 0; s < GUEST_STATE_MAX; s++)
		if (str_eq(state_names[s], name))
			return s;
	return GUEST_BROKEN;
}

static json_t *to_json(const struct status *s)
{
	json_t *o = json_object();
	json_object_set_new(o, "name", json_string(s->name));
	json_object_set_new(o, "id", json_string(s->id));
	json_object_set_new(o, "number", json_integer(s->number));
	json_object_set_new(o, "state", json_string(guest_state_name(s->state)));
	json_object_set_new(o, "reason", json_string(s->reason));
	json_object_set_new(o, "accel", json_string(s->accel));
	json_object_set_new(o, "accel_said", json_string(s->accel_said));
	json_object_set_new(o, "busy", json_string(s->busy));
	json_object_set_new(o, "keeper_pid", json_integer(s->keeper_pid));
	json_object_set_new(o, "keeper_start", json_integer((json_int_t)s->keeper_start));
	json_object_set_new(o, "qemu_pid", json_integer(s->qemu_pid));
	json_object_set_new(o, "qemu_start", json_integer((json_int_t)s->qemu_start));
	if (s->tpm_pid) {
		json_object_set_new(o, "tpm_pid", json_integer(s->tpm_pid));
		json_object_set_new(o, "tpm_start", json_integer((json_int_t)s->tpm_start));
		json_object_set_new(o, "tpm_gone", json_string(s->tpm_gone));
	}
	json_object_set_new(o, "stamp", json_integer(s->stamp));
	json_object_set_new(o, "boot", json_string(s->boot));
	json_object_set_new(o, "started", json_integer(s->started));
	json_object_set_new(o, "started_wall", json_integer(s->started_wall));
	json_object_set_new(o, "console_from", json_integer(s->console_from));
	json_object_set_new(o, "memory", json_integer(s->memory));
	json_object_set_new(o, "vcpus", json_integer(s->vcpus));
	json_object_set_new(o, "paused_start", json_boolean(s->paused_start));
	if (s->forwards)
		json_object_set(o, "forwards", s->forwards);
	if (s->timeline)
		json_object_set(o, "timeline", s->timeline);
	return o;
}

static int write_file(int dir, const char *file, const struct status *s, struct err *err)
{
	_cleanup_json_ json_t *o = to_json(s);
	_cleanup_free_ char *text = json_line(o);
	return file_replace(dir, file, text, strlen(text), false, err);
}

int status_write(int run_dir, const struct status *s, struct err *err)
{
	return write_file(run_dir, "status", s, err);
}

bool status_of_this_boot(const struct status *s)
{
	return !s->boot[0] || str_eq(s->boot, boot_id());
}

int status_write_running(int guest_dir, const struct status *s, struct err *err)
{
	return write_file(guest_dir, "running", s, err);
}

int status_write_last(int guest_dir, const struct status *s, struct err *err)
{
	if (write_file(guest_dir, "last", s, err) < 0)
		return -1;
	if (unlinkat(guest_dir, "crashed", 0) < 0 && errno != ENOENT)
		return err_errno(err, "cannot remove 'crashed'");
	if (s->state == GUEST_CRASHED && linkat(guest_dir, "last", guest_dir, "crashed", 0) < 0)
		return err_errno(err, "cannot make 'crashed'");
	return 0;
}

#define COPY(to, o, key) snprintf((to), sizeof(to), "%s", json_get_str((o), (key), ""))

int status_read(int dir, const char *file, struct status *out, struct err *err)
{
	_cleanup_json_ json_t *o = json_file_read(dir, file, err);
	if (!o)
		return -1;
	struct status s = {0};
	COPY(s.name, o, "name");
	COPY(s.id, o, "id");
	COPY(s.reason, o, "reason");
	COPY(s.accel, o, "accel");
	COPY(s.accel_said, o, "accel_said");
	COPY(s.busy, o, "busy");
	COPY(s.boot, o, "boot");
	s.number = json_get_int(o, "number", 0);
	s.state = guest_state_of(json_get_str(o, "state", ""));
	s.keeper_pid = (pid_t)json_get_int(o, "keeper_pid", 0);
	s.keeper_start = (uint64_t)json_get_int(o, "keeper_start", 0);
	s.qemu_pid = (pid_t)json_get_int(o, "qemu_pid", 0);
	s.qemu_start = (uint64_t)json_get_int(o, "qemu_start", 0);
	s.tpm_pid = (pid_t)json_get_int(o, "tpm_pid", 0);
	s.tpm_start = (uint64_t)json_get_int(o, "tpm_start", 0);
	COPY(s.tpm_gone, o, "tpm_gone");
	s.stamp = json_get_int(o, "stamp", 0);
	s.started = json_get_int(o, "started", 0);
	s.started_wall = json_get_int(o, "started_wall", 0);
	s.console_from = json_get_int(o, "console_from", 0);
	s.memory = json_get_int(o, "memory", 0);
	s.vcpus = json_get_int(o, "vcpus", 0);
	s.paused_start = json_get_bool(o, "paused_start", false);
	s.forwards = json_incref(json_object_get(o, "forwards"));
	s.timeline = json_incref(json_object_get(o, "timeline"));
	*out = s;
	return 0;
}

static bool may_answer(const struct status *s)
{
	return proc_lives(s->keeper_pid, s->keeper_start) &&
	       proc_lives(s->qemu_pid, s->qemu_start) && !proc_stopped(s->keeper_pid) &&
	       !proc_stopped(s->qemu_pid);
}

int status_look(int dir, const char *file, struct status *out, struct err *err)
{
	enum { MOMENT_MS = 500, LOOK_AGAIN_MS = 20 };
	static int64_t until;
	for (;;) {
		if (status_read(dir, file, out, err) < 0)
			return -1;
		if (clock_ms() - out->stamp <= STATUS_STALE_MS || out->busy[0])
			return 0;
		until = until ? until : deadline_in(MOMENT_MS);
		if (!deadline_left(until) || !may_answer(out))
			break;
		status_free(out);
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	out->state = GUEST_UNRESPONSIVE;
	return 0;
}

void status_free(struct status *s)
{
	json_decref(s->forwards);
	json_decref(s->timeline);
	s->forwards = s->timeline = NULL;
}
