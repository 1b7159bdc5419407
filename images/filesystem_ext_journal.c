/*
 * What a mount would find in an ext file system that was not unmounted: its journal (jbd2.h) is replayed into
 * a list of which block is where in the journal, and files without a name are counted as free.
 */
#include "images/filesystem_ext.h"

#include <stdlib.h>

#include "base/mem.h"
#include "images/jbd2.h"

enum {
	ORPHAN_BLOCK_MAGIC = 0x0b10ca04,
	ORPHAN_FILE_MAX = 8 << 20, /* bytes: no kernel takes a larger one */
	ORPHAN_TAIL = 8,
	ORPHANS_MAX = 65536,
	RO_COMPAT_HUGE_FILE = 0x8,
	RO_COMPAT_ORPHAN_PRESENT = 0x10000,
	COUNTS_IN_BLOCKS = 0x40000, /* of an inode: not in sectors */
	SECTOR = 512,
};
#define JOURNAL_MAX (1ULL << 30) /* bytes: mke2fs makes none that is larger unless told to */

/* A block of the file system that is in the journal. */
struct replayed {
	uint64_t block, from;
	size_t order;    /* of the same block the last one counts */
	uint32_t begins; /* its first bytes, which the journal may hide */
};

static int by_block(const void *a, const void *b)
{
	const struct replayed *x = a, *y = b;
	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* NULL: the journal does not have it. */
static const struct replayed *find(const struct ext_replay *r, uint64_t block)
{
	size_t low = 0, high = r->count;
	while (low < high) { /* the first one of a later block */
		size_t middle = low + (high - low) / 2;
		if (r->all[middle].block <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low && r->all[low - 1].block == block ? &r->all[low - 1] : NULL;
}

static int read_block(void *about, uint64_t block, void *data, struct err *err)
{
	const struct ext *e = ((const struct ext_replay *)about)->e;
	int got = part_read(e->part, data, block * e->block, e->block, err);
	return got ? got
		   : err_set(err, ERR_REFUSED,
			     "its journal has a block beyond the partition's end");
}

static int take_block(void *about, uint64_t block, const void *data, uint64_t from, struct err *err)
{
	struct ext_replay *r = about;
	(void)err;
	if (block == from) /* the journal's own superblock */
		return 0;
	if (r->count == r->room) {
		r->room = r->room ? r->room * 2 : 256;
		r->all = xrealloc(r->all, r->room * sizeof(*r->all));
	}
	struct replayed *one = &r->all[r->count];
	*one = (struct replayed){.block = block, .from = from, .order = r->count};
	memcpy(&one->begins, data, sizeof(one->begins));
	r->count++;
	return 0;
}

/* A part of one block, as it is once it is replayed. */
static int patch(struct ext_replay *r, uint64_t block, size_t within, uint8_t *to, size_t len,
	struct err *err)
{
	const struct replayed *one = find(r, block);
	if (!one)
		return 0;
	if (read_block(r, one->from, r->block, err) < 0)
		return -1;
	memcpy(r->block, &one->begins, sizeof(one->begins));
	memcpy(to, r->block + within, len);
	return 0;
}

static int read_through(void *about, void *data, uint64_t at, size_t len, struct err *err)
{
	struct ext_replay *r = about;
	const struct part *under = r->e->part;
	if (under->read(under->about, data, at, len, err) < 0)
		return -1;
	for (size_t done = 0; done < len;) {
		uint64_t place = at - under->at + done;
		size_t within = (size_t)(place % r->e->block), part = (size_t)r->e->block - within;
		if (part > len - done)
			part = len - done;
		if (patch(r, place / r->e->block, within, (uint8_t *)data + done, part, err) < 0)
			return -1;
		done += part;
	}
	return 0;
}

static int replay(struct ext_replay *r, const uint64_t *blocks, uint64_t count, struct err *err)
{
	uint64_t replayed;
	struct err why = ERR_INIT;
	const struct jbd2 journal = {.blocks = blocks,
		.count = (uint32_t)count,
		.block_size = (uint32_t)r->e->block,
		.fs_blocks = r->e->blocks,
		.about = r,
		.read = read_block,
		.write = take_block};
	if (jbd2_replay(&journal, &replayed, &why) == 0)
		return 1;
	if (why.kind == ERR_REFUSED)
		return 0;
	*err = why;
	return -1;
}

int ext_replay_begin(const struct ext *e, struct ext_replay *r, struct err *err)
{
	_cleanup_free_ uint64_t *blocks = NULL;
	uint8_t inode[EXT_INODE];
	uint64_t count;
	int got = ext_inode_read(e, e->journal, inode, err);
	if (got > 0)
		got = ext_inode_blocks(e, inode, JOURNAL_MAX / e->block, &blocks, &count, err);
	if (got <= 0)
		return got;
	*r = (struct ext_replay){.e = e, .block = xcalloc(1, e->block)};
	r->part = (struct part){read_through, r, e->part->at, e->part->size};
	got = replay(r, blocks, count, err);
	if (got > 0 && r->count)
		qsort(r->all, r->count, sizeof(*r->all), by_block);
	return got;
}

void ext_replay_end(struct ext_replay *r)
{
	free(r->all);
	free(r->block);
}

/* ---- files without a name ------------------------------------------------------------------------------- */

/* 1; 0: it has a name, and loses what is beyond its end; -1 */
static int add_orphan(
	const struct ext *e, uint32_t number, struct ext_free *s, uint32_t *next, struct err *err)
{
	uint8_t inode[EXT_INODE];
	int got = ext_inode_read(e, number, inode, err);
	if (got <= 0)
		return got;
	*next = le32_at(inode + 0x14);
	if (le16_at(inode + 0x1a))
		return 0;
	uint64_t blocks = le32_at(inode + 0x1c);
	if (e->ro_compat & RO_COMPAT_HUGE_FILE)
		blocks |= (uint64_t)le16_at(inode + 0x74) << 32;
	if (!(le32_at(inode + 0x20) & COUNTS_IN_BLOCKS))
		blocks /= e->block / SECTOR;
	s->clusters += blocks / e->cluster_ratio;
	s->inodes++;
	return 1;
}

static int add_block(
	const struct ext *e, uint64_t block, uint8_t *data, struct ext_free *s, struct err *err)
{
	uint32_t ignored;
	int got = part_read(e->part, data, block * e->block, e->block, err);
	if (got > 0 && le32_at(data + e->block - ORPHAN_TAIL) != ORPHAN_BLOCK_MAGIC)
		got = 0;
	for (size_t at = 0; got > 0 && at < e->block - ORPHAN_TAIL; at += 4)
		if (le32_at(data + at))
			got = add_orphan(e, le32_at(data + at), s, &ignored, err);
	return got;
}

/* Linux's Documentation/filesystems/ext4, "Orphan file" */
static int add_orphan_file(const struct ext *e, struct ext_free *s, struct err *err)
{
	_cleanup_free_ uint64_t *blocks = NULL;
	uint8_t inode[EXT_INODE];
	uint64_t count = 0;
	int got = ext_inode_read(e, le32_at(e->super + 0x280), inode, err);
	if (got > 0)
		got = ext_inode_blocks(e, inode, ORPHAN_FILE_MAX / e->block, &blocks, &count, err);
	_cleanup_free_ uint8_t *data = xcalloc(1, e->block);
	for (uint64_t i = 0; got > 0 && i < count; i++)
		got = add_block(e, blocks[i], data, s, err);
	return got;
}

int ext_orphans_add(const struct ext *e, struct ext_free *s, struct err *err)
{
	uint32_t number = le32_at(e->super + 0xe8);
	int got = 1;
	for (unsigned left = ORPHANS_MAX; got > 0 && number; left--)
		got = left ? add_orphan(e, number, s, &number, err) : 0;
	if (got > 0 && e->ro_compat & RO_COMPAT_ORPHAN_PRESENT)
		got = add_orphan_file(e, s, err);
	return got;
}
