/*
 * A disk's files, opened, and the nodes that QEMU makes of them (-blockdev, blockdev-add).
 *
 * The graph is explicit: the active layer is layer 0, named by the disk's target ("vda"), its file
 * node "vda-file"; the layers below are "vda-1", "vda-1-file" and so on. One fd, one fdset per file
 * node, for locks and O_DIRECT belong to the open file description; never two access modes
 * in one set (QEMU aborts on reopening).
 */
#ifndef ORCHESTRATOR_DISK_OPEN_H
#define ORCHESTRATOR_DISK_OPEN_H

#include "images/chain.h"
#include "orchestrator/definition.h"

struct disk_layer {
	int fd;        /* owned */
	bool qcow2;    /* else raw */
	bool writable; /* only ever the active layer */
	bool ours;     /* the guest's alone: what stands on it may be merged into it */
};

struct disk_files {
	struct disk_layer layers[CHAIN_MAX];
	size_t count;
	bool shared; /* opened for a look, whoever writes to it */
};

/* ERR_BUSY when somebody writes to this file as a disk, or if `writable`, uses it at all. */
int disk_check_unused(int fd, const char *path, bool writable, struct err *err);
/* The same, and as long as this open file is, QEMU and we find it locked: by a reader, or if `writable`, by a writer. */
int disk_lock(int fd, const char *path, bool writable, struct err *err);
/*
 * Opens all layers with the rights of this process. The chain comes from the definition and, for a
 * qcow2 attached by path, from chain_resolve(). ERR_BUSY when somebody else writes to it. An empty
 * CD-ROM drive has no layer.
 */
int disk_open(const struct disk_def *d, int guest_dir, struct disk_files *out, struct err *err);
/* The same with these layers of snapshots over it, from the active one down: snapshots.h. Of a read-only disk nothing
 * is opened to be written to. */
int disk_open_layers(const struct disk_def *d, int guest_dir, const char *const layers[],
	size_t count, struct disk_files *out, struct err *err);
/* The same of a read-only one that its guest may write to all the same: what is read may be of two moments. */
int disk_look_layers(const struct disk_def *d, int guest_dir, const char *const layers[],
	size_t count, struct disk_files *out, struct err *err);
void disk_files_close(struct disk_files *f);
#define _cleanup_disk_files_ _cleanup_(disk_files_close)

/* The disk that an entry of a guest's plugged things (attached.h) tells of, for disk_from_json(). */
json_t *disk_of_plugged(const json_t *entry);

/* "vda-2-file"; freed by the caller. */
char *disk_node(const char *target, size_t layer, bool file);
/* The file node of a layer whose fd is in fdset `set`, and the format node over it. */
json_t *disk_file_node(const struct disk_def *d, const struct disk_files *f, size_t layer, int set);
json_t *disk_format_node(const struct disk_def *d, const struct disk_files *f, size_t layer);
/* The arguments of -device / device_add, without a bus or address. `index` of its bus. */
json_t *disk_device(const struct disk_def *d);

#endif
