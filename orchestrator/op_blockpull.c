/*
 * Flattening a disk of a running guest: what its active layer lacks is copied up from the files below,
 * until it stands alone. Nothing below is written to. As long as it has not ended nothing has changed for
 * the guest, and half of it is no harm: what was copied is what was below.
 *
 * The guest's record is not ours to change: who asked does that when it is done (verb_blockpull.c). The layers that
 * lay below are: they leave the record of its snapshots. A guest whose records were never changed starts all the
 * same from layers that add nothing.
 */
#include "orchestrator/guest.h"

#include "base/str.h"
#include "orchestrator/block_job.h"
#include "orchestrator/block_node.h"
#include "orchestrator/journal.h"
#include "orchestrator/running_disks.h"
#include "orchestrator/snapshot_alone.h"

#define PREFIX "pull-"

/* The nodes below the active one. Their names say nothing of where they are: the active one may be "vda-1". */
static json_t *lower_nodes(struct guest *g, const char *target, struct err *err)
{
	json_t *nodes = block_chain(g, target, err);
	if (nodes)
		json_array_remove(nodes, 0);
	return nodes;
}

static int check(struct guest *g, const char *target, struct err *err)
{
	_cleanup_running_disks_ struct running_disks r = {.count = 0};
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record || running_disks(g, &r, err) < 0)
		return -1;
	for (size_t i = 0; i < r.count; i++)
		if (str_eq(r.disks[i].target, target))
			return snapshot_may_stand_alone(record, &r.disks[i], g->def->name, err);
	return 0; /* it is read-only: no snapshot holds it */
}

/* Nothing stands on them any more; while QEMU held them nobody could write to those files. */
static int forget_lower(struct guest *g, const char *target, const json_t *lower, struct err *err)
{
	const struct disk_def *d = definition_disk(g->def, target);
	size_t i;
	json_t *node;
	json_array_foreach (lower, i, node)
		block_remove_node(g, json_string_value(node));
	_cleanup_json_ json_t *record = d ? snapshots_read(g->dir, err) : NULL;
	if (!d)
		return 0; /* plugged, so a file of the user's, which has none: check() */
	return record ? snapshot_forget_below(g->dir, g->def->issued.keeper_uid, record, d, err)
		      : -1;
}

int op_blockpull(struct guest *g, const char *target, int64_t speed, struct err *err)
{
	_cleanup_free_ char *id = str_fmt(PREFIX "%s", target);
	_cleanup_free_ char *node = block_top_node(g, target, err);
	_cleanup_json_ json_t *lower = node ? lower_nodes(g, target, err) : NULL;
	if (!lower || check(g, target, err) < 0)
		return -1;
	if (journal_begin(g, "blockpull", json_pack("{s:s, s:O}", "target", target, "lower", lower),
		    err) < 0)
		return -1;
	failpoint("blockpull-begin");
	int result = block_job_start(g, "block-stream", id,
		json_pack("{s:s, s:I}", "device", node, "speed", (json_int_t)speed), err);
	failpoint("blockpull-began");
	if (result == 0)
		result = block_jobs_await(g, "pulling", PREFIX, err);
	failpoint("blockpull-ended");
	if (result == 0)
		result = forget_lower(g, target, lower, err);
	failpoint("blockpull-before-end");
	journal_end(g);
	return result;
}

/* Does it stand alone? Then its keeper had seen the job's end. */
static bool is_alone(struct guest *g, const char *target)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *lower = lower_nodes(g, target, &ignored);
	return lower && !json_array_size(lower);
}

int recover_blockpull(struct guest *g, const json_t *journal, struct err *err)
{
	const char *target = json_get_str(journal, "target", "");
	if ((block_jobs_undo(g, PREFIX) || is_alone(g, target)) && !g->qemu_ended)
		return forget_lower(g, target, json_object_get(journal, "lower"), err);
	return 0;
}
