/*
 * A volume: what a guest finds on a disk, read through all of its layers from the top to the bottom,
 * raw or qcow2. Unallocated ranges are those of the layer below, what is beyond the end of a shorter
 * layer is zeroes, compressed clusters are unpacked by zlib and libzstd: only programs that link those
 * two can use this (roost-disk).
 *
 * The layers are open files whose formats the caller names; nothing is probed, no other file is opened,
 * what a header says of a backing file is not followed. For files nobody trusts: memory is bounded, by
 * 16 MiB and 160 KiB for each layer.
 *
 *	struct volume *v = volume_open(layers, count, err);
 *	if (!v || volume_read(v, 1024, superblock, sizeof(superblock), err) < 0) ...
 *	volume_close(v);
 */
#ifndef IMAGES_VOLUME_H
#define IMAGES_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define VOLUME_LAYERS_MAX 32 /* CHAIN_MAX of images/chain.h */

struct volume;

struct volume_layer {
	int fd;     /* the caller's, kept open as long as the volume is */
	bool qcow2; /* else raw */
};

/* layers[0] is the top. Refuses what qcow2_may_stand() refuses. */
struct volume *volume_open(const struct volume_layer *layers, size_t count, struct err *err);
/* Bytes, whole sectors of 512. */
uint64_t volume_size(const struct volume *v);
/* Any offset, any length; all of it or an error. ERR_USAGE: it goes beyond the end, or the image is damaged there. */
int volume_read(struct volume *v, uint64_t offset, void *buf, size_t len, struct err *err);
void volume_close(struct volume *v);

/* Part of a volume, told as `qemu-img map` does (MapEntry in QEMU's qapi/block-core.json). */
struct volume_extent {
	uint64_t start, length;
	size_t depth;    /* of the layer that has it */
	bool present;    /* one of the layers has it */
	bool zero;       /* it is known to be zeroes */
	bool data;       /* it takes place in that layer's file */
	bool compressed; /* then it has no offset */
	bool has_offset;
	uint64_t offset; /* in that layer's file */
};

/* The extent at `start`, which is below the size, with all that goes on like it. */
int volume_extent_at(struct volume *v, uint64_t start, struct volume_extent *out, struct err *err);

#endif
