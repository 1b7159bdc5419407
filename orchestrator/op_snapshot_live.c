/*
 * A snapshot of a running guest: of its disks, all at one instant, and of its RAM if that is asked for.
 *
 * Each disk gets an empty layer, made by us, with an fdset and two nodes, "vda-s3.top" and "vda-s3.file" (3:
 * the layers' number in the record). One transaction puts them all on top. Before it the new record is
 * planned (snapshots.h); after it the plan holds. A keeper that finds the journal asks QEMU which of the two
 * is the case; where no QEMU is left to ask, the plan holds: an empty layer is as good as none.
 *
 * The same without a snapshot is what a clone begins with: what lies below the new layers becomes its base.
 *
 * RAM goes into a file of the client's before that (op_save.c has the protocol), with the CPUs stopped until the
 * transaction is done: RAM and disks are of one instant, too.
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
#include "orchestrator/install.h"
#include "orchestrator/journal.h"
#include "orchestrator/quiesce.h"
#include "orchestrator/running_disks.h"
#include "orchestrator/save.h"
#include "orchestrator/snapshots.h"

static char *prefix_of(const char *target, int64_t number)
{
	return str_fmt("%s-s%lld.", target, (long long)number);
}

enum quiesce { QUIESCE_NO, QUIESCE_TRY, QUIESCE_DEMAND };

/* The snapshot `name`, or without a name the layers alone. */
struct layers {
	const char *name, *description;
	const json_t *plugged; /* targets of disks that were plugged, and are to be in it */
	enum quiesce quiesce;
	struct request *memory; /* RAM is to be kept, too, in the files of this; else NULL */
	json_t *kept;           /* out: what lies below, {"vda": LAYER}; owned by the caller */
};

/* ---- may it be done? --------------------------------------------------------------------------------- */

static bool is_named(const json_t *names, const char *name)
{
	size_t i;
	json_t *n;
	json_array_foreach (names, i, n)
		if (str_eq(json_string_value(n), name))
			return true;
	return false;
}

/*
 * A disk that was plugged is in it if the guest has it at its next start as well, which only who asks can tell: else
 * nobody could go back.
 */
static int check_plugged(const struct guest *g, const json_t *stay, struct err *err)
{
	size_t i;
	json_t *entry;
	json_array_foreach (g->attached, i, entry) {
		const char *target = json_get_str(entry, "target", "?");
		if (!str_eq(json_get_str(entry, "kind", ""), "disk") ||
			json_get_bool(entry, "readonly", false) ||
			(is_named(stay, target) && !json_get_bool(entry, "unplugging", false)))
			continue;
		err_set(err, ERR_REFUSED,
			"disk '%s' was plugged into guest '%s': a snapshot cannot hold it", target,
			g->def->name);
		return err_hint(err, "`roost detach-disk %s %s` first, or define it with that disk",
			g->def->name, target);
	}
	return 0;
}

static int check(const struct guest *g, const json_t *record, const struct layers *l,
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
	if (!l->name)
		return 0;
	if (snapshots_check_name(record, g->def->name, l->name, err) < 0)
		return -1;
	return check_plugged(g, l->plugged, err);
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
		_cleanup_json_ json_t *nodes = block_chain(g, d->target, err);
		const char *node = json_string_value(json_array_get(nodes, 0));
		if (nodes && json_array_size(nodes) >= CHAIN_MAX)
			return err_set(err, ERR_REFUSED,
				"disk '%s' stands on %zu files: delete snapshots before making more",
				d->target, json_array_size(nodes) - 1);
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

/* ---- the transaction --------------------------------------------------------------------------------- */

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

/* Nothing of it stays in QEMU nor as a file. */
static void clean_up(struct guest *g, const json_t *disks, int64_t number)
{
	struct err ignored = ERR_INIT;
	const char *target;
	json_t *any;
	json_object_foreach ((json_t *)disks, target, any) {
		_cleanup_free_ char *prefix = prefix_of(target, number);
		block_remove_nodes(g, prefix);
	}
	_cleanup_json_ json_t *record = snapshots_read(g->dir, &ignored);
	if (record)
		snapshots_sweep(g->dir, record);
}

/*
 * By what QEMU says: the snapshot is there, or nothing of it stays. The CPUs, if they stand still for it, go on
 * when that is written down, and before it is cleaned up: QEMU closes no file while they stand.
 */
static int settle(struct guest *g, const json_t *journal, struct err *err)
{
	const json_t *disks = json_object_get(journal, "disks");
	int64_t number = json_get_int(journal, "number", 0);
	const char *target;
	json_t *any;
	bool taken = false;
	json_object_foreach ((json_t *)disks, target, any)
		taken = taken || is_taken(g, target, number);
	if (g->qemu_ended) /* nobody is left to ask: the next start goes by the plan */
		return 0;
	int result = taken ? snapshots_commit(g->dir, err) : 0;
	if (!taken)
		snapshots_drop_plan(g->dir);
	failpoint("snapshot-decided");
	if (json_get_bool(journal, "memory", false)) {
		g->saving = true;
		save_go_on(g, json_get_bool(journal, "running", false), "a snapshot was made");
	}
	if (!taken)
		clean_up(g, disks, number);
	return result;
}

/* ---- RAM --------------------------------------------------------------------------------------------- */

/* Into the client's file, whose name it is told; from here on the CPUs stand still. */
static int keep_memory(struct guest *g, const json_t *snapshot, struct request *files, bool running,
	struct err *err)
{
	_cleanup_close_ int stream = request_take_fd(files), control = request_take_fd(files);
	_cleanup_json_ json_t *told = NULL;
	if (stream < 0 || control < 0)
		return err_set(err, ERR_USAGE, "no pipe and socket came with the request");
	g->saving = true;
	guest_tell(g, GUEST_MIGRATING, "a snapshot is being made");
	if (guest_qmp(g, "stop", NULL, QMP_HEAVY_MS, NULL, err) < 0)
		return -1;
	failpoint("snapshot-stopped");
	if (save_send(g, running, &stream, &told, err) < 0)
		return -1;
	json_object_set(told, "snapshot", json_object_get(snapshot, "name"));
	json_object_set(told, "file", json_object_get(snapshot, "memory"));
	failpoint("snapshot-memory-sent");
	return save_agree(g, control, told, err);
}

/* ---- the operation ------------------------------------------------------------------------------------ */

static int make(struct guest *g, const struct layers *l, json_t *record,
	const struct disk_def *disks, size_t count, const json_t *journal, struct err *err)
{
	_cleanup_json_ json_t *actions = json_array();
	failpoint("snapshot-begin");
	if (make_layers(g, record, disks, count, actions, err) < 0 ||
		add_nodes(g, record, disks, count, err) < 0)
		return -1;
	failpoint("snapshot-nodes");
	if (l->memory && keep_memory(g, snapshots_find(record, l->name), l->memory,
				 json_get_bool(journal, "running", false), err) < 0)
		return -1;
	if (snapshots_plan(g->dir, g->def->issued.keeper_uid, record, err) < 0)
		return -1;
	failpoint("snapshot-live-planned");
	return take(g, json_incref(actions), l->quiesce, err);
}

static void note_snapshot(json_t *record, const struct layers *l, const struct disk_def *disks,
	size_t count, bool running)
{
	const char *state = !l->memory ? "disk-snapshot" : running ? "running" : "paused";
	json_t *s = snapshot_add(record, disks, count, l->name, l->description, state);
	if (l->memory)
		json_object_set_new(s, "memory",
			json_sprintf(
				"memory.%lld.save", (long long)json_get_int(record, "next", 1)));
}

static int put_layers(struct guest *g, struct layers *l, struct err *err)
{
	struct err late = ERR_INIT;
	_cleanup_running_disks_ struct running_disks r = {.count = 0};
	bool running = g->status.state == GUEST_RUNNING;
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record || running_disks(g, &r, err) < 0)
		return -1;
	/* a clone has none of those that were plugged */
	const struct disk_def *disks = l->name ? r.disks : r.disks + r.plugged_count;
	size_t count = l->name ? r.count : r.count - r.plugged_count;
	if (check(g, record, l, disks, count, err) < 0)
		return -1;
	_cleanup_json_ json_t *journal =
		json_pack("{s:o, s:I, s:b, s:b}", "disks", snapshot_tops(record, disks, count),
			"number", (json_int_t)json_get_int(record, "next", 1), "memory",
			l->memory != NULL, "running", running);
	snapshots_sweep(
		g->dir, record); /* the host may have lost its power in the middle of another */
	if (l->name)
		note_snapshot(record, l, disks, count, running);
	if (journal_begin(g, "snapshot", json_deep_copy(journal), err) < 0)
		return -1;
	int result = make(g, l, record, disks, count, journal, err);
	if (settle(g, journal, result < 0 ? &late : err) < 0)
		result = -1;
	failpoint("snapshot-settled");
	journal_end(g);
	if (result == 0)
		l->kept = json_incref(json_object_get(journal, "disks"));
	return result;
}

int op_snapshot_live(struct guest *g, const json_t *args, struct request *files, struct err *err)
{
	struct layers l = {.name = json_get_str(args, "snapshot", ""),
		.description = json_get_str(args, "description", NULL),
		.plugged = json_object_get(args, "plugged"),
		.quiesce = json_get_bool(args, "quiesce", false) ? QUIESCE_DEMAND : QUIESCE_NO,
		.memory = json_get_bool(args, "memory", false) ? files : NULL};
	if (l.memory && install_refuse(g, "kept with its RAM", err) < 0)
		return -1;
	int result = put_layers(g, &l, err);
	json_decref(l.kept);
	return result;
}

int op_freeze_disks(struct guest *g, json_t **ret, struct err *err)
{
	bool running = g->status.state == GUEST_RUNNING; /* paused, its agent would say nothing */
	struct layers l = {.quiesce = running ? QUIESCE_TRY : QUIESCE_NO};
	if (definition_may_be_cloned(g->def, NULL, err) < 0 || put_layers(g, &l, err) < 0)
		return -1;
	*ret = json_pack("{s:o}", "layers", l.kept);
	return 0;
}

int recover_snapshot(struct guest *g, const json_t *journal, struct err *err)
{
	quiesce_recover(g, journal);
	return settle(g, journal, err);
}
