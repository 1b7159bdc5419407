/* What volume.c and volume_extents.c know of a disk; theirs alone. */
#ifndef IMAGES_VOLUME_LAYERS_H
#define IMAGES_VOLUME_LAYERS_H

#include "images/volume.h"
#include "images/qcow2_map.h"

struct layer {
	int fd;
	uint64_t size;
	struct qcow2_map *map;                           /* NULL: raw */
	struct qcow2_info q;                             /* with `map` */
	enum { UNKNOWN, IN_ORDER, PREALLOCATED } tables; /* qcow2_map_preallocated(), asked once */
};

/* A cluster of a layer's that was compressed; the last one, since readers come back to it. */
struct cluster {
	unsigned char *bytes; /* NULL: none */
	size_t layer;
	uint64_t host;
	uint32_t host_length;
};

struct volume {
	size_t count;
	struct layer layers[VOLUME_LAYERS_MAX];
	struct cluster cluster;
	void *packed;
};

/* What this layer has at `offset`, which is below its size, for at most `most` bytes. */
int layer_run(const struct layer *l, uint64_t offset, uint64_t most, struct qcow2_run *out,
	struct err *err);

#endif
