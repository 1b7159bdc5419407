/*
 * Going back to a snapshot from a guest that runs: each disk gets an empty layer over what the snapshot has kept,
 * in a plan (snapshots.h), and QEMU ends. From the plan on there is no way back, whoever is killed: its end, or
 * the next start, makes the record of it. What the guest did since goes with the layers that nobody needs.
 */
#include "orchestrator/guest.h"

#include "base/str.h"
#include "orchestrator/block_node.h"
#include "orchestrator/journal.h"
#include "orchestrator/running_disks.h"
#include "orchestrator/snapshots.h"

/* What QEMU has need not be a file that our uid may open: the bottom, what clones stand on. */
static int size_in_chain(
	struct guest *g, const char *target, size_t depth, uint64_t *out, struct err *err)
{
	_cleanup_json_ json_t *nodes = block_chain(g, target, err);
	if (!nodes)
		return -1;
	const char *node = json_string_value(json_array_get(nodes, depth));
	if (!node)
		return err_set(
			err, ERR_QEMU, "disk '%s' has fewer files than its snapshots", target);
	return block_node_size(g, node, out, err);
}

static int go_over(struct guest *g, json_t *record, const struct disk_def *d, const char *layer,
	struct err *err)
{
	const char *names[CHAIN_MAX];
	size_t depth;
	uint64_t size = 0;
	uid_t keeper = g->def->issued.keeper_uid;
	if (snapshot_chain(record, d, NULL, names, &depth, err) < 0)
		return -1;
	size_t at = 0;
	while (at < depth && !str_eq(names[at], layer))
		at++;
	int result = at < depth || !layer[0]
			     ? size_in_chain(g, d->target, at, &size, err)
			     : snapshot_layer_size(g->dir, keeper, layer, &size, err);
	if (result < 0)
		return -1;
	return snapshot_put_on_top(g->dir, keeper, record, d, layer, size, err);
}

static int plan(struct guest *g, json_t *record, const char *name, struct err *err)
{
	_cleanup_running_disks_ struct running_disks r = {.count = 0};
	const char *target;
	json_t *layer;
	if (running_disks(g, &r, err) < 0)
		return -1;
	json_object_foreach (
		json_object_get(snapshots_find(record, name), "disks"), target, layer) {
		const struct disk_def *d = snapshot_disk(g->def, r.disks, r.count, target, err);
		if (!d || go_over(g, record, d, json_string_value(layer), err) < 0)
			return -1;
	}
	snapshots_count_on(record);
	json_object_set_new(record, "current", json_string(name));
	snapshots_resume_at(g->dir, record, snapshots_find(record, name));
	failpoint("revert-before-plan");
	return snapshots_plan(g->dir, g->def->issued.keeper_uid, record, err);
}

/* It goes on as if nobody had asked. */
static void give_up(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *record = snapshots_read(g->dir, &ignored);
	if (record)
		snapshots_sweep(g->dir, record);
	journal_end(g);
}

int op_revert(struct guest *g, const char *name, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record || !snapshots_get(record, g->def->name, name, err) ||
		journal_begin(g, "revert", NULL, err) < 0)
		return -1;
	failpoint("revert-begin");
	if (plan(g, record, name, err) < 0) {
		give_up(g);
		return -1;
	}
	failpoint("revert-planned");
	return op_destroy(g, "reverted to a snapshot", false, err);
}

int recover_revert(struct guest *g, const json_t *journal, struct err *err)
{
	(void)journal;
	if (snapshots_are_planned(g->dir))
		return op_destroy(g, "reverted to a snapshot", false, err);
	give_up(g);
	return 0;
}
