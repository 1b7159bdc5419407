/*
 * From what QEMU says to what we know of the guest.
 *
 * Events tell that something changed; what the CPUs do now is always asked (query-status), for an
 * event may have been sent before our connection was there. Why a guest ends is kept in
 * g->ending until QEMU has ended: guest_end.c.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/attached.h"
#include "orchestrator/install.h"
#include "orchestrator/snapshots.h"

enum {
	RESET_LOOP_COUNT = 5,
	RESET_LOOP_MS = 15000,
	SAME_RESET_MS = 500,   /* SeaBIOS follows each warm reset with two of its own */
	BIOS_RESETS_MS = 3000, /* which are not the guest's wish if the first one was ours */
};

static void send_quietly(struct guest *g, const char *command)
{
	struct err ignored = ERR_INIT;
	uint64_t call = qmp_send(g->qmp, command, NULL, NULL, 0, &ignored);
	if (call)
		qmp_forget(g->qmp, call);
}

/* `cont` is refused until the reset has happened, which the event RESET tells. */
void guest_reset_and_run(struct guest *g)
{
	g->run_after_reset = true;
	send_quietly(g, "system_reset");
}

static void remember_ending(struct guest *g, const char *reason)
{
	if (!g->ending[0]) /* the first is the cause, a later one only our own `quit` */
		snprintf(g->ending, sizeof(g->ending), "%s", reason);
}

/* ---- one function for each event that means something to us ----------------------------------- */

static void on_shutdown(struct guest *g, const json_t *data)
{
	const char *reason = json_get_str(data, "reason", "unknown");
	if (str_eq(reason, "guest-shutdown") && g->reboot_until && deadline_left(g->reboot_until)) {
		/* it took the button for "power off": -action shutdown=pause lets us reset it */
		g->reboot_until = 0;
		guest_reset_and_run(g);
		return;
	}
	if (install_ends(g, reason))
		return;
	remember_ending(g, reason);
	if (str_eq(reason, "guest-shutdown") || g->def->install.enabled)
		send_quietly(g, "quit");
}

/* The timeline is one boot's: it begins anew. */
static void begin_boot(struct guest *g)
{
	g->boots++;
	g->status.started = clock_ms();
	if (g->console_fds[0] >= 0)
		g->status.console_from = lseek(g->console_fds[0], 0, SEEK_END);
	json_decref(g->status.timeline);
	g->status.timeline = json_pack("{s:i, s:i, s:i}", "process", 0, "qmp", 0, "running", 0);
	guest_tell_status(g);
}

static void on_reset(struct guest *g, const json_t *data)
{
	int64_t now = clock_ms();
	begin_boot(g);
	if (g->run_after_reset) /* until RESUME: QEMU may be too busy with the reset to take it */
		send_quietly(g, "cont");
	if (!json_get_bool(data, "guest", false)) {
		g->reset_by_us = now;
		return;
	}
	unsigned last = (g->reset_count + ARRAY_SIZE(g->resets) - 1) % ARRAY_SIZE(g->resets);
	if (now - g->resets[last] > SAME_RESET_MS)
		g->resets[g->reset_count++ % ARRAY_SIZE(g->resets)] = now;
	g->reboot_until = 0;
	if (g->def->on_reboot == ON_REBOOT_DESTROY &&
		(!g->reset_by_us || now - g->reset_by_us > BIOS_RESETS_MS)) {
		remember_ending(g, "guest-reset");
		send_quietly(g, "quit");
	}
}

static void on_panic(struct guest *g, const json_t *data)
{
	(void)data;
	switch (g->def->on_crash) {
	case ON_CRASH_DESTROY:
		remember_ending(g, "guest-panic");
		send_quietly(g, "quit");
		break;
	case ON_CRASH_RESTART:
		guest_reset_and_run(g);
		break;
	default:
		guest_tell(g, GUEST_CRASHED, "panic");
	}
}

void guest_disk_failed(struct guest *g, const char *node, bool for_space)
{
	/* the disk's target, or a layer that a snapshot put over it, "vda-s3.top" */
	snprintf(g->failed_disk, sizeof(g->failed_disk), "%.*s", (int)strcspn(node, "-"), node);
	g->failed_for_space = for_space;
}

static void on_io_error(struct guest *g, const json_t *data)
{
	if (!str_eq(json_get_str(data, "action", ""), "stop"))
		return;
	/* `device` is empty with -blockdev */
	guest_disk_failed(
		g, json_get_str(data, "node-name", "?"), json_get_bool(data, "nospace", false));
	guest_tell(g, GUEST_IO_ERROR, "%s: %s", g->failed_disk,
		g->failed_for_space ? "no space" : json_get_str(data, "reason", "failed"));
}

/* QEMU has done already what the definition wants; `poweroff` has ended it at once. */
static void on_watchdog(struct guest *g, const json_t *data)
{
	const char *action = json_get_str(data, "action", "");
	if (str_eq(action, "poweroff"))
		remember_ending(g, "watchdog");
	else if (str_eq(action, "pause"))
		guest_tell(g, GUEST_PAUSED, "watchdog");
	else if (g->status.state == GUEST_RUNNING)
		guest_tell(g, GUEST_RUNNING, "%s",
			str_eq(action, "reset") ? "reset by its watchdog"
						: "its watchdog has expired");
}

/* The event itself went to nobody: it came while the guest had no keeper. */
void guest_on_found_stopped(struct guest *g, const char *status)
{
	char reason[sizeof(g->ending)] = "guest-shutdown";
	if (str_eq(status, "shutdown") && g->def->install.enabled) { /* or a reset */
		guest_find_ending(g);
		memcpy(reason, g->ending, sizeof(reason));
		g->ending[0] = '\0';
	}
	_cleanup_json_ json_t *data = json_pack("{s:s}", "reason", reason);
	if (str_eq(status, "shutdown"))
		on_shutdown(g, data);
	else if (str_eq(status, "guest-panicked"))
		on_panic(g, data);
}

static const struct {
	const char *name;
	void (*handle)(struct guest *g, const json_t *data);
} handlers[] = {
	{"SHUTDOWN", on_shutdown},
	{"RESET", on_reset},
	{"GUEST_PANICKED", on_panic},
	{"BLOCK_IO_ERROR", on_io_error},
	{"WATCHDOG", on_watchdog},
	{"DEVICE_DELETED", attached_on_deleted},
};

void guest_on_qemu_event(struct guest *g, const json_t *event)
{
	const char *name = json_get_str(event, "event", "");
	const json_t *data = json_object_get(event, "data");
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (str_eq(name, handlers[i].name))
			handlers[i].handle(g, data);
	if (str_eq(name, "RESUME"))
		g->run_after_reset = false;
	if (str_eq(name, "STOP") || str_eq(name, "RESUME"))
		g->heartbeat_due = 0; /* ask at once what the CPUs do now */
	guest_pass_event(g, event);
}

/* ---- query-status ------------------------------------------------------------------------------ */

static unsigned recent_resets(const struct guest *g)
{
	unsigned recent = 0;
	for (size_t i = 0; i < ARRAY_SIZE(g->resets); i++)
		recent += g->resets[i] && clock_ms() - g->resets[i] < RESET_LOOP_MS;
	return recent;
}

static void tell_running(struct guest *g)
{
	static const char *const why[GUEST_STATE_MAX] = {
		[GUEST_STARTING] = "booted",
		[GUEST_PAUSED] = "unpaused",
		[GUEST_IN_SHUTDOWN] = "did not shut down",
		[GUEST_IO_ERROR] = "there is space again",
	};
	unsigned resets = recent_resets(g);
	bool looped = str_starts(g->status.reason, "reset loop");
	g->paused_by_user = false;
	g->failed_disk[0] = '\0';
	if (g->status.state == GUEST_IN_SHUTDOWN && deadline_left(g->shutdown_until))
		return;
	if (resets >= RESET_LOOP_COUNT)
		guest_tell(g, GUEST_RUNNING, "reset loop: %u resets in the last %d s", resets,
			RESET_LOOP_MS / 1000);
	else if (g->status.state != GUEST_RUNNING || looped)
		guest_tell(
			g, GUEST_RUNNING, "%s", why[g->status.state] ? why[g->status.state] : "");
}

void guest_on_qemu_status(struct guest *g, const json_t *reply)
{
	const char *status = json_get_str(reply, "status", "");
	g->status.stamp = clock_ms();
	if (g->saving) {
		/* its CPUs stand still, its RAM goes or comes: told as `migrating` until that is over */
	} else if (g->run_after_reset && !str_eq(status, "running")) {
		/* on its way: stopped it is only in between */
		if (str_eq(status, "prelaunch"))
			send_quietly(g, "cont");
	} else if (str_eq(status, "running")) {
		tell_running(g);
	} else if (str_eq(status, "io-error")) {
		guest_tell(g, GUEST_IO_ERROR, "%s: %s",
			g->failed_disk[0] ? g->failed_disk : "a disk",
			g->failed_for_space ? "no space" : "failed");
	} else if (str_eq(status, "guest-panicked")) {
		guest_tell(g, GUEST_CRASHED, "panic");
	} else if (str_eq(status, "internal-error")) {
		guest_tell(g, GUEST_CRASHED, "internal error of the accelerator");
	} else if (str_eq(status, "watchdog")) {
		guest_tell(g, GUEST_PAUSED, "watchdog");
	} else if (str_eq(status, "postmigrate")) {
		guest_tell(g, GUEST_PAUSED, "user"); /* it was to be saved, and was paused before */
	} else if (str_ends(status, "migrate")) {
		guest_tell(g, GUEST_MIGRATING, "%s", status);
	} else if (str_eq(status, "suspended")) {
		guest_tell(g, GUEST_PAUSED, "asleep: `roost qmp NAME system_wakeup` wakes it");
	} else if (g->status.state != GUEST_STARTING &&
		   (str_eq(status, "paused") || str_eq(status, "prelaunch"))) {
		guest_tell(g, GUEST_PAUSED, "user");
	}
	guest_tell_status(g); /* the stamp */
}

/* ---- a full disk under a guest ------------------------------------------------------------------ */

void guest_add_place(struct guest *g, const char *target, int disk_fd)
{
	char self[32];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", disk_fd);
	size_t i = 0;
	while (i < g->place_count && !str_eq(g->places[i].target, target))
		i++; /* of a disk that was unplugged: the new one takes its place */
	if (i == ARRAY_SIZE(g->places))
		return;
	int fd = open(self, O_PATH | O_CLOEXEC); /* holds no lock, and outlives our rights */
	if (fd < 0)
		return;
	struct disk_place *p = &g->places[i];
	if (i == g->place_count)
		g->place_count++;
	else
		close(p->fd);
	snprintf(p->target, sizeof(p->target), "%s", target);
	p->fd = fd;
}

void guest_find_place(struct guest *g, const json_t *record, const struct disk_def *d)
{
	const char *top = snapshot_top(record, d->target);
	const char *file = top[0] ? top : snapshot_bottom(d);
	/* nothing of it is read; a drive without a medium has none */
	_cleanup_close_ int fd = file ? openat(g->dir, file, O_PATH | O_CLOEXEC) : -1;
	if (fd >= 0)
		guest_add_place(g, d->target, fd);
}

static bool has_space(const struct guest *g)
{
	struct statvfs v;
	for (size_t i = 0; i < g->place_count; i++)
		if (str_eq(g->places[i].target, g->failed_disk))
			return fstatvfs(g->places[i].fd, &v) < 0 ||
			       (uint64_t)v.f_bavail * v.f_frsize >= (uint64_t)1 << 20;
	return true; /* not known: QEMU will tell again if there is none */
}

void guest_try_resume(struct guest *g)
{
	if (g->status.state == GUEST_IO_ERROR && g->failed_for_space && !g->paused_by_user &&
		has_space(g))
		send_quietly(g, "cont");
}
