/* Files that come into an ext file system, root's. What has their name is replaced, a folder is gone into. */
#ifndef IMAGES_EXT_WRITE_H
#define IMAGES_EXT_WRITE_H

#include <sys/types.h>

#include "images/ext_volume.h"

/* Fills `data` with up to `len` bytes; how many, 0 at the end, -1 with *err. */
typedef ssize_t ext_source_fn(void *about, void *data, size_t len, struct err *err);

int ext_put_file(struct ext_volume *v, ext2_ino_t dir, const char *name, mode_t mode,
	ext_source_fn *source, void *about, struct err *err);
int ext_put_link(struct ext_volume *v, ext2_ino_t dir, const char *name, const char *target,
	struct err *err);
/* *out: the folder, which may have been there. */
int ext_put_folder(struct ext_volume *v, ext2_ino_t dir, const char *name, mode_t mode,
	ext2_ino_t *out, struct err *err);

#endif
