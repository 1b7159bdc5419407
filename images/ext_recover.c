#include "images/ext_recover.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "images/ext_file.h"
#include "images/jbd2.h"

enum {
	JOURNAL_BLOCKS_MAX = 10240000,     /* mke2fs makes none that is larger */
	ORPHAN_FILE_MAX = 8 * 1024 * 1024, /* bytes: no kernel takes a larger one */
};

bool ext_is_unclean(const struct ext_volume *v)
{
	struct ext2_super_block *s = v->fs->super;
	return ext2fs_has_feature_journal_needs_recovery(s) ||
	       ext2fs_has_feature_orphan_present(s) || s->s_last_orphan;
}

static int refuse(const struct ext_volume *v, struct err *err)
{
	err_prefix(err, "the %s on %s was not unmounted", ext_type(v), v->name);
	return err_hint(err, "start the guest and `roost shutdown` it, or clean it with --boot");
}

/* ---- the journal --------------------------------------------------------------------------------------- */

/* Blocks of a file in their order. */
struct map {
	uint64_t *blocks;
	uint64_t count, room;
	uint64_t fs_blocks;
	bool bad; /* holes, more blocks than it has bytes, blocks that there are not */
};

static int map_add(
	ext2_filsys fs, blk64_t *block, e2_blkcnt_t which, blk64_t from, int offset, void *about)
{
	struct map *m = about;
	(void)fs, (void)from, (void)offset;
	m->bad |= which < 0 || (uint64_t)which != m->count || m->count == m->room ||
		  *block >= m->fs_blocks;
	if (m->bad)
		return BLOCK_ABORT;
	m->blocks[m->count++] = *block;
	return 0;
}

/* All blocks of the file, of which there are at most `max`; *out is freed by the caller. */
static int map_file(struct ext_volume *v, ext2_ino_t ino, uint64_t max, uint64_t **out,
	uint64_t *count, struct err *err)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (code)
		return ext_error(v, code, err, "an inode");
	uint64_t room = EXT2_I_SIZE(&inode) / v->fs->blocksize;
	if (!LINUX_S_ISREG(inode.i_mode) || !room || room > max)
		return err_set(err, ERR_REFUSED, "inode %u is not of such a size", ino);
	_cleanup_free_ uint64_t *blocks = xcalloc((size_t)room, sizeof(*blocks));
	struct map m = {blocks, 0, room, ext2fs_blocks_count(v->fs->super), false};
	code = ext2fs_block_iterate3(
		v->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL, map_add, &m);
	if (code)
		return ext_error(v, code, err, "an inode");
	if (m.bad || m.count != m.room)
		return err_set(err, ERR_REFUSED, "inode %u has not the blocks that it should", ino);
	*out = TAKE(blocks);
	*count = m.count;
	return 0;
}

static int read_block(void *about, uint64_t block, void *data, struct err *err)
{
	struct ext_volume *v = about;
	errcode_t code = io_channel_read_blk64(v->fs->io, block, 1, data);
	return code ? ext_error(v, code, err, "a block of its journal") : 0;
}

static int write_block(
	void *about, uint64_t block, const void *data, uint64_t from, struct err *err)
{
	struct ext_volume *v = about;
	(void)from;
	errcode_t code = io_channel_write_blk64(v->fs->io, block, 1, data);
	return code ? ext_error(v, code, err, "a block of its journal") : 0;
}

static int replay(struct ext_volume *v, struct err *err)
{
	_cleanup_free_ uint64_t *blocks = NULL;
	uint64_t count;
	if (!v->fs->super->s_journal_inum)
		return err_set(err, ERR_REFUSED, "its journal is on another disk");
	if (map_file(v, v->fs->super->s_journal_inum, JOURNAL_BLOCKS_MAX, &blocks, &count, err) < 0)
		return err_prefix(err, "its journal");
	const struct jbd2 journal = {
		.blocks = blocks,
		.count = (uint32_t)count,
		.block_size = v->fs->blocksize,
		.fs_blocks = ext2fs_blocks_count(v->fs->super),
		.about = v,
		.read = read_block,
		.write = write_block,
	};
	return jbd2_replay(&journal, &v->replayed, err);
}

int ext_replay(struct ext_volume *v, struct err *err)
{
	if (!ext2fs_has_feature_journal_needs_recovery(v->fs->super))
		return 0;
	return replay(v, err) < 0 ? refuse(v, err) : 0;
}

/* ---- orphans: files that were removed, or made shorter, while they were open ---------------------------- */

/* What is behind its length goes. */
static errcode_t cut(struct ext_volume *v, ext2_ino_t ino, struct ext2_inode *inode)
{
	uint64_t size = EXT2_I_SIZE(inode), block = v->fs->blocksize;
	ext2_file_t file;
	if (!LINUX_S_ISREG(inode->i_mode) || !ext2fs_inode_has_valid_blocks2(v->fs, inode))
		return 0;
	errcode_t code = ext2fs_punch(v->fs, ino, inode, NULL, (size + block - 1) / block, ~0ULL);
	if (!code)
		code = ext2fs_file_open(v->fs, ino, EXT2_FILE_WRITE, &file);
	if (code)
		return code;
	code = ext2fs_file_set_size2(
		file, (ext2_off64_t)size); /* zeroes the rest of its last block */
	errcode_t closing = ext2fs_file_close(file);
	return code ? code : closing;
}

/* *next: the one after it in the superblock's list. */
static int settle_one(struct ext_volume *v, ext2_ino_t ino, ext2_ino_t *next, struct err *err)
{
	struct ext2_inode inode;
	uint64_t bytes = 0;
	if (!ext_is_used(v, ino))
		return err_set(
			err, ERR_REFUSED, "inode %u is in its list of orphans, and none", ino);
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	*next = inode.i_dtime;
	v->orphans++;
	if (!code && !inode.i_links_count)
		return ext_free(v, ino, LINUX_S_ISDIR(inode.i_mode), &bytes, err);
	if (!code) {
		inode.i_dtime = 0;
		code = ext2fs_write_inode(v->fs, ino, &inode);
	}
	if (!code)
		code = cut(v, ino, &inode);
	return code ? ext_error(v, code, err, "cannot settle an orphan") : 0;
}

/* It ends: one that was freed is none any more, and one that was cut leads nowhere. */
static int settle_list(struct ext_volume *v, struct err *err)
{
	ext2_ino_t ino = v->fs->super->s_last_orphan;
	while (ino)
		if (settle_one(v, ino, &ino, err) < 0)
			return -1;
	v->fs->super->s_last_orphan = 0;
	return 0;
}

/* Numbers of inodes, and a tail: Linux's Documentation/filesystems/ext4, "Orphan file". */
static int settle_block(struct ext_volume *v, uint64_t block, uint32_t *numbers, struct err *err)
{
	ext2_filsys fs = v->fs;
	ext2_ino_t file = fs->super->s_orphan_file_inum, ignored;
	errcode_t code = io_channel_read_blk64(fs->io, block, 1, numbers);
	if (code)
		return ext_error(v, code, err, "its file of orphans");
	if (le32toh(ext2fs_orphan_block_tail(fs, (char *)numbers)->ob_magic) !=
			EXT4_ORPHAN_BLOCK_MAGIC ||
		!ext2fs_orphan_file_block_csum_verify(fs, file, block, (char *)numbers))
		return err_set(err, ERR_REFUSED, "its file of orphans is damaged");
	for (int i = 0; i < ext2fs_inodes_per_orphan_block(fs); i++) {
		if (numbers[i] && settle_one(v, le32toh(numbers[i]), &ignored, err) < 0)
			return -1;
		numbers[i] = 0;
	}
	code = ext2fs_orphan_file_block_csum_set(fs, file, block, (char *)numbers);
	if (!code)
		code = io_channel_write_blk64(fs->io, block, 1, numbers);
	return code ? ext_error(v, code, err, "its file of orphans") : 0;
}

static int settle_file(struct ext_volume *v, struct err *err)
{
	_cleanup_free_ uint64_t *blocks = NULL;
	uint64_t count;
	if (!ext2fs_has_feature_orphan_present(v->fs->super))
		return 0;
	_cleanup_free_ uint32_t *numbers = xcalloc(1, v->fs->blocksize);
	if (map_file(v, v->fs->super->s_orphan_file_inum, ORPHAN_FILE_MAX / v->fs->blocksize,
		    &blocks, &count, err) < 0)
		return err_prefix(err, "its file of orphans");
	for (uint64_t i = 0; i < count; i++)
		if (settle_block(v, blocks[i], numbers, err) < 0)
			return -1;
	ext2fs_clear_feature_orphan_present(v->fs->super);
	return 0;
}

/* ---- the superblock ------------------------------------------------------------------------------------ */

/* While it is mounted only the groups know what is free. */
static void count_free(struct ext_volume *v)
{
	uint64_t blocks = 0, inodes = 0;
	for (dgrp_t i = 0; i < v->fs->group_desc_count; i++) {
		blocks += ext2fs_bg_free_blocks_count(v->fs, i);
		inodes += ext2fs_bg_free_inodes_count(v->fs, i);
	}
	ext2fs_free_blocks_count_set(v->fs->super, EXT2FS_C2B(v->fs, blocks));
	v->fs->super->s_free_inodes_count = (uint32_t)inodes;
}

int ext_settle(struct ext_volume *v, struct err *err)
{
	count_free(v);
	if (settle_list(v, err) < 0 || settle_file(v, err) < 0)
		return refuse(v, err);
	ext2fs_clear_feature_journal_needs_recovery(v->fs->super);
	ext2fs_mark_super_dirty(v->fs);
	return 0;
}
