/*
 * Disks that no record tells: those that `undefine` has kept, and those in a guest's folder that its definition has
 * no more, because a disk was taken out of it while its file or the layers of its snapshots stayed.
 *
 * What they stand on is said by their headers alone. A guest that has broken into its QEMU may have written those;
 * here they can but claim a file for it, never lead to one that is read for more than its header.
 */
#ifndef ORCHESTRATOR_UNRECORDED_H
#define ORCHESTRATOR_UNRECORDED_H

#include "base/json.h"

/*
 * [{"disk": its path, "below": [path, ...]}], `below` from what it stands on directly down to an image of the store,
 * or to a file that stands on nothing; only disks that stand on something, and not those on another one of the same
 * folder, which says it for them. "why": the error for which not all is known; "disk" may be a folder then.
 */
json_t *unrecorded_disks(void);

#endif
