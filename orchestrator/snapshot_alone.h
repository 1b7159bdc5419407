/*
 * A disk's top that has been given all that lies below it: it stands alone, and that is forgotten.
 *
 * Its own file, on which its layers stood, may be what clones stand on (bases.h), under the same name. An empty one
 * takes its place in the guest's folder; theirs stays. The top remains a layer over that, and is marked `alone`: it is
 * never merged into it.
 */
#ifndef ORCHESTRATOR_SNAPSHOT_ALONE_H
#define ORCHESTRATOR_SNAPSHOT_ALONE_H

#include "orchestrator/snapshots.h"

/*
 * May that disk be made to stand alone? ERR_REFUSED: it has snapshots, which are layers below; or layers over a file of
 * the user's, who would not find in it any more what the guest has written.
 */
int snapshot_may_stand_alone(
	const json_t *record, const struct disk_def *d, const char *guest, struct err *err);
/* Nothing to do where it has no layers. Who is killed in between leaves a disk that shows the same. */
int snapshot_forget_below(
	int dir, uid_t keeper, json_t *record, const struct disk_def *d, struct err *err);

#endif
