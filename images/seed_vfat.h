/*
 * A small FAT file system of a few files, made whole in memory: FAT12, with long names. Sources:
 * Microsoft's "FAT: General Overview of On-Disk Format", 1.03, whose names the code uses.
 */
#ifndef IMAGES_SEED_VFAT_H
#define IMAGES_SEED_VFAT_H

#include <time.h>

#include "base/str.h"

struct vfat_file {
	const char *name; /* ASCII, at most 26 characters */
	const char *
		alias; /* its 8.3 name in capitals, eleven characters without a point: "USER-D~1   " */
	const void *data;
	size_t len;
};

enum { VFAT_FILES_MAX = 8, VFAT_CONTENT_MAX = 16 << 20 };

/*
 * Appends the image to `out`; its label is `label`, in those letters, at most eleven. At most
 * VFAT_FILES_MAX files of VFAT_CONTENT_MAX bytes in all.
 */
void vfat_image(const struct vfat_file *files, size_t count, const char *label, time_t now,
	struct buf *out);

#endif
