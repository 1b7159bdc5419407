/*
 * What of a running guest has snapshots: snapshot_disks() of its definition, and the disks that were plugged and that it
 * writes to. The variables, if there are some, are the last one.
 */
#ifndef ORCHESTRATOR_RUNNING_DISKS_H
#define ORCHESTRATOR_RUNNING_DISKS_H

#include "orchestrator/guest.h"
#include "orchestrator/snapshots.h"

struct running_disks {
	struct disk_def
		disks[SNAPSHOT_DISKS_MAX]; /* borrowed from the definition, and from `plugged` */
	size_t count;
	struct disk_def plugged[DISKS_MAX]; /* owned */
	size_t plugged_count;
};

/* ERR_REFUSED: they are too many. What is being unplugged does not count. */
int running_disks(struct guest *g, struct running_disks *out, struct err *err);
void running_disks_free(struct running_disks *r);
#define _cleanup_running_disks_ _cleanup_(running_disks_free)

#endif
