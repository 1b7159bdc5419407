/*
 * Lineage: which files a disk stands on, recorded when it is defined and compared at every start.
 *
 * A guest may have broken into its QEMU, and that can write anything into the header of a disk. So
 * the headers are asked once, while they are still what the owner made; afterwards the graph is built
 * of what was recorded, and a header that names another file is refused, not followed. A file that
 * has changed is refused, too: an overlay over another base is a file system of two halves.
 *
 * Compared are size, inode and time, which cost nothing. An image of the store has its digest, too:
 * one that was restored from a backup is taken again once `image verify` has found it the same.
 */
#ifndef ORCHESTRATOR_LINEAGE_H
#define ORCHESTRATOR_LINEAGE_H

#include "images/qcow2.h"
#include "orchestrator/definition.h"

/* Records what the disk stands on now, with the rights of this process. */
int lineage_record(struct disk_def *d, struct err *err);
/* Holds the images among what it stands on, as recorded, and those that it is. */
struct image_holds;
int lineage_hold(const struct disk_def *d, struct image_holds *h, struct err *err);
/* The same as `from`, of the same disk, has it. */
void lineage_take(struct disk_def *d, const struct disk_def *from);
/* What `from` stands on, below what `d` stands on; the caller sees to LINEAGE_MAX. */
void lineage_add(struct disk_def *d, const struct disk_def *from);
/* One more link, all of it for the caller to set; the links may have moved. */
struct lineage_link *lineage_grow(struct disk_def *d);
void lineage_drop(struct disk_def *d);
/*
 * It stands on nothing any more. An overlay of an image becomes a disk of that many bytes that roost has made; a file of
 * the user's stays what it is.
 */
void lineage_stand_alone(struct disk_def *d, uint64_t size);

/* May QEMU have this file as the disk's active layer, does it stand on what was recorded? `guest_dir`: whose disk it is. */
int lineage_check_top(const struct disk_def *d, int guest_dir, int fd, struct err *err);
/* Opens link `i` for reading, if it is the file that was recorded. Some are in the guest's folder. */
int lineage_open(const struct disk_def *d, size_t i, int guest_dir, struct err *err);

#endif
