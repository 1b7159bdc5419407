/*
 * Recovery, which is the only upgrade, too: a keeper takes over a QEMU whose keeper has died.
 *
 * QEMU is asked what is the case: is it the one we know, what do its CPUs do. Then the operation
 * that the journal names is finished or undone, and the guest is served as if nothing had
 * been. Nothing here stops a running guest.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/attached.h"
#include "orchestrator/consoles.h"
#include "orchestrator/install.h"
#include "orchestrator/journal.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"
#include "orchestrator/tpm.h"
#include "orchestrator/save.h"
#include "orchestrator/vnc.h"

enum { ADOPT_MS = 5000 };

/* A row for each operation that needs one; what QEMU did of the others it did wholly (blockresize). */
static const struct {
	const char *operation;
	int (*recover)(struct guest *g, const json_t *journal, struct err *err);
} recoveries[] = {
	{"attach-disk", recover_attach_disk},
	{"attach-interface", recover_attach_interface},
	{"setvcpus", recover_setvcpus},
	{"save", recover_save},
	{"change-media", recover_change_media},
	{"backup", recover_backup},
	{"blockpull", recover_blockpull},
	{"blockcommit", recover_blockcommit},
	{"snapshot", recover_snapshot},
	{"revert", recover_revert},
	{"snapshot-delete", recover_snapshot_delete},
	{"installed", recover_installed},
};

static int recover_operation(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *journal = journal_found(g);
	const char *operation = json_get_str(journal, "operation", "");
	for (size_t i = 0; journal && i < ARRAY_SIZE(recoveries); i++)
		if (str_eq(operation, recoveries[i].operation) &&
			recoveries[i].recover(g, journal, err) < 0)
			return err_prefix(err, "recovering from an interrupted %s", operation);
	if (!g->qemu_ended) /* else when its end is told: guest_end() */
		journal_end(g);
	files_sweep(g->dir); /* what our predecessor was just writing */
	files_sweep(g->run);
	return 0;
}

/* Is it the guest that our record names? A socket may have been left by another. */
static int check_identity(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (guest_qmp(g, "query-uuid", NULL, ADOPT_MS, &reply, err) < 0)
		return -1;
	if (!str_eq(json_get_str(reply, "UUID", ""), g->def->uuid))
		return err_set(err, ERR_REFUSED,
			"guest '%s': the QEMU behind its socket is another guest's", g->def->name);
	return 0;
}

/* It runs by the definition that it was started with. */
static void learn_definition(struct guest *g)
{
	struct err ignored = ERR_INIT;
	struct definition *d = record_read_running(g->run, &ignored);
	if (!d)
		return;
	definition_free(g->def);
	g->def = d;
}

/* What a keeper holds open besides QMP, opened anew while it is root. */
static void reopen(struct guest *g)
{
	struct err ignored = ERR_INIT;
	uid_t keeper = g->def->issued.keeper_uid;
	consoles_reopen(g);
	g->qmp_log_fd = file_open_owned(g->run, "qmp.log", O_WRONLY, keeper, &ignored);
	_cleanup_json_ json_t *record = snapshots_read(g->dir, &ignored);
	for (size_t i = 0; i < g->def->disk_count; i++)
		guest_find_place(g, record, &g->def->disks[i]);
}

/* Under TCG a vCPU that was taken away is still plugged: there the status file knows better. */
static void learn_cpu_and_memory(struct guest *g)
{
	struct err ignored = ERR_INIT;
	int64_t memory = memory_now(g);
	if (memory)
		g->status.memory = memory;
	_cleanup_json_ json_t *cpus = NULL;
	if (!str_eq(g->status.accel, "tcg") &&
		guest_qmp(g, "query-cpus-fast", NULL, QMP_LOOK_MS, &cpus, &ignored) == 0)
		g->status.vcpus = (int64_t)json_array_size(cpus);
}

/* Which disk failed, and for want of space? Its event was heard by a former keeper, or by nobody. */
static void learn_failed_disk(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *blocks = NULL;
	size_t i;
	json_t *b;
	guest_qmp(g, "query-block", NULL, QMP_BLOCK_MS, &blocks, &ignored);
	json_array_foreach (blocks, i, b) {
		const char *io = json_get_str(b, "io-status", "ok");
		if (str_eq(io, "ok"))
			continue;
		guest_disk_failed(g, json_get_str(json_object_get(b, "inserted"), "node-name", "?"),
			str_eq(io, "nospace"));
	}
}

/* What its CPUs do. A start that was interrupted goes on: it had never run, or had just been let go. */
static int learn_state(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (guest_qmp(g, "query-status", NULL, ADOPT_MS, &reply, err) < 0)
		return -1;
	const char *status = json_get_str(reply, "status", "");
	if (g->status.state == GUEST_STARTING && str_eq(status, "prelaunch"))
		return start_finish(g, err);
	if (g->status.state == GUEST_STARTING && str_eq(status, "inmigrate")) {
		int loaded = restore_adopt(g, err);
		if (loaded <= 0)
			return loaded;
		status = "paused";
	}
	if (g->status.state == GUEST_STARTING && str_eq(status, "paused")) {
		g->restored = true;
		return start_finish(g, err);
	}
	if (g->status.state == GUEST_IN_SHUTDOWN)
		guest_tell(g, GUEST_RUNNING, "its shutdown was interrupted");
	if (str_eq(status, "io-error"))
		learn_failed_disk(g);
	guest_on_qemu_status(g, reply);
	guest_on_found_stopped(g, status);
	return 0;
}

int op_adopt(struct guest *g, struct err *err)
{
	struct status s;
	if (status_read(g->run, "status", &s, err) < 0)
		return -1;
	s.keeper_pid = g->status.keeper_pid;
	s.keeper_start = g->status.keeper_start;
	s.busy[0] = '\0';
	status_free(&g->status);
	g->status = s;
	learn_definition(g);
	reopen(g);
	attached_load(g);
	tpm_adopt(g);
	if (proc_open_known(s.qemu_pid, s.qemu_start, &g->qemu, err) < 0) {
		g->qemu_ended = true;
		if (!s.qemu_pid) {
			g->destroying = true;
			snprintf(g->destroyed_by, sizeof(g->destroyed_by),
				"failed to start: its keeper died");
		}
		return keeper_drop(g, err);
	}
	guest_look_for_oom(g);
	if (keeper_drop(g, err) < 0)
		return -1;
	guest_tell_status(g);
	if (guest_connect_qemu(g, deadline_in(ADOPT_MS), err) < 0)
		/* deaf, not dead: it is served as unresponsive until it answers or is destroyed */
		return g->qemu_ended || err->kind == ERR_TIMEOUT ? 0 : -1;
	if (check_identity(g, err) < 0)
		return -1;
	if (vnc_listen(g, err) < 0)
		return -1;
	if (learn_state(g, err) < 0)
		return -1;
	g->paused_by_user = g->status.state == GUEST_PAUSED;
	if (recover_operation(g, err) < 0)
		return -1;
	if (!g->qemu_ended) /* what runs is not what was saved any more */
		snapshots_forget_saved(g->dir, g->def->issued.keeper_uid);
	learn_cpu_and_memory(g);
	guest_note_running(g);
	guest_fill_home(g);
	g->heartbeat_due = 0;
	guest_event(g, "ROOST_ADOPTED", NULL);
	return 0;
}
