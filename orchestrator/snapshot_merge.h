/*
 * Merging a layer that nobody writes to into the one that it stands on, by a confined qemu-img (images/tool.h).
 *
 * It is handed open files and an explicit graph, as QEMU is, and follows no name of a header. It has the keeper's
 * uid unless a disk is the user's own file.
 */
#ifndef ORCHESTRATOR_SNAPSHOT_MERGE_H
#define ORCHESTRATOR_SNAPSHOT_MERGE_H

#include "images/image.h"
#include "orchestrator/snapshots.h"

/* A layer that snapshots_loose() names, `d` being its disk. ERR_GONE: it was cancelled by a signal, and is still there. */
int snapshot_merge(int dir, const struct disk_def *d, const json_t *record,
	const struct loose_layer *l, uid_t keeper, image_told_fn *told, void *about,
	struct err *err);
/*
 * What the header of a layer says that it stands on, for people and their tools; we do not read it. Written
 * anew for one that stands on the merged layer. "" is the bottom, as ever.
 */
int snapshot_rename_backing(int dir, const struct disk_def *d, const char *layer, const char *over,
	uid_t keeper, struct err *err);

#endif
