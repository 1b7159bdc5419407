/*
 * Inodes of ext file systems and where their content is: Linux's Documentation/filesystems/ext4, "Index Nodes",
 * "The Contents of inode.i_block". Every block that tells of others must tell of at least one, so that a loop
 * ends.
 */
#include "images/filesystem_ext.h"

#include "base/mem.h"

enum {
	INCOMPAT_META_BG = 0x10,
	INODE_BLOCKS_AT = 0x28,
	INODE_BLOCKS_LEN = 60,
	USES_EXTENTS = 0x80000,
	EXTENT_MAGIC = 0xf30a,
	EXTENT_BYTES = 12, /* and those of the header before them */
	EXTENT_DEPTH_MAX = 5,
	EXTENT_LENGTH_MAX = 32768, /* more: allocated, and never written */
	DIRECT = 12,
	INDIRECT_DEPTH_MAX = 3,
};

int ext_inode_read(const struct ext *e, uint32_t number, uint8_t inode[EXT_INODE], struct err *err)
{
	uint8_t descriptor[64] = {0};
	uint64_t group = (number - 1) / e->inodes_per_group,
		 index = (number - 1) % e->inodes_per_group;
	size_t len = e->descriptor < sizeof(descriptor) ? e->descriptor : sizeof(descriptor);
	/* with meta_bg the descriptors of later groups are elsewhere */
	if (!number || group >= (e->incompat & INCOMPAT_META_BG ? 1 : e->groups))
		return 0;
	int got =
		part_read(e->part, descriptor, e->descriptors_at + group * e->descriptor, len, err);
	if (got <= 0)
		return got;
	uint64_t table = le32_at(descriptor + 0x08) | (uint64_t)le32_at(descriptor + 0x28) << 32;
	if (table >= e->blocks)
		return 0;
	return part_read(e->part, inode, table * e->block + index * e->inode, EXT_INODE, err);
}

uint64_t ext_inode_size(const uint8_t *inode)
{
	return le32_at(inode + 0x04) | (uint64_t)le32_at(inode + 0x6c) << 32;
}

struct map {
	const struct ext *e;
	uint64_t *blocks;
	uint64_t count, wanted;
};

static int add(struct map *m, uint64_t first, uint64_t length)
{
	if (!first || first >= m->e->blocks || length > m->e->blocks - first ||
		length > m->wanted - m->count)
		return 0;
	for (uint64_t i = 0; i < length; i++)
		m->blocks[m->count++] = first + i;
	return 1;
}

static int read_block(const struct map *m, uint64_t block, uint8_t *data, struct err *err)
{
	return block < m->e->blocks
		       ? part_read(m->e->part, data, block * m->e->block, m->e->block, err)
		       : 0;
}

/* ---- extents -------------------------------------------------------------------------------------------- */

static int add_extents(
	struct map *m, const uint8_t *node, size_t size, unsigned depth, struct err *err);

static int add_extents_below(struct map *m, const uint8_t *entry, unsigned depth, struct err *err)
{
	_cleanup_free_ uint8_t *node = xcalloc(1, m->e->block);
	uint64_t before = m->count, block = le32_at(entry + 4) | (uint64_t)le16_at(entry + 8) << 32;
	int got = read_block(m, block, node, err);
	if (got > 0)
		got = add_extents(m, node, m->e->block, depth, err);
	return got > 0 ? m->count > before : got;
}

static int add_extents(
	struct map *m, const uint8_t *node, size_t size, unsigned depth, struct err *err)
{
	unsigned count = le16_at(node + 2);
	if (le16_at(node) != EXTENT_MAGIC || le16_at(node + 6) != depth ||
		(count + 1) * EXTENT_BYTES > size)
		return 0;
	for (const uint8_t *p = node + EXTENT_BYTES; count; count--, p += EXTENT_BYTES) {
		unsigned length = le16_at(p + 4);
		int got = le32_at(p) != m->count ? 0
			  : depth                ? add_extents_below(m, p, depth - 1, err)
			  : length > EXTENT_LENGTH_MAX
				  ? 0
				  : add(m, le32_at(p + 8) | (uint64_t)le16_at(p + 6) << 32, length);
		if (got <= 0)
			return got;
	}
	return 1;
}

/* ---- blocks of blocks ----------------------------------------------------------------------------------- */

static int add_indirect(struct map *m, uint64_t block, unsigned depth, struct err *err)
{
	if (!depth)
		return add(m, block, 1);
	_cleanup_free_ uint8_t *numbers = xcalloc(1, m->e->block);
	int got = block ? read_block(m, block, numbers, err) : 0;
	for (size_t at = 0; got > 0 && at < m->e->block && m->count < m->wanted; at += 4)
		got = add_indirect(m, le32_at(numbers + at), depth - 1, err);
	return got;
}

static int add_blocks(struct map *m, const uint8_t *numbers, struct err *err)
{
	int got = 1;
	for (unsigned i = 0; got > 0 && i < DIRECT + INDIRECT_DEPTH_MAX && m->count < m->wanted;
		i++)
		got = add_indirect(
			m, le32_at(numbers + 4 * i), i < DIRECT ? 0 : i - DIRECT + 1, err);
	return got;
}

int ext_inode_blocks(const struct ext *e, const uint8_t *inode, uint64_t max, uint64_t **out,
	uint64_t *count, struct err *err)
{
	struct map m = {.e = e, .wanted = ext_inode_size(inode) / e->block};
	const uint8_t *root = inode + INODE_BLOCKS_AT;
	if (!m.wanted || m.wanted > max)
		return 0;
	_cleanup_free_ uint64_t *blocks = m.blocks = xcalloc(m.wanted, sizeof(*blocks));
	unsigned depth = le16_at(root + 6);
	int got = !(le32_at(inode + 0x20) & USES_EXTENTS) ? add_blocks(&m, root, err)
		  : depth > EXTENT_DEPTH_MAX              ? 0
					     : add_extents(&m, root, INODE_BLOCKS_LEN, depth, err);
	if (got <= 0 || m.count != m.wanted)
		return got < 0 ? -1 : 0;
	*out = TAKE(blocks);
	*count = m.count;
	return 1;
}
