/*
 * The tree of one or more ext file systems as the guest mounts them, in which files are found by patterns
 * and removed. Nothing is followed: a symbolic link is a file, so nothing that a guest wrote leads anywhere
 * but into its own tree. How deep and how many is bounded.
 *
 * What is removed is zeroed, for a disk that is copied shows its free blocks, too: SSH host keys above all.
 */
#ifndef IMAGES_EXT_TREE_H
#define IMAGES_EXT_TREE_H

#include "images/ext_volume.h"
#include "images/sysprep_ops.h"
#include "base/str.h"

enum { TREE_DEPTH_MAX = 64, TREE_ENTRIES_MAX = 4000000 };

struct ext_tree {
	struct ext_volume *volumes; /* borrowed; those that are mounted are in it */
	size_t count;
	uint64_t seen;           /* entries, over all */
	uint64_t files, folders; /* removed or changed by the last tree_do() */
	uint64_t bytes;          /* of content, with them */
};

int tree_do(struct ext_tree *t, const struct sysprep_row *row, struct err *err);
/* The content of a file of at most `max` bytes; 0: there is none. */
int tree_read(struct ext_tree *t, const char *path, size_t max, struct buf *out, struct err *err);
/* What is at that path, and on which volume; 0: nothing. */
ext2_ino_t tree_find(struct ext_tree *t, const char *path, struct ext_volume **on);

#endif
