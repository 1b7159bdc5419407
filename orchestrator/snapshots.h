/*
 * The record of a guest's snapshots, $STATE/guests/NAME/snapshots.json, and what its disks stand on.
 *
 *	next		number of the next file
 *	current		the snapshot that the guest goes on from; absent: none
 *	bottoms		{"vda": FILE}: what a disk was before its first snapshot: its own file, or its path
 *	layers		{"disk-vda.2.qcow2": {"disk": "vda", "over": "disk-vda.1.qcow2"}}; over "": the bottom.
 *			"alone": what is below adds nothing to it (snapshot_alone.h)
 *	tops		{"vda": "disk-vda.2.qcow2"}: what the guest writes to; absent: the bottom
 *	resume		see snapshots_resume_at(); absent: none
 *	snapshots	[{name, description, created, parent, state, disks: {"vda": LAYER}, memory: FILE}]
 *
 * A snapshot is a layer per disk that nobody writes to any more. "vars" are the UEFI variables, which are
 * a disk like others. All files lie in the guest's folder, and the record does: all are the keeper's, and
 * root opens what the record names only if it is the keeper's, too. Headers of layers are not believed.
 *
 * A change: its new layers are made, then the new record is written as snapshots.next, then that takes the
 * place of snapshots.json. From the second step on the change holds, whoever is killed: a new layer, even an
 * empty one, is the top (for a running guest QEMU is asked first). Files that no record names are left-overs.
 */
#ifndef ORCHESTRATOR_SNAPSHOTS_H
#define ORCHESTRATOR_SNAPSHOTS_H

#include "images/chain.h"
#include "orchestrator/definition.h"

#define SNAPSHOT_VARS "vars"
enum { SNAPSHOT_DISKS_MAX = DISKS_MAX + 1 };

/* As it stands; an empty one where there is none. Owned by the caller; NULL with *err. */
json_t *snapshots_read(int dir, struct err *err);
/* snapshots.next, durable. */
int snapshots_plan(int dir, uid_t keeper, const json_t *record, struct err *err);
/* The plan becomes the record; success where there is no plan. */
int snapshots_commit(int dir, struct err *err);
bool snapshots_are_planned(int dir);
void snapshots_drop_plan(int dir);
int snapshots_write(int dir, uid_t keeper, const json_t *record, struct err *err);
/* Removes files of snapshots that the record does not name. */
void snapshots_sweep(int dir, const json_t *record);

json_t *snapshots_find(const json_t *record, const char *name);
/* The same; ERR_NOT_FOUND. */
json_t *snapshots_get(const json_t *record, const char *guest, const char *name, struct err *err);
/* May a snapshot of that name be added? */
int snapshots_check_name(
	const json_t *record, const char *guest, const char *name, struct err *err);

/*
 * After a revert to a snapshot with RAM the record has `resume`: {snapshot, memory, tops: {"vda": [bytes, mtime in
 * ns]}}. The guest's next start goes on from that RAM, as from a managed save, if its tops are still as they were made.
 */
void snapshots_resume_at(int dir, json_t *record, const json_t *snapshot);
/* The tops as they are now are those that it goes on with. */
void snapshots_resume_anew(int dir, json_t *record);
/* The file's name, borrowed; NULL: none. */
const char *snapshots_resume(const json_t *record);
int snapshots_check_resume(int dir, const json_t *record, struct err *err);
/* Does the next start go on from RAM: of a snapshot, or of a managed save? */
bool snapshots_saved(int dir);
/* It does no more: it has been used, or is given up. */
void snapshots_forget_saved(int dir, uid_t keeper);

/* What of a guest has snapshots: its writable disks, then the variables. Borrowed from `d`. */
size_t snapshot_disks(int dir, const struct definition *d, struct disk_def out[SNAPSHOT_DISKS_MAX]);
/* The one of that target; ERR_REFUSED: the guest has it no more. */
const struct disk_def *snapshot_disk(const struct definition *d, const struct disk_def *disks,
	size_t count, const char *target, struct err *err);
/* The file that a layer "" of it is: its own, or its path. */
const char *snapshot_bottom(const struct disk_def *d);
/*
 * The layers over a disk's bottom, from `top` down (NULL: from what the guest writes to), borrowed from
 * the record. ERR_REFUSED when the disk is another than the record knows.
 */
int snapshot_chain(const json_t *record, const struct disk_def *d, const char *top,
	const char *names[CHAIN_MAX], size_t *count, struct err *err);
/* The layer that the guest writes to, borrowed from the record; NULL: its bottom, or no disk that the record knows. */
const char *snapshot_written(const json_t *record, const struct disk_def *d);
/* "" or the layer that the guest writes to. */
const char *snapshot_top(const json_t *record, const char *target);
const char *snapshot_backing_format(const struct disk_def *d, const char *over);
/* How many bytes a layer shows, by its header. */
int snapshot_layer_size(int dir, uid_t keeper, const char *name, uint64_t *out, struct err *err);
/*
 * A new, empty top over `over`, which shows `over_size` bytes: in the record, and its file. ERR_REFUSED
 * where there are too many below it.
 */
int snapshot_put_on_top(int dir, uid_t keeper, json_t *record, const struct disk_def *d,
	const char *over, uint64_t over_size, struct err *err);
/* All tops of a change have been made: the next one's files have another number. */
void snapshots_count_on(json_t *record);
/* {"vda": what it is written to}, "" for a bottom; owned by the caller. */
json_t *snapshot_tops(const json_t *record, const struct disk_def *disks, size_t count);
/* Adds a snapshot of the tops as they are, and makes it the current one; borrowed. */
json_t *snapshot_add(json_t *record, const struct disk_def *disks, size_t count, const char *name,
	const char *description, const char *state);
/*
 * Takes a snapshot out of the record; what stood on it stands on its parent. `children`: "", "too": all that stand on
 * it as well, or "only" those.
 */
void snapshot_take_out_with(json_t *record, const char *name, const char *children);

/*
 * A layer whose content nobody needs by itself: to be removed, or, where it has `into`, to be merged into
 * what it stands on, for nothing else needs that as it is, not even a clone (bases.h). Of that disk alone, unless
 * NULL. False: there is none.
 */
struct loose_layer {
	const char *name, *disk;
	const char *into; /* NULL: nothing stands on it; "": the disk's bottom */
};
bool snapshots_loose(int dir, const json_t *record, const char *target, struct loose_layer *out);
/* It is merged, or removed: it leaves the record. */
void snapshots_forget_layer(json_t *record, const struct loose_layer *l);

#endif
