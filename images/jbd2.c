#include "images/jbd2.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "images/crc32c.h"

/* All numbers are big-endian. A block of the log begins with magic number, kind and transaction. */
#define MAGIC 0xC03B3998U
enum {
	DESCRIPTOR = 1,
	COMMIT = 2,
	SUPER_V1 = 3,
	SUPER_V2 = 4,
	REVOKE = 5,
	HEADER = 12,
	TAIL = 4, /* of descriptors and revocations, with checksums */
};

/* The superblock, which is the journal's first block. */
enum {
	SUPER_LEN = 1024,
	SUPER_BLOCK_SIZE = 0x0C,
	SUPER_LENGTH = 0x10,
	SUPER_FIRST = 0x14,
	SUPER_SEQUENCE = 0x18,
	SUPER_START = 0x1C, /* 0: there is nothing in it */
	SUPER_ERRNO = 0x20,
	SUPER_INCOMPAT = 0x28,
	SUPER_UUID = 0x30,
	SUPER_CHECKSUM_TYPE = 0x50,
	SUPER_CHECKSUM = 0xFC,
	CRC32C = 4,
	INCOMPAT_REVOKE = 0x1,
	INCOMPAT_64BIT = 0x2,
	INCOMPAT_CSUM_V2 = 0x8,
	INCOMPAT_CSUM_V3 = 0x10,
	/* not fast commits and not asynchronous ones, which have to be asked for at mkfs or mount */
	INCOMPAT_KNOWN = INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3,
};

enum { TAG_ESCAPED = 1, TAG_SAME_UUID = 2, TAG_LAST = 8, UUID_LEN = 16 };
enum { COMMIT_CHECKSUM = 0x10, COMMIT_SECONDS = 0x30, COMMIT_NANOSECONDS = 0x38 };
enum { REVOKED_MAX = 4 << 20 };

/* A block that was freed: what transactions up to that one have of it is not written. */
struct revoked {
	uint64_t block;
	uint32_t transaction; /* counted from the log's first one */
};

struct log {
	const struct jbd2 *j;
	uint32_t length, first, start; /* blocks of the ring, where it begins, where the log does */
	uint32_t sequence;             /* the log's first transaction */
	uint32_t transactions;         /* how many of them are committed */
	uint32_t incompat, seed;
	bool checksums;
	struct revoked *revoked;
	size_t revoked_count, revoked_room;
	uint64_t replayed;
	uint8_t *block, *data; /* one of the log, and one that is to be written */
};

/* Where a pass is. */
struct place {
	uint32_t next, left;  /* the block, and how many of the ring are still to come */
	uint32_t transaction; /* counted from the log's first one */
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static int damaged(struct err *err, const char *what)
{
	return err_set(err, ERR_REFUSED, "its journal is damaged: %s", what);
}

/* ---- checksums ----------------------------------------------------------------------------------------- */

/* Of a block that has its own checksum at `at`, which counts as zero. */
static uint32_t sum_without(uint32_t seed, const uint8_t *block, size_t len, size_t at)
{
	static const uint8_t none[4];
	uint32_t sum = crc32c(seed, block, at);
	sum = crc32c(sum, none, sizeof(none));
	return crc32c(sum, block + at + 4, len - at - 4);
}

static bool sum_holds(const struct log *l, const uint8_t *block, size_t at)
{
	return !l->checksums ||
	       sum_without(l->seed, block, l->j->block_size, at) == get32(block + at);
}

/* Of a block that is to be written, as it lies in the log. */
static bool data_holds(const struct log *l, uint32_t transaction, uint32_t expected)
{
	uint8_t sequence[4];
	if (!l->checksums)
		return true;
	put32(sequence, l->sequence + transaction);
	uint32_t sum = crc32c(l->seed, sequence, sizeof(sequence));
	sum = crc32c(sum, l->data, l->j->block_size);
	return l->incompat & INCOMPAT_CSUM_V3 ? sum == expected : (sum & 0xffff) == expected;
}

/* ---- the log's blocks ---------------------------------------------------------------------------------- */

/* 1: where the next block lies; 0: the whole ring was read. */
static bool step(const struct log *l, struct place *p, uint64_t *block)
{
	if (!p->left)
		return false;
	p->left--;
	*block = l->j->blocks[p->next];
	p->next = p->next + 1 < l->length ? p->next + 1 : l->first;
	return true;
}

/* The next block into l->block, if it belongs to the transaction; its kind, 0 at the log's end, -1. */
static int next_block(struct log *l, struct place *p, struct err *err)
{
	uint64_t block;
	if (!step(l, p, &block))
		return 0;
	if (l->j->read(l->j->about, block, l->block, err) < 0)
		return -1;
	uint32_t kind = get32(l->block + 4);
	bool ours = get32(l->block) == MAGIC && get32(l->block + 8) == l->sequence + p->transaction;
	return ours && kind >= DESCRIPTOR && kind <= REVOKE ? (int)kind : 0;
}

struct tag {
	uint64_t block; /* where it belongs */
	uint32_t flags, checksum;
};

/* The tag at *at of a descriptor; false: there is none any more. */
static bool next_tag(const struct log *l, size_t *at, struct tag *t)
{
	const uint8_t *p = l->block + *at;
	bool v3 = l->incompat & INCOMPAT_CSUM_V3, wide = l->incompat & INCOMPAT_64BIT;
	/* v2 is two bytes longer than what it holds, and so it is on disks */
	size_t len = v3 ? 16 : (wide ? 12U : 8U) + (l->incompat & INCOMPAT_CSUM_V2 ? 2U : 0U);
	if (*at + len > l->j->block_size - (l->checksums ? TAIL : 0))
		return false;
	t->flags = v3 ? get32(p + 4) : get16(p + 6);
	t->checksum = v3 ? get32(p + 12) : get16(p + 4);
	t->block = get32(p) | (wide ? (uint64_t)get32(p + 8) << 32 : 0);
	*at += len + (t->flags & TAG_SAME_UUID ? 0 : UUID_LEN);
	return true;
}

/* ---- first pass: how far it goes ------------------------------------------------------------------------ */

static int skip_data(struct log *l, struct place *p, struct err *err)
{
	struct tag t;
	uint64_t block;
	for (size_t at = HEADER; next_tag(l, &at, &t);) {
		if (!step(l, p, &block))
			return damaged(err, "a transaction is longer than it");
		if (t.flags & TAG_LAST)
			break;
	}
	return 0;
}

struct commit_time {
	uint32_t high, low, nanoseconds;
};

static struct commit_time commit_time(const uint8_t *block)
{
	return (struct commit_time){get32(block + COMMIT_SECONDS),
		get32(block + COMMIT_SECONDS + 4), get32(block + COMMIT_NANOSECONDS)};
}

static bool is_before(struct commit_time a, struct commit_time b)
{
	if (a.high != b.high)
		return a.high < b.high;
	return a.low != b.low ? a.low < b.low : a.nanoseconds < b.nanoseconds;
}

/*
 * Counts the transactions that are committed. Where the log ends there may lie what an older file system had
 * there, even with the right number: its checksum does not hold, and its commit is older. Otherwise what
 * does not hold is damage.
 */
static int scan(struct log *l, struct err *err)
{
	struct place p = {l->start, l->length - l->first, 0};
	struct commit_time last = {0, 0, 0};
	bool doubtful = false;
	size_t tail = l->j->block_size - TAIL;
	for (;;) {
		int kind = next_block(l, &p, err);
		if (kind < 0 || (kind == DESCRIPTOR && skip_data(l, &p, err) < 0))
			return -1;
		if (kind == DESCRIPTOR || kind == REVOKE) {
			doubtful |= !sum_holds(l, l->block, tail);
			continue;
		}
		if (kind != COMMIT)
			break;
		doubtful |= !sum_holds(l, l->block, COMMIT_CHECKSUM);
		if (doubtful && is_before(commit_time(l->block), last))
			break;
		if (doubtful)
			return damaged(err, "a checksum does not hold");
		last = commit_time(l->block);
		p.transaction++;
	}
	l->transactions = p.transaction;
	return 0;
}

/* ---- second pass: what was freed ------------------------------------------------------------------------ */

static int by_block(const void *a, const void *b)
{
	const struct revoked *x = a, *y = b;
	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->transaction < y->transaction ? -1 : x->transaction > y->transaction;
}

static int take_revoked(struct log *l, const struct place *p, struct err *err)
{
	size_t size = l->incompat & INCOMPAT_64BIT ? 8 : 4, end = get32(l->block + HEADER);
	if (end > l->j->block_size - (l->checksums ? TAIL : 0))
		return damaged(err, "a list of freed blocks is longer than its block");
	for (size_t at = HEADER + 4; at + size <= end; at += size) {
		if (l->revoked_count == REVOKED_MAX)
			return err_set(err, ERR_REFUSED,
				"its journal has more than %d freed blocks", REVOKED_MAX);
		if (l->revoked_count == l->revoked_room) {
			l->revoked_room = l->revoked_room ? l->revoked_room * 2 : 256;
			l->revoked = xrealloc(l->revoked, l->revoked_room * sizeof(*l->revoked));
		}
		uint64_t block = get32(l->block + at);
		if (size == 8)
			block = block << 32 | get32(l->block + at + 4);
		l->revoked[l->revoked_count++] = (struct revoked){block, p->transaction};
	}
	return 0;
}

/* Was it freed in that transaction or a later one? */
static bool is_revoked(const struct log *l, uint64_t block, uint32_t transaction)
{
	size_t low = 0, high = l->revoked_count;
	while (low < high) { /* the first that is not before it */
		size_t middle = low + (high - low) / 2;
		const struct revoked *r = &l->revoked[middle];
		if (by_block(r, &(struct revoked){block, transaction}) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->revoked_count && l->revoked[low].block == block;
}

/* ---- third pass: it is written -------------------------------------------------------------------------- */

static int write_one(
	struct log *l, const struct tag *t, uint64_t from, uint32_t transaction, struct err *err)
{
	if (is_revoked(l, t->block, transaction))
		return 0;
	if (t->block >= l->j->fs_blocks)
		return damaged(err, "it has a block beyond the file system's end");
	if (l->j->read(l->j->about, from, l->data, err) < 0)
		return -1;
	if (!data_holds(l, transaction, t->checksum))
		return damaged(err, "the checksum of a block does not hold");
	if (t->flags & TAG_ESCAPED) /* it begins with the magic number, which in the log is zero */
		put32(l->data, MAGIC);
	l->replayed++;
	return l->j->write(l->j->about, t->block, l->data, from, err);
}

static int write_data(struct log *l, struct place *p, struct err *err)
{
	struct tag t;
	uint64_t from;
	for (size_t at = HEADER; next_tag(l, &at, &t);) {
		if (!step(l, p, &from))
			return damaged(err, "a transaction is longer than it");
		if (write_one(l, &t, from, p->transaction, err) < 0)
			return -1;
		if (t.flags & TAG_LAST)
			break;
	}
	return 0;
}

/* ---- all together --------------------------------------------------------------------------------------- */

/* The second and the third pass, over what the first one found. */
static int pass(struct log *l, bool write, struct err *err)
{
	struct place p = {l->start, l->length - l->first, 0};
	while (p.transaction < l->transactions) {
		int kind = next_block(l, &p, err);
		int result = kind <= 0 ? -1 : 0;
		if (kind == 0)
			damaged(err, "it has changed while it was read");
		else if (kind == DESCRIPTOR)
			result = write ? write_data(l, &p, err) : skip_data(l, &p, err);
		else if (kind == REVOKE && !write)
			result = take_revoked(l, &p, err);
		else if (kind == COMMIT)
			p.transaction++;
		if (result < 0)
			return -1;
	}
	return 0;
}

static int check_features(struct log *l, const uint8_t *s, struct err *err)
{
	if (get32(s + 4) == SUPER_V1)
		return 0;
	l->incompat = get32(s + SUPER_INCOMPAT);
	if (l->incompat & ~(uint32_t)INCOMPAT_KNOWN)
		return err_set(err, ERR_REFUSED,
			"its journal has features that roost does not know (0x%x)",
			l->incompat & ~(uint32_t)INCOMPAT_KNOWN);
	l->checksums = l->incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3);
	l->seed = crc32c(~0U, s + SUPER_UUID, UUID_LEN);
	if (l->checksums && (s[SUPER_CHECKSUM_TYPE] != CRC32C ||
				    sum_without(~0U, s, SUPER_LEN, SUPER_CHECKSUM) !=
					    get32(s + SUPER_CHECKSUM)))
		return damaged(err, "its superblock's checksum does not hold");
	return 0;
}

static int read_super(struct log *l, uint8_t *s, struct err *err)
{
	if (l->j->read(l->j->about, l->j->blocks[0], s, err) < 0)
		return -1;
	uint32_t kind = get32(s + 4);
	l->length = get32(s + SUPER_LENGTH);
	l->first = get32(s + SUPER_FIRST);
	l->start = get32(s + SUPER_START);
	l->sequence = get32(s + SUPER_SEQUENCE);
	if (get32(s) != MAGIC || (kind != SUPER_V1 && kind != SUPER_V2) ||
		get32(s + SUPER_BLOCK_SIZE) != l->j->block_size || l->length > l->j->count ||
		!l->first || l->first >= l->length || l->start >= l->length ||
		(l->start && l->start < l->first))
		return damaged(err, "its superblock is none");
	if (check_features(l, s, err) < 0)
		return -1;
	if (get32(s + SUPER_ERRNO))
		return err_set(err, ERR_REFUSED, "its journal was ended by an error");
	return 0;
}

/* What is in the ring has a number that does not come again. */
static int write_empty(const struct log *l, uint8_t *s, struct err *err)
{
	put32(s + SUPER_START, 0);
	put32(s + SUPER_SEQUENCE, l->sequence + l->transactions + 1);
	if (l->checksums)
		put32(s + SUPER_CHECKSUM, sum_without(~0U, s, SUPER_LEN, SUPER_CHECKSUM));
	return l->j->write(l->j->about, l->j->blocks[0], s, l->j->blocks[0], err);
}

int jbd2_replay(const struct jbd2 *j, uint64_t *replayed, struct err *err)
{
	if (j->block_size < JBD2_BLOCK_MIN || j->block_size > JBD2_BLOCK_MAX || !j->count)
		return damaged(err, "it has no blocks");
	_cleanup_free_ uint8_t *super = xcalloc(1, j->block_size);
	_cleanup_free_ uint8_t *block = xcalloc(1, j->block_size);
	_cleanup_free_ uint8_t *data = xcalloc(1, j->block_size);
	struct log l = {.j = j, .block = block, .data = data};
	if (read_super(&l, super, err) < 0)
		return -1;
	int result = 0;
	if (l.start) {
		result = scan(&l, err) < 0 || pass(&l, false, err) < 0 ? -1 : 0;
		if (l.revoked_count)
			qsort(l.revoked, l.revoked_count, sizeof(*l.revoked), by_block);
		if (result == 0)
			result = pass(&l, true, err) < 0 ? -1 : write_empty(&l, super, err);
		free(l.revoked);
	}
	if (result == 0)
		*replayed = l.replayed;
	return result;
}
