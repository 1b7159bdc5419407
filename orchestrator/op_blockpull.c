/*
 * Flattening a disk of a running guest: what its active layer lacks is copied up from the files below,
 * until it stands alone. Nothing below is written to. As long as it has not ended nothing has changed for
 * the guest, and half of it is no harm: what was copied is what was below.
 *
 * The record is not ours to change: who asked does that when it is done (verb_blockpull.c). A guest of whose
 * record that was never done starts all the same from layers that add nothing.
 */
#include "orchestrator/guest.h"

#include "base/str.h"
#include "orchestrator/block_job.h"
#include "orchestrator/block_node.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/journal.h"
#include "orchestrator/snapshots.h"

#define PREFIX "pull-"

/* Nothing stands on them any more; while QEMU held them nobody could write to those files. */
static void remove_lower(struct guest *g, const char *target)
{
	for (size_t layer = 1; layer < CHAIN_MAX; layer++) {
		_cleanup_free_ char *node = disk_node(target, layer, false);
		block_remove_nodes(g, node);
	}
}

/* Its snapshots are layers below, which must stay what the record of them says. */
static int check_no_snapshots(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record)
		return -1;
	if (!json_object_size(json_object_get(record, "layers")))
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' has snapshots, which its disks stand on",
		g->def->name);
	return err_hint(err, "`roost snapshot-delete` those first");
}

int op_blockpull(struct guest *g, const char *target, int64_t speed, struct err *err)
{
	_cleanup_free_ char *id = str_fmt(PREFIX "%s", target);
	_cleanup_free_ char *node = block_top_node(g, target, err);
	if (!node || check_no_snapshots(g, err) < 0)
		return -1;
	if (journal_begin(g, "blockpull", json_pack("{s:s}", "target", target), err) < 0)
		return -1;
	failpoint("blockpull-begin");
	int result = block_job_start(g, "block-stream", id,
		json_pack("{s:s, s:I}", "device", node, "speed", (json_int_t)speed), err);
	failpoint("blockpull-began");
	if (result == 0)
		result = block_jobs_await(g, "pulling", PREFIX, err);
	failpoint("blockpull-ended");
	if (result == 0)
		remove_lower(g, target);
	failpoint("blockpull-before-end");
	journal_end(g);
	return result;
}

int recover_blockpull(struct guest *g, const json_t *journal, struct err *err)
{
	(void)err;
	if (block_jobs_undo(g, PREFIX))
		remove_lower(g, json_get_str(journal, "target", ""));
	return 0;
}
