/*
 * What is on a partition, by its superblock: ext2, ext3, ext4, vfat, XFS, btrfs, ISO 9660 and swap with their
 * sizes; LVM, LUKS, RAID and NTFS by name. Nothing is mounted and nothing followed; what is allocated and read
 * is bounded, whatever the superblock says.
 *
 * The numbers are those of the kernel's statfs(2), which `df` prints, as they would be if it were mounted now
 * with default options: the journal of an ext that was not unmounted is looked through. The sources are Linux's
 * fs/ext4/super.c, fs/fat/inode.c, fs/isofs/inode.c, fs/xfs.
 */
#ifndef IMAGES_FILESYSTEM_H
#define IMAGES_FILESYSTEM_H

#include <stdbool.h>

#include "images/partition.h"

struct filesystem {
	const char *type; /* blkid's word: "ext4", "vfat", "LVM2_member"; NULL: nothing we know */
	char label[256 + 1]; /* ASCII control characters are '?' */
	char uuid[40];
	uint64_t block; /* bytes: the unit in which it counts */
	bool has_total; /* `total` is known */
	bool has_used;  /* `used` and `available` are */
	bool has_inodes;
	bool approximate; /* `used` and `available` are about so: the superblock does not tell all */
	/* it was not unmounted, and its journal, if it has one, tells not all: its last changes are missing */
	bool unclean;
	uint64_t total, used, available; /* bytes */
	uint64_t inodes, inodes_used;
};

/* At `at` of the disk, `size` bytes. Nothing we know is success with `type` NULL. */
int filesystem_read(partition_read_fn *read, void *about, uint64_t at, uint64_t size,
	struct filesystem *out, struct err *err);

#endif
