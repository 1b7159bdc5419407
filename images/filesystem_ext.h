/* For images/filesystem_ext*.c only: ext2, ext3 and ext4, read as what a guest wrote. */
#ifndef IMAGES_FILESYSTEM_EXT_H
#define IMAGES_FILESYSTEM_EXT_H

#include "images/filesystem_kinds.h"

enum {
	EXT_SUPER = 1024, /* bytes */
	EXT_INODE = 128,  /* bytes that every inode has */
};

struct ext {
	const struct part *part;
	uint8_t super[EXT_SUPER];
	uint32_t compat, incompat, ro_compat;
	uint64_t block, blocks;
	uint64_t cluster_ratio;            /* blocks of a cluster */
	uint64_t groups, groups_per_block; /* descriptors of a block */
	uint64_t descriptors_at;           /* of the first groups */
	uint32_t descriptor;               /* bytes of one */
	uint32_t first_data, blocks_per_group, inodes_per_group, inode;
	uint32_t journal; /* its inode; 0: there is none inside */
	bool replayed;    /* `part` shows it as it is after the journal was replayed */
};

struct ext_free {
	uint64_t clusters, inodes;
};

/* ---- filesystem_ext_file.c ------------------------------------------------------------------------------ */

/* 1; 0: there is no such inode; -1 */
int ext_inode_read(const struct ext *e, uint32_t number, uint8_t inode[EXT_INODE], struct err *err);
uint64_t ext_inode_size(const uint8_t *inode); /* bytes */
/*
 * All blocks of a file in their order, which the caller frees. 1; 0: it has holes, more than `max` of them, or
 * is not sound; -1
 */
int ext_inode_blocks(const struct ext *e, const uint8_t *inode, uint64_t max, uint64_t **out,
	uint64_t *count, struct err *err);

/* ---- filesystem_ext_journal.c --------------------------------------------------------------------------- */

struct ext_replay {
	struct part part; /* reads through it */
	const struct ext *e;
	struct replayed *all;
	size_t count, room;
	uint8_t *block;
};

/*
 * What lies in the journal is shown where it belongs; nothing is written. Afterwards r->part is to be read
 * instead of e->part, while *e lives. 1; 0: the journal is elsewhere, larger than 1 GiB, damaged or of a kind
 * that is not known; -1
 */
int ext_replay_begin(const struct ext *e, struct ext_replay *r, struct err *err);
void ext_replay_end(struct ext_replay *r);

/*
 * Files that were removed while they were open: a mount frees them. 1; 0: there are others which it would make
 * shorter, and nobody knows by how much; -1
 */
int ext_orphans_add(const struct ext *e, struct ext_free *s, struct err *err);

#endif
