/*
 * A disk behind NBD with a cache that writes late: libext2fs reads and writes single blocks, often the same
 * ones. A unit of the cache is a cluster of qcow2, so that a changed one goes out whole and no old content
 * is looked for. What was written is on the disk only after disk_sync().
 */
#ifndef IMAGES_CACHED_DISK_H
#define IMAGES_CACHED_DISK_H

#include <stdbool.h>

#include "images/nbd.h"

enum { DISK_UNIT = 65536, DISK_UNITS = 512 };

struct cached_disk {
	struct nbd nbd;
	bool changed; /* something was written */
	struct unit {
		bool used, dirty;
		uint64_t number;
		unsigned char *data; /* DISK_UNIT bytes, owned */
	} units[DISK_UNITS];
};

/* Beyond the disk's end is an error. */
int disk_read(struct cached_disk *d, void *data, uint64_t at, size_t len, struct err *err);
int disk_write(struct cached_disk *d, const void *data, uint64_t at, size_t len, struct err *err);
int disk_zero(struct cached_disk *d, uint64_t at, uint64_t len, struct err *err);
int disk_sync(struct cached_disk *d, struct err *err);

#endif
