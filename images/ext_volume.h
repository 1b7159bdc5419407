/*
 * An ext2, ext3 or ext4 file system on a part of a disk, opened by libext2fs to be changed, without a mount
 * and without the kernel. Whoever uses it is a program of its own (roost-sysprep): what a guest wrote there
 * is read by a library that was made for honest file systems.
 */
#ifndef IMAGES_EXT_VOLUME_H
#define IMAGES_EXT_VOLUME_H

#include <et/com_err.h> /* before the next one, which wants it */
#include <ext2fs/ext2fs.h>

#include "images/cached_disk.h"

struct ext_volume {
	struct cached_disk *disk; /* borrowed */
	uint64_t at, size;        /* where on the disk, in bytes */
	ext2_filsys fs;
	char name[32];  /* "vda1" */
	char root[256]; /* where it is mounted, without a last '/': "" is the root */
	bool mounted;
	bool recovered;    /* it had not been unmounted: ext_recover.h */
	uint64_t replayed; /* blocks of its journal that were written where they belong */
	uint64_t orphans;  /* files without a name that were removed, or cut to their length */
	struct err err;    /* what libext2fs was told by the disk */
};

/* Is there the magic number of one? 1, 0, -1. */
int ext_probe(struct cached_disk *d, uint64_t at, uint64_t size, struct err *err);
/*
 * To be looked at as it lies on the disk; nothing is written. ERR_REFUSED: it must not be changed: it has
 * errors, or a feature that keeps a second account of what is removed.
 */
int ext_open(struct ext_volume *v, struct err *err);
/*
 * To be changed. One that was not unmounted is made what it is after a mount (ext_recover.h), and is to be
 * kept even if nothing else is changed. ERR_REFUSED: its journal is damaged, elsewhere or of an unknown kind.
 */
int ext_begin(struct ext_volume *v, struct err *err);
/* Writes what was changed, if `keep`; closes. */
int ext_close(struct ext_volume *v, bool keep, struct err *err);
/* "ext4", by its features. */
const char *ext_type(const struct ext_volume *v);
/* Is this inode one of a file, and in use? */
bool ext_is_used(const struct ext_volume *v, ext2_ino_t ino);
/* The error of a call of libext2fs: what the disk said, else its own words. */
int ext_error(const struct ext_volume *v, errcode_t code, struct err *err, const char *what);

#endif
