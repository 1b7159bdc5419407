/*
 * Writing an empty qcow2 image, usually an overlay.
 *
 *	cluster 0	header, extensions, backing file's name
 *	next		refcount table		one entry per refcount block
 *	next		refcount blocks		16 bits, 1 for every cluster listed here
 *	last		L1 table		all zero: nothing is allocated
 *
 * The L1 table is never written: it is a hole, as is whatever else is zero, so that the largest
 * image too takes a few KiB. The header goes last, so a file whose writer was killed has no magic
 * and cannot be taken for an image.
 */
#include "images/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "images/qcow2_format.h"

#define REFCOUNT_BYTES 2

/* Where everything goes; offsets and counts are in clusters. */
struct layout {
	unsigned cluster_bits;
	uint64_t size;
	uint64_t l1_entries;
	uint64_t table_clusters, blocks, l1_clusters, total;
};

static uint64_t divide_up(uint64_t n, uint64_t by)
{
	return n / by + (n % by != 0);
}

uint64_t qcow2_max_size(unsigned cluster_bits)
{
	return (QCOW2_L1_BYTES_MAX / 8ULL) << (2 * cluster_bits - 3);
}

/* Refcount blocks count themselves and the table that lists them, so their number is iterated. */
static struct layout plan(uint64_t size, unsigned cluster_bits)
{
	uint64_t cluster = 1ULL << cluster_bits;
	struct layout l = {
		.cluster_bits = cluster_bits, .size = size, .table_clusters = 1, .blocks = 1};
	l.l1_entries = divide_up(size, 1ULL << (2 * cluster_bits - 3));
	l.l1_clusters = divide_up(l.l1_entries * 8, cluster);
	for (;;) {
		l.total = 1 + l.table_clusters + l.blocks + l.l1_clusters;
		uint64_t blocks = divide_up(l.total * REFCOUNT_BYTES, cluster);
		uint64_t table_clusters = divide_up(blocks * 8, cluster);
		if (blocks == l.blocks && table_clusters == l.table_clusters)
			return l;
		l.blocks = blocks;
		l.table_clusters = table_clusters;
	}
}

static int choose_layout(const struct qcow2_new *what, struct layout *out, struct err *err)
{
	unsigned bits = what->cluster_bits ? what->cluster_bits : 16;
	if (bits < QCOW2_CLUSTER_BITS_MIN || bits > QCOW2_CLUSTER_BITS_MAX)
		return err_set(
			err, ERR_USAGE, "a cluster of 2^%u bytes: it must be 2^9 to 2^21", bits);
	while (!what->cluster_bits && bits < QCOW2_CLUSTER_BITS_MAX &&
		what->size > qcow2_max_size(bits))
		bits++;
	if (what->size > qcow2_max_size(bits))
		return err_set(err, ERR_USAGE,
			"%" PRIu64 " bytes are more than qcow2 can have with clusters of %s: %s",
			what->size, str_size(1ULL << bits), str_size(qcow2_max_size(bits)));
	*out = plan((what->size + 511) & ~511ULL, bits);
	return 0;
}

static void add_extension(struct buf *head, uint32_t magic, const void *data, size_t len)
{
	static const char padding[8];
	const struct qcow2_extension e = {htobe32(magic), htobe32((uint32_t)len)};
	buf_add(head, &e, sizeof(e));
	buf_add(head, data, len);
	buf_add(head, padding, -len & 7);
}

/* Section "Feature name table": lets any program name a feature that it does not know. */
static void add_feature_names(struct buf *head)
{
	static const struct {
		uint8_t type, bit; /* type: 0 incompatible, 1 compatible, 2 autoclear */
		char name[46];
	} names[] = {
		{0, 0, "dirty bit"},
		{0, 1, "corrupt bit"},
		{0, 2, "external data file"},
		{0, 3, "compression type"},
		{0, 4, "extended L2 entries"},
		{1, 0, "lazy refcounts"},
		{2, 0, "bitmaps"},
		{2, 1, "raw external data"},
	};
	static_assert(sizeof(names[0]) == 48, "an entry of the feature name table");
	add_extension(head, QCOW2_EXTENSION_FEATURE_NAMES, names, sizeof(names));
}

/*
 * QEMU takes what stands before a ':' in the first part of a relative name for a protocol, so such
 * a name gets "./" in front.
 */
static const char *protocol_guard(const char *name)
{
	return name[strcspn(name, ":/")] == ':' ? "./" : "";
}

static int build_header(
	const struct layout *l, const struct qcow2_new *what, struct buf *head, struct err *err)
{
	size_t cluster = 1UL << l->cluster_bits;
	_cleanup_free_ char *backing = NULL;
	struct qcow2_header h = {
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(3),
		.cluster_bits = htobe32(l->cluster_bits),
		.size = htobe64(l->size),
		.l1_size = htobe32((uint32_t)l->l1_entries),
		.refcount_table_offset = htobe64(cluster),
		.refcount_table_clusters = htobe32((uint32_t)l->table_clusters),
		.refcount_order = htobe32(4),
		.header_length = htobe32(sizeof(h)),
	};
	if (l->l1_entries)
		h.l1_table_offset = htobe64((1 + l->table_clusters + l->blocks) << l->cluster_bits);
	buf_add(head, &h, sizeof(h));
	if (what->backing) {
		backing = str_fmt("%s%s",
			what->backing_is_node ? "" : protocol_guard(what->backing), what->backing);
		add_extension(head, QCOW2_EXTENSION_BACKING_FORMAT, what->backing_format,
			strlen(what->backing_format));
	}
	/* a cluster of 512 bytes has no room for the names; qemu-img leaves them out there too */
	if (cluster >= 4096)
		add_feature_names(head);
	add_extension(head, QCOW2_EXTENSION_END, "", 0);
	if (!backing)
		return 0;
	size_t len = strlen(backing);
	if (len == 0 || len > QCOW2_NAME_MAX || len > cluster - head->len)
		return err_set(err, ERR_USAGE,
			"the backing file's name has %zu bytes: 1 to %zu fit", len,
			cluster - head->len < QCOW2_NAME_MAX ? cluster - head->len
							     : QCOW2_NAME_MAX);
	struct qcow2_header *written = (struct qcow2_header *)head->data;
	written->backing_file_offset = htobe64(head->len);
	written->backing_file_size = htobe32((uint32_t)len);
	buf_str(head, backing);
	return 0;
}

static int write_at(int fd, const void *data, size_t len, uint64_t offset)
{
	const char *p = data;
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_refcounts(int fd, const struct layout *l, uint64_t at)
{
	uint64_t cluster = 1ULL << l->cluster_bits, first = 1 + l->table_clusters;
	_cleanup_buf_ struct buf table = {0}, counts = {0};
	const uint16_t one = htobe16(1);
	for (uint64_t i = 0; i < l->blocks; i++) {
		uint64_t entry = htobe64((first + i) * cluster);
		buf_add(&table, &entry, sizeof(entry));
	}
	for (uint64_t i = 0; i < l->total; i++)
		buf_add(&counts, &one, sizeof(one));
	if (write_at(fd, table.data, table.len, at + cluster) < 0)
		return -1;
	return write_at(fd, counts.data, counts.len, at + first * cluster);
}

static int write_image(
	int fd, const struct layout *l, const struct buf *head, const struct qcow2_new *what)
{
	if (ftruncate(fd, (off_t)(what->at + (l->total << l->cluster_bits))) < 0 ||
		write_refcounts(fd, l, what->at) < 0 ||
		write_at(fd, head->data, head->len, what->at) < 0)
		return -1;
	return what->durable ? fdatasync(fd) : 0;
}

static int prepare(const char *name, const struct qcow2_new *what, struct layout *l,
	struct buf *head, struct err *err)
{
	if (what->backing && !str_eq(what->backing_format, "qcow2") &&
		!str_eq(what->backing_format, "raw"))
		return err_set(err, ERR_USAGE,
			"'%s': the format of its backing file must be qcow2 or raw", name);
	if (choose_layout(what, l, err) < 0 || build_header(l, what, head, err) < 0)
		return err_prefix(err, "cannot make '%s'", name);
	return 0;
}

int qcow2_create_in(int fd, const char *name, const struct qcow2_new *what, struct err *err)
{
	struct layout l = {0};
	_cleanup_buf_ struct buf head = {0};
	if (prepare(name, what, &l, &head, err) < 0)
		return -1;
	return write_image(fd, &l, &head, what) < 0 ? err_errno(err, "cannot write '%s'", name) : 0;
}

int qcow2_create(int dir_fd, const char *name, const struct qcow2_new *what, struct err *err)
{
	struct layout l = {0};
	_cleanup_buf_ struct buf head = {0};
	if (prepare(name, what, &l, &head, err) < 0)
		return -1;
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "cannot make '%s'", name);
	if (write_image(fd, &l, &head, what) < 0) {
		err_errno(err, "cannot write '%s'", name);
		unlinkat(dir_fd, name, 0);
		return -1;
	}
	return 0;
}
