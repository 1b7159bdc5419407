/*
 * Merging a layer that nobody writes to into the one that it stands on, by a qemu-img of its own.
 *
 * qemu-img is handed open files and an explicit graph, as QEMU is, and follows no name of a header. It has
 * the keeper's uid unless a disk is the user's own file, no more memory than it needs, and an end.
 */
#ifndef ORCHESTRATOR_SNAPSHOT_MERGE_H
#define ORCHESTRATOR_SNAPSHOT_MERGE_H

#include "base/proc.h"
#include "orchestrator/snapshots.h"

/*
 * Starts it for a layer that snapshots_loose() names, `d` being its disk; its words come through
 * child->out, which it closes at its end. See snapshot_merge_end().
 */
int snapshot_merge_start(int dir, const struct disk_def *d, const json_t *record,
	const struct loose_layer *l, uid_t keeper, struct child *child, struct err *err);
/*
 * What the header of a layer says that it stands on, for people and their tools; we do not read it. Written
 * anew for one that stands on the merged layer. "" is the bottom, as ever.
 */
int snapshot_rename_backing(int dir, const struct disk_def *d, const char *layer, const char *over,
	uid_t keeper, struct err *err);
/* How it ended, waited for until `deadline`. */
int snapshot_merge_end(struct child *child, int64_t deadline, struct err *err);

#endif
