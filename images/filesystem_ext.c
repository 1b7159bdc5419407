/*
 * ext2, ext3, ext4: Linux's Documentation/filesystems/ext4, "Super Block" and "Block Group Descriptors". The
 * numbers are those of ext4_statfs(): blocks without what the file system needs for itself ("overhead"), free
 * ones as the group descriptors have them, available ones without the reserves.
 */
#include "images/filesystem_ext.h"

#include "base/mem.h"

enum {
	SUPER_AT = 1024,
	INCOMPAT_RECOVER = 0x4,
	INCOMPAT_JOURNAL_DEV = 0x8,
	INCOMPAT_META_BG = 0x10,
	INCOMPAT_EXTENTS = 0x40,
	INCOMPAT_64BIT = 0x80,
	INCOMPAT_EXT3 = 0x2 | INCOMPAT_RECOVER | INCOMPAT_META_BG,
	COMPAT_JOURNAL = 0x4,
	COMPAT_SPARSE_SUPER2 = 0x200,
	RO_COMPAT_SPARSE_SUPER = 0x1,
	RO_COMPAT_EXT3 = 0x7,
	RO_COMPAT_BIGALLOC = 0x200,
	RESERVE_CLUSTERS_MAX = 4096, /* ext4_set_resv_clusters() */
	DESCRIPTOR_MAX = 1024,
	DESCRIPTORS_READ_MAX =
		64 << 20, /* bytes, for 128 TiB; of more the superblock's sums are taken */
	DESCRIPTORS_AT_ONCE = 65536, /* bytes */
};

static uint32_t field(const struct ext *e, size_t at)
{
	return le32_at(e->super + at);
}

static uint64_t field_hi(const struct ext *e, size_t low, size_t high)
{
	return field(e, low) | (e->incompat & INCOMPAT_64BIT ? (uint64_t)field(e, high) << 32 : 0);
}

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* What is not so no kernel would mount. */
static bool parse(struct ext *e)
{
	uint32_t block_log = field(e, 0x18), cluster_log = field(e, 0x1c);
	e->compat = field(e, 0x5c);
	e->incompat = field(e, 0x60);
	e->ro_compat = field(e, 0x64);
	if (le16_at(e->super + 0x38) != 0xef53 || block_log > 6 || cluster_log > 20)
		return false;
	bool bigalloc = e->ro_compat & RO_COMPAT_BIGALLOC;
	if (bigalloc && cluster_log < block_log)
		return false;
	e->block = 1024ULL << block_log;
	e->cluster_ratio = bigalloc ? 1ULL << (cluster_log - block_log) : 1;
	e->blocks = field_hi(e, 0x04, 0x150);
	e->first_data = field(e, 0x14);
	e->blocks_per_group = field(e, 0x20);
	e->inodes_per_group = field(e, 0x28);
	e->inode = field(e, 0x4c) ? le16_at(e->super + 0x58) : EXT_INODE;
	e->descriptor = e->incompat & INCOMPAT_64BIT ? le16_at(e->super + 0xfe) : 32;
	e->journal = e->compat & COMPAT_JOURNAL ? field(e, 0xe0) : 0;
	if (!e->blocks_per_group || !e->inodes_per_group || e->blocks <= e->first_data ||
		e->blocks > (1ULL << 46) || !power_of_two(e->inode) || e->inode < EXT_INODE ||
		e->inode > e->block || !power_of_two(e->descriptor) || e->descriptor < 32 ||
		e->descriptor > DESCRIPTOR_MAX)
		return false;
	e->groups = (e->blocks - e->first_data + e->blocks_per_group - 1) / e->blocks_per_group;
	e->groups_per_block = e->block / e->descriptor;
	/* with bigalloc the superblock may be in block 1 of 1 KiB when all begin at 0 */
	e->descriptors_at = (SUPER_AT / e->block + 1) * e->block;
	return true;
}

/* ---- overhead: ext4_calculate_overhead() ---------------------------------------------------------------- */

static uint64_t powers_below(uint64_t base, uint64_t limit)
{
	uint64_t n = 0;
	for (uint64_t p = base; p < limit; p *= base)
		n++;
	return n;
}

/* Groups below `limit` that have a copy of the superblock: ext4_bg_has_super() */
static uint64_t supers_below(const struct ext *e, uint64_t limit)
{
	if (e->compat & COMPAT_SPARSE_SUPER2) {
		uint32_t one = field(e, 0x24c), two = field(e, 0x250);
		bool first = one && one < limit, second = two && two != one && two < limit;
		return (limit ? 1U : 0U) + first + second;
	}
	if (!(e->ro_compat & RO_COMPAT_SPARSE_SUPER) || limit < 2)
		return limit;
	return 2 + powers_below(3, limit) + powers_below(5, limit) + powers_below(7, limit);
}

/* Blocks of group descriptors, copies too: ext4_bg_num_gdb() */
static uint64_t descriptor_blocks(const struct ext *e)
{
	uint64_t all = (e->groups + e->groups_per_block - 1) / e->groups_per_block;
	uint64_t first_meta = field(e, 0x104);
	if (!(e->incompat & INCOMPAT_META_BG))
		return supers_below(e, e->groups) * all;
	if (first_meta > all)
		first_meta = all;
	/* from there on each block's worth of groups has three copies: in its first two and in its last */
	uint64_t before = first_meta * e->groups_per_block;
	uint64_t after = e->groups > before ? e->groups - before : 0;
	uint64_t rest = after % e->groups_per_block;
	return supers_below(e, before < e->groups ? before : e->groups) * first_meta +
	       after / e->groups_per_block * 3 + (rest < 2 ? rest : 2);
}

/* In blocks; 0: there is none inside. */
static int journal_blocks(const struct ext *e, uint64_t *out, struct err *err)
{
	uint8_t inode[EXT_INODE];
	*out = 0;
	if (!e->journal)
		return 0;
	int got = ext_inode_read(e, e->journal, inode, err);
	if (got > 0)
		*out = ext_inode_size(inode) / e->block;
	return got;
}

/* In blocks. */
static int overhead(const struct ext *e, uint64_t *out, struct err *err)
{
	uint64_t journal, ours = field(e, 0x248);
	if (e->ro_compat &
		RO_COMPAT_BIGALLOC) { /* too long a sum for the kernel, too: it was stored */
		*out = ours > e->blocks ? 0 : ours * e->cluster_ratio;
		return 0;
	}
	if (journal_blocks(e, &journal, err) < 0)
		return -1;
	uint64_t tables = (uint64_t)e->inodes_per_group * e->inode / e->block + 2;
	uint64_t reserved_gdt = le16_at(e->super + 0xce);
	*out = e->first_data + e->groups * tables + descriptor_blocks(e) +
	       supers_below(e, e->groups) * (1 + reserved_gdt) + journal;
	return 0;
}

/* ---- free ones ------------------------------------------------------------------------------------------ */

static void add_descriptor(const struct ext *e, const uint8_t *d, struct ext_free *s)
{
	bool wide = e->descriptor >= 64;
	s->clusters += le16_at(d + 0x0c) | (wide ? (uint64_t)le16_at(d + 0x2c) << 16 : 0);
	s->inodes += le16_at(d + 0x0e) | (wide ? (uint64_t)le16_at(d + 0x2e) << 16 : 0);
}

/*
 * As the kernel counts when it mounts: by the group descriptors, for the superblock's sums are those of the
 * last clean end. 1; 0: by the superblock's.
 */
static int count_free(const struct ext *e, struct ext_free *s, struct err *err)
{
	*s = (struct ext_free){field_hi(e, 0x0c, 0x158) / e->cluster_ratio, field(e, 0x10)};
	if (e->incompat & INCOMPAT_META_BG || e->groups > DESCRIPTORS_READ_MAX / e->descriptor)
		return 0;
	_cleanup_free_ uint8_t *text = xcalloc(1, DESCRIPTORS_AT_ONCE);
	struct ext_free sums = {0};
	uint64_t at = e->descriptors_at;
	for (uint64_t left = e->groups * e->descriptor; left;) {
		size_t len = left < DESCRIPTORS_AT_ONCE ? (size_t)left : DESCRIPTORS_AT_ONCE;
		int got = part_read(e->part, text, at, len, err);
		if (got <= 0)
			return got;
		for (size_t i = 0; i < len; i += e->descriptor)
			add_descriptor(e, text + i, &sums);
		at += len;
		left -= len;
	}
	*s = sums;
	return 1;
}

/* ---- all together --------------------------------------------------------------------------------------- */

static const char *type_of(const struct ext *e)
{
	if (e->incompat & INCOMPAT_JOURNAL_DEV)
		return "jbd";
	if (e->incompat & ~(uint32_t)INCOMPAT_EXT3 || e->ro_compat & ~(uint32_t)RO_COMPAT_EXT3)
		return "ext4";
	return e->compat & COMPAT_JOURNAL ? "ext3" : "ext2";
}

static uint64_t less(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

static int measure(const struct ext *e, struct filesystem *f, struct err *err)
{
	struct ext_free sums;
	uint64_t needed;
	int counted = overhead(e, &needed, err) < 0 ? -1 : count_free(e, &sums, err);
	if (counted < 0)
		return -1;
	if (e->replayed) { /* what a mount frees counts as free */
		int settled = ext_orphans_add(e, &sums, err);
		if (settled < 0)
			return -1;
		f->unclean |= !counted || !settled;
	}
	uint64_t usable = less(e->blocks, needed), reserved = field_hi(e, 0x08, 0x154);
	uint64_t unused = sums.clusters > usable / e->cluster_ratio
				  ? usable
				  : sums.clusters * e->cluster_ratio;
	if (e->incompat & INCOMPAT_EXTENTS) {
		uint64_t clusters = e->blocks / e->cluster_ratio / 50;
		reserved += (clusters < RESERVE_CLUSTERS_MAX ? clusters : RESERVE_CLUSTERS_MAX) *
			    e->cluster_ratio;
	}
	f->has_total = f->has_used = f->has_inodes = true;
	f->total = usable * e->block;
	f->used = less(usable, unused) * e->block;
	f->available = less(unused, reserved) * e->block;
	f->inodes = field(e, 0x00);
	f->inodes_used = less(f->inodes, sums.inodes);
	return 0;
}

static int read_super(struct ext *e, struct err *err)
{
	int got = part_read(e->part, e->super, SUPER_AT, sizeof(e->super), err);
	return got > 0 ? parse(e) : got;
}

/* 1: *out is as a mount would find it, through `r`; 0: its journal cannot be replayed; -1 */
static int replay(const struct ext *e, struct ext_replay *r, struct ext *out, struct err *err)
{
	int got = ext_replay_begin(e, r, err);
	*out = (struct ext){.part = &r->part, .replayed = true};
	return got > 0 ? read_super(out, err) : got;
}

static int tell(const struct ext *e, bool dirty, struct filesystem *f, struct err *err)
{
	*f = (struct filesystem){.type = type_of(e), .block = e->block};
	label_take(f, e->super + 0x78, 16);
	uuid_take(f, e->super + 0x68);
	if (e->incompat & INCOMPAT_JOURNAL_DEV)
		return 1;
	f->unclean = dirty || !(le16_at(e->super + 0x3a) & 1);
	return measure(e, f, err) < 0 ? -1 : 1;
}

int ext_look(const struct part *p, struct filesystem *f, struct err *err)
{
	struct ext e = {.part = p}, as_mounted;
	_cleanup_(ext_replay_end) struct ext_replay r = {0};
	int got = read_super(&e, err);
	if (got <= 0)
		return got;
	if (!(e.incompat & INCOMPAT_RECOVER))
		return tell(&e, false, f, err);
	got = replay(&e, &r, &as_mounted, err);
	if (got < 0)
		return -1;
	return got ? tell(&as_mounted, false, f, err) : tell(&e, true, f, err);
}
