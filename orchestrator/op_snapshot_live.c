/*
 * A snapshot of the disks of a running guest, all at one instant.
 *
 * Each disk gets an empty layer, made by us, with an fdset and two nodes, "vda-s3.top" and "vda-s3.file" (3:
 * the layers' number in the record). One transaction puts them all on top. Before it the new record is
 * planned (snapshots.h); after it the plan holds. A keeper that finds the journal asks QEMU which of the two
 * is the case; where no QEMU is left to ask, the plan holds: an empty layer is as good as none.
 *
 * The same without a snapshot is what a clone begins with: what lies below the new layers becomes its base.
 *
 * Around the transaction the guest's agent can hold its file systems still; they are thawed whatever happens.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/another.h"
#include "orchestrator/block_node.h"
#include "orchestrator/journal.h"
#include "orchestrator/quiesce.h"
#include "orchestrator/snapshots.h"

static char *prefix_of(const char *target, int64_t number)
{
	return str_fmt("%s-s%lld.", target, (long long)number);
}

/* ---- may it be done? --------------------------------------------------------------------------------- */

static int check_plugged(const struct guest *g, struct err *err)
{
	size_t i;
	json_t *entry;
	json_array_foreach (g->attached, i, entry) {
		if (!str_eq(json_get_str(entry, "kind", ""), "disk") ||
			json_get_bool(entry, "readonly", false))
			continue;
		const char *target = json_get_str(entry, "target", "?");
		err_set(err, ERR_REFUSED,
			"disk '%s' was plugged into guest '%s': a snapshot cannot hold it", target,
			g->def->name);
		return err_hint(err, "`roost detach-disk %s %s` first, or define it with that disk",
			g->def->name, target);
	}
	return 0;
}

static int check(const struct guest *g, const json_t *record, const char *name,
	const struct disk_def *disks, size_t count, struct err *err)
{
	if (g->status.state != GUEST_RUNNING && g->status.state != GUEST_PAUSED)
		return err_set(err, ERR_REFUSED, "guest '%s' cannot have a snapshot now: it is %s",
			g->def->name, guest_state_name(g->status.state));
	if (!count)
		return err_set(
			err, ERR_REFUSED, "guest '%s' has no disk that it writes to", g->def->name);
	if (g->def->firmware == FIRMWARE_UEFI && !str_eq(disks[count - 1].target, SNAPSHOT_VARS))
		return err_set(err, ERR_REFUSED,
			"guest '%s' has UEFI variables of roost 0.1, which snapshots cannot hold",
			g->def->name);
	if (name && snapshots_check_name(record, g->def->name, name, err) < 0)
		return -1;
	return check_plugged(g, err);
}

/* ---- the layers -------------------------------------------------------------------------------------- */

/* One action of the transaction for each disk; their layers are files then, and in `record`. */
static int make_layers(struct guest *g, json_t *record, const struct disk_def *disks, size_t count,
	json_t *actions, struct err *err)
{
	int64_t number = json_get_int(record, "next", 1);
	for (size_t i = 0; i < count; i++) {
		uint64_t size = 0;
		const struct disk_def *d = &disks[i];
		_cleanup_free_ char *prefix = prefix_of(d->target, number);
		_cleanup_free_ char *overlay = str_fmt("%stop", prefix);
		_cleanup_free_ char *node = block_top_node(g, d->target, err);
		if (!node || block_node_size(g, node, &size, err) < 0 ||
			snapshot_put_on_top(g->dir, g->def->issued.keeper_uid, record, d,
				snapshot_top(record, d->target), size, err) < 0)
			return -1;
		json_array_append_new(
			actions, json_pack("{s:s, s:{s:s, s:s}}", "type", "blockdev-snapshot",
					 "data", "node", node, "overlay", overlay));
	}
	snapshots_count_on(record);
	return 0;
}

static int add_node(struct guest *g, const struct disk_def *d, const char *file, int64_t number,
	struct err *err)
{
	_cleanup_free_ char *prefix = prefix_of(d->target, number);
	_cleanup_close_ int fd =
		file_open_owned(g->dir, file, O_RDWR, g->def->issued.keeper_uid, err);
	if (fd < 0)
		return -1;
	guest_add_place(g, d->target, fd);
	return block_add_layer(g, d, fd, prefix, NULL, err);
}

static int add_nodes(struct guest *g, const json_t *record, const struct disk_def *disks,
	size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (add_node(g, &disks[i], snapshot_top(record, disks[i].target),
			    json_get_int(record, "next", 1) - 1, err) < 0)
			return err_prefix(err, "disk '%s'", disks[i].target);
	return 0;
}

/* ---- the operation ----------------------------------------------------------------------------------- */

enum quiesce { QUIESCE_NO, QUIESCE_TRY, QUIESCE_DEMAND };

/* `actions` stolen. */
static int take(struct guest *g, json_t *actions, enum quiesce how, struct err *err)
{
	struct err stuck = ERR_INIT, why = ERR_INIT;
	bool quiesce = how != QUIESCE_NO && quiesce_freeze(g, &why) == 0;
	if (!quiesce && (how == QUIESCE_DEMAND || g->cancelled)) {
		json_decref(actions);
		*err = why;
		return err_prefix(err, "guest '%s' was not quiesced", g->def->name);
	}
	failpoint("snapshot-before-transaction");
	int result = guest_qmp(
		g, "transaction", json_pack("{s:o}", "actions", actions), QMP_HEAVY_MS, NULL, err);
	failpoint("snapshot-taken");
	if (quiesce && quiesce_thaw(g, &stuck) < 0 && result == 0)
		return *err = stuck,
		       err_prefix(err,
			       "the snapshot is made, but the file systems of guest '%s' may still be frozen",
			       g->def->name);
	return result;
}

static bool is_taken(struct guest *g, const char *target, int64_t number)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *prefix = prefix_of(target, number);
	_cleanup_free_ char *node = block_top_node(g, target, &ignored);
	return node && str_starts(node, prefix);
}

/* By what QEMU says: the snapshot is there, or nothing of it stays. `disks`: {"vda": ...}. */
static int settle(struct guest *g, const json_t *disks, int64_t number, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *target;
	json_t *any;
	bool taken = false;
	json_object_foreach ((json_t *)disks, target, any)
		taken = taken || is_taken(g, target, number);
	if (g->qemu_ended) /* nobody is left to ask: the next start goes by the plan */
		return 0;
	if (taken)
		return snapshots_commit(g->dir, err);
	snapshots_drop_plan(g->dir);
	json_object_foreach ((json_t *)disks, target, any) {
		_cleanup_free_ char *prefix = prefix_of(target, number);
		block_remove_nodes(g, prefix);
	}
	_cleanup_json_ json_t *record = snapshots_read(g->dir, &ignored);
	if (record)
		snapshots_sweep(g->dir, record);
	return 0;
}

/* The snapshot `name`, or without a name the layers alone. *kept, if not NULL: what lies below, {"vda": LAYER}. */
static int put_layers(struct guest *g, const char *name, const char *description, enum quiesce how,
	json_t **kept, struct err *err)
{
	struct err late = ERR_INIT;
	struct disk_def disks[SNAPSHOT_DISKS_MAX];
	size_t count = snapshot_disks(g->dir, g->def, disks);
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	json_t *actions;
	if (!record || check(g, record, name, disks, count, err) < 0)
		return -1;
	int64_t number = json_get_int(record, "next", 1);
	_cleanup_json_ json_t *targets = snapshot_tops(record, disks, count);
	if (name)
		snapshot_add(record, disks, count, name, description, "disk-snapshot");
	if (journal_begin(g, "snapshot",
		    json_pack("{s:O, s:I}", "disks", targets, "number", (json_int_t)number),
		    err) < 0)
		return -1;
	failpoint("snapshot-begin");
	actions = json_array();
	int result = make_layers(g, record, disks, count, actions, err);
	if (result == 0)
		result = snapshots_plan(g->dir, g->def->issued.keeper_uid, record, err);
	failpoint("snapshot-live-planned");
	if (result == 0)
		result = add_nodes(g, record, disks, count, err);
	failpoint("snapshot-nodes");
	if (result == 0)
		result = take(g, json_incref(actions), how, err);
	json_decref(actions);
	if (settle(g, targets, number, result < 0 ? &late : err) < 0)
		result = -1;
	failpoint("snapshot-settled");
	journal_end(g);
	if (result == 0 && kept)
		*kept = json_incref(targets);
	return result;
}

int op_snapshot_live(struct guest *g, const json_t *args, struct err *err)
{
	return put_layers(g, json_get_str(args, "snapshot", ""),
		json_get_str(args, "description", NULL),
		json_get_bool(args, "quiesce", false) ? QUIESCE_DEMAND : QUIESCE_NO, NULL, err);
}

int op_freeze_disks(struct guest *g, json_t **ret, struct err *err)
{
	json_t *kept = NULL;
	bool running = g->status.state == GUEST_RUNNING; /* paused, its agent would say nothing */
	if (definition_may_be_cloned(g->def, err) < 0 ||
		put_layers(g, NULL, NULL, running ? QUIESCE_TRY : QUIESCE_NO, &kept, err) < 0)
		return -1;
	*ret = json_pack("{s:o}", "layers", kept);
	return 0;
}

int recover_snapshot(struct guest *g, const json_t *journal, struct err *err)
{
	quiesce_recover(g, journal);
	return settle(
		g, json_object_get(journal, "disks"), json_get_int(journal, "number", 0), err);
}
