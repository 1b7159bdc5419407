/*
 * Walking the tables of a qcow2 file that nobody vouches for.
 *
 * Tables are read by pages of the file, of which a few are kept; nothing that an entry says decides
 * how much is allocated, or how far one call goes. A table has one entry (8 bytes) per cluster, or
 * with extended L2 entries two words, the second of which is a bitmap of 32 subclusters. What is
 * walked is called a unit here: a cluster, or a subcluster where there are such.
 */
#include "images/qcow2_map.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/qcow2_format.h"

enum {
	PAGE = 4096,
	PAGES = 32,
	SECTOR = 512,
	SUBCLUSTERS = 32,
	CLUSTERS_LOOKED_AT = 1 << 24, /* for qcow2_map_preallocated(): then it is no */
};

/* Section "Cluster mapping"; of L1 and standard L2 entries alike. */
#define OFFSET_BITS      0x00fffffffffffe00ULL
#define L2_ZERO          (1ULL << 0)
#define L2_COMPRESSED    (1ULL << 62)
#define REFCOUNT_OFFSETS 0xfffffffffffffe00ULL

struct page {
	uint64_t at;
	size_t len; /* less than a page at the end of the file; 0: there is none in it */
	uint64_t used;
	unsigned char bytes[PAGE];
};

struct qcow2_map {
	int fd;
	struct qcow2_info q;
	uint64_t cluster, unit,
		span; /* bytes of the guest's: of a cluster, of a unit, of an L2 table */
	uint64_t clock;
	struct page *last; /* the one that was used last */
	struct page pages[PAGES];
};

/* ---- words of tables ------------------------------------------------------------------------------ */

static struct page *oldest(struct qcow2_map *m)
{
	struct page *found = &m->pages[0];
	for (size_t i = 1; i < PAGES; i++)
		if (m->pages[i].used < found->used)
			found = &m->pages[i];
	return found;
}

static int find_page(struct qcow2_map *m, uint64_t at, struct err *err)
{
	for (size_t i = 0; i < PAGES; i++) {
		if (m->pages[i].len && m->pages[i].at == at) {
			m->last = &m->pages[i];
			m->last->used = ++m->clock;
			return 0;
		}
	}
	struct page *page = oldest(m);
	page->len = 0;
	ssize_t n = pread(m->fd, page->bytes, PAGE, (off_t)at);
	if (n < 0)
		return err_errno(err, "cannot read the qcow2 tables");
	page->at = at;
	page->len = (size_t)n;
	page->used = ++m->clock;
	m->last = page;
	return 0;
}

/* Tables begin at clusters, so no word lies in two pages. */
static int word_at(struct qcow2_map *m, uint64_t at, uint64_t *out, struct err *err)
{
	uint64_t word, page = at & ~(PAGE - 1ULL);
	if ((!m->last || !m->last->len || m->last->at != page) && find_page(m, page, err) < 0)
		return -1;
	if (m->last->len < at - page + sizeof(word))
		return err_set(err, ERR_USAGE,
			"qcow2: the table entry at %" PRIu64 " lies beyond the end of the file",
			at);
	memcpy(&word, m->last->bytes + (at - page), sizeof(word));
	*out = be64toh(word);
	return 0;
}

/* ---- opening -------------------------------------------------------------------------------------- */

/*
 * By their number alone some of the L2 tables must be one and the same if there are more of them than
 * clusters in the file. Without this, a small file could have tables to walk for days.
 */
static int count_tables(struct qcow2_map *m, struct err *err)
{
	uint64_t entry, used = 0, room = m->q.file_size / m->cluster;
	for (uint32_t i = 0; i < m->q.l1_entries; i++) {
		if (word_at(m, m->q.l1_offset + 8ULL * i, &entry, err) < 0)
			return -1;
		used += (entry & OFFSET_BITS) != 0;
	}
	if (used > room)
		return err_set(err, ERR_USAGE,
			"qcow2: the L1 table names %" PRIu64
			" L2 tables, and the file has only %" PRIu64 " clusters",
			used, room);
	return 0;
}

struct qcow2_map *qcow2_map_open(int fd, const struct qcow2_info *info, struct err *err)
{
	struct qcow2_map *m = xcalloc(1, sizeof(*m));
	unsigned entry_bits = info->extended_l2 ? 4 : 3;
	m->fd = fd;
	m->q = *info;
	m->cluster = 1ULL << info->cluster_bits;
	m->unit = info->extended_l2 ? m->cluster / SUBCLUSTERS : m->cluster;
	m->span = 1ULL << (2 * info->cluster_bits - entry_bits);
	if (count_tables(m, err) == 0)
		return m;
	qcow2_map_close(m);
	return NULL;
}

void qcow2_map_close(struct qcow2_map *m)
{
	free(m);
}

/* ---- one unit ------------------------------------------------------------------------------------- */

/* What is at a unit; `host` is that of its beginning. */
struct unit {
	enum qcow2_kind kind;
	bool placed;
	uint64_t host;
	uint32_t host_length;
};

static int bad_entry(struct err *err, uint64_t offset, const char *why)
{
	return err_set(err, ERR_USAGE, "qcow2: the L2 entry of the guest's offset %" PRIu64 " %s",
		offset, why);
}

/* Section "Compressed Clusters Descriptor" */
static void read_compressed(const struct qcow2_map *m, uint64_t entry, struct unit *u)
{
	unsigned shift = 62 - (m->q.cluster_bits - 8);
	uint64_t sectors = (entry & (L2_COMPRESSED - 1)) >> shift;
	u->kind = QCOW2_COMPRESSED;
	u->host = entry & ((1ULL << shift) - 1);
	u->host_length = (uint32_t)((sectors + 1) * SECTOR - u->host % SECTOR);
}

/* Section "Extended L2 Entries"; false: it is what the format forbids. */
static bool read_subcluster(uint64_t bitmap, uint64_t index, struct unit *u)
{
	bool allocated = bitmap >> index & 1, zero = bitmap >> (SUBCLUSTERS + index) & 1;
	if (u->placed ? (bitmap >> SUBCLUSTERS & bitmap & UINT32_MAX) != 0
		      : (bitmap & UINT32_MAX) != 0)
		return false;
	u->kind = zero ? QCOW2_ZERO : allocated ? QCOW2_DATA : QCOW2_UNALLOCATED;
	return true;
}

/* An entry that is not of a compressed cluster. */
static int read_standard(const struct qcow2_map *m, uint64_t entry, uint64_t bitmap,
	uint64_t offset, struct unit *u, struct err *err)
{
	uint64_t index = offset % m->cluster / m->unit;
	u->host = entry & OFFSET_BITS;
	u->placed = u->host != 0;
	u->kind = u->placed ? QCOW2_DATA : QCOW2_UNALLOCATED;
	if (u->host % m->cluster)
		return bad_entry(err, offset, "names a place that is not a cluster's start");
	if (m->q.extended_l2) {
		if (!read_subcluster(bitmap, index, u))
			return bad_entry(err, offset,
				"has a subcluster that is allocated and is not, or is zero");
		u->host += u->placed ? index * m->unit : 0;
		return 0;
	}
	if (entry & L2_ZERO) {
		if (m->q.version < 3)
			return bad_entry(err, offset, "has a zero flag, which version 2 lacks");
		u->kind = QCOW2_ZERO;
	}
	return 0;
}

static int unit_at(
	struct qcow2_map *m, uint64_t table, uint64_t offset, struct unit *out, struct err *err)
{
	uint64_t entry, bitmap = 0;
	uint64_t at = table + offset % m->span / m->cluster * (m->q.extended_l2 ? 16 : 8);
	struct unit u = {0};
	if (word_at(m, at, &entry, err) < 0 ||
		(m->q.extended_l2 && word_at(m, at + 8, &bitmap, err) < 0))
		return -1;
	if (entry & L2_COMPRESSED)
		read_compressed(m, entry, &u);
	else if (read_standard(m, entry, bitmap, offset, &u, err) < 0)
		return -1;
	if ((u.kind == QCOW2_DATA || u.kind == QCOW2_COMPRESSED) && u.host >= m->q.file_size)
		return bad_entry(err, offset, "names a place beyond the end of the file");
	*out = u;
	return 0;
}

/* ---- runs ----------------------------------------------------------------------------------------- */

/* Of an L1 entry; 0: there is none. */
static int table_of(struct qcow2_map *m, uint64_t index, uint64_t *out, struct err *err)
{
	uint64_t entry;
	if (word_at(m, m->q.l1_offset + 8 * index, &entry, err) < 0)
		return -1;
	entry &= OFFSET_BITS;
	if (entry % m->cluster || entry >= m->q.file_size)
		return err_set(err, ERR_USAGE,
			"qcow2: L1 entry %" PRIu64 " names an L2 table at %" PRIu64 ": %s", index,
			entry,
			entry % m->cluster ? "not the start of a cluster"
					   : "beyond the end of the file");
	*out = entry;
	return 0;
}

/* From `offset`, where there is no L2 table, to the next one that there is. */
static int run_without_table(
	struct qcow2_map *m, uint64_t offset, uint64_t most, struct qcow2_run *out, struct err *err)
{
	uint64_t length = m->span - offset % m->span, entry = 0;
	while (length < most) {
		uint64_t index = (offset + length) / m->span;
		if (word_at(m, m->q.l1_offset + 8 * index, &entry, err) < 0)
			return -1;
		if (entry & OFFSET_BITS)
			break;
		length += m->span;
	}
	*out = (struct qcow2_run){
		.kind = QCOW2_UNALLOCATED, .length = length < most ? length : most};
	return 0;
}

/* Does `next`, which begins `after` bytes behind what `run` says, go on with it? */
static bool goes_on(const struct qcow2_run *run, const struct unit *next, uint64_t after)
{
	return next->kind == run->kind && next->placed == run->placed &&
	       (!run->placed || next->host == run->host + after);
}

static int run_of_table(struct qcow2_map *m, uint64_t table, uint64_t offset, uint64_t most,
	struct qcow2_run *out, struct err *err)
{
	struct unit u;
	struct err ended = ERR_INIT;
	if (unit_at(m, table, offset, &u, err) < 0)
		return -1;
	struct qcow2_run run = {
		.kind = u.kind, .placed = u.placed, .host = u.host, .host_length = u.host_length};
	if (u.kind == QCOW2_COMPRESSED) {
		run.length = m->cluster - offset % m->cluster;
	} else {
		uint64_t here = m->span - offset % m->span;
		run.host += run.placed ? offset % m->unit : 0;
		run.length = m->unit - offset % m->unit;
		/* what is wrong further on is an error of its own place */
		while (run.length < most && run.length < here &&
			unit_at(m, table, offset + run.length, &u, &ended) == 0 &&
			goes_on(&run, &u, run.length))
			run.length += m->unit;
	}
	if (run.length > most)
		run.length = most;
	*out = run;
	return 0;
}

int qcow2_map_at(
	struct qcow2_map *m, uint64_t offset, uint64_t most, struct qcow2_run *out, struct err *err)
{
	uint64_t table = 0;
	if (table_of(m, offset / m->span, &table, err) < 0)
		return -1;
	return table ? run_of_table(m, table, offset, most, out, err)
		     : run_without_table(m, offset, most, out, err);
}

/* ---- made before the data ------------------------------------------------------------------------- */

/* Is cluster `index` of a refcount block in use? Section "Refcount blocks"; below 8 bits the first are the lowest. */
static int in_use(struct qcow2_map *m, uint64_t block, uint64_t index, bool *out, struct err *err)
{
	uint64_t word, bits = m->q.refcount_bits, bit = index * bits;
	if (word_at(m, block + bit / 64 * 8, &word, err) < 0)
		return -1;
	unsigned shift =
		(unsigned)(bits < 8 ? 56 - bit % 64 / 8 * 8 + bit % 8 : 64 - bits - bit % 64);
	*out = (word >> shift & (UINT64_MAX >> (64 - bits))) != 0;
	return 0;
}

/* How many clusters of the file's first `clusters` are in use, but no more than `enough`. */
static int count_in_use(
	struct qcow2_map *m, uint64_t clusters, uint64_t enough, uint64_t *out, struct err *err)
{
	uint64_t block = 0, count = 0, per_block = m->cluster * 8 / m->q.refcount_bits;
	uint64_t most = m->q.refcount_table_clusters * m->cluster / 8 * per_block;
	bool used;
	for (uint64_t i = 0; i < clusters && i < most && count < enough;) {
		if (i % per_block == 0 &&
			word_at(m, m->q.refcount_table_offset + i / per_block * 8, &block, err) < 0)
			return -1;
		block &= REFCOUNT_OFFSETS;
		if (block % m->cluster)
			return err_set(err, ERR_USAGE,
				"qcow2: a refcount block at %" PRIu64
				": not the start of a cluster",
				block);
		if (!block) {
			i += per_block;
			continue;
		}
		if (in_use(m, block, i % per_block, &used, err) < 0)
			return -1;
		count += used;
		i++;
	}
	*out = count;
	return 0;
}

bool qcow2_map_preallocated(struct qcow2_map *m)
{
	struct stat st;
	struct err err = ERR_INIT;
	uint64_t count = 0;
	if (fstat(m->fd, &st) < 0)
		return false;
	uint64_t clusters = (m->q.file_size + m->cluster - 1) / m->cluster;
	uint64_t real = (uint64_t)st.st_blocks * SECTOR / m->cluster;
	uint64_t enough = real * 10 / 9 > real + 2 ? real * 10 / 9 : real + 2;
	return clusters <= CLUSTERS_LOOKED_AT && enough <= clusters &&
	       count_in_use(m, clusters, enough, &count, &err) == 0 && count >= enough;
}
