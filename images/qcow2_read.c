/*
 * Reading a qcow2 header that nobody vouches for.
 *
 * Everything of the file that is looked at: the header, at most EXTENSIONS_MAX extensions of which
 * three matter, and the backing file's name. Every offset and length is held against the file's size
 * before it is used, nothing is allocated, and the tables are never read: their place and size are
 * checked, what they say is QEMU's affair.
 *
 * The checks are those that QEMU makes when it opens an image, plus a few it leaves out because its
 * code survives without them: tables must lie inside the file and may not overlap one another.
 */
#include "images/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/qcow2_format.h"

#define EXTENSIONS_MAX 64
/* Section "Snapshots": what an entry of the snapshot table has at least. */
#define SNAPSHOT_BYTES_MIN 40

struct file {
	int fd;
	uint64_t size;
};

static int bad(struct err *err, const char *field, uint64_t value, const char *why)
{
	return err_set(err, ERR_USAGE, "qcow2 header: %s is %" PRIu64 ": %s", field, value, why);
}

static int read_at(const struct file *f, uint64_t offset, void *out, size_t len, const char *what,
	struct err *err)
{
	if (offset > f->size || len > f->size - offset)
		return err_set(err, ERR_USAGE,
			"qcow2 header: %s lies beyond the end of the file, which has %" PRIu64
			" bytes",
			what, f->size);
	ssize_t n = pread(f->fd, out, len, (off_t)offset);
	if (n < 0)
		return err_errno(err, "cannot read the qcow2 header");
	if ((size_t)n < len)
		return err_set(err, ERR_USAGE, "the file became shorter while it was read");
	return 0;
}

static void to_host(struct qcow2_header *h)
{
	h->magic = be32toh(h->magic);
	h->version = be32toh(h->version);
	h->backing_file_offset = be64toh(h->backing_file_offset);
	h->backing_file_size = be32toh(h->backing_file_size);
	h->cluster_bits = be32toh(h->cluster_bits);
	h->size = be64toh(h->size);
	h->crypt_method = be32toh(h->crypt_method);
	h->l1_size = be32toh(h->l1_size);
	h->l1_table_offset = be64toh(h->l1_table_offset);
	h->refcount_table_offset = be64toh(h->refcount_table_offset);
	h->refcount_table_clusters = be32toh(h->refcount_table_clusters);
	h->nb_snapshots = be32toh(h->nb_snapshots);
	h->snapshots_offset = be64toh(h->snapshots_offset);
	h->incompatible_features = be64toh(h->incompatible_features);
	h->compatible_features = be64toh(h->compatible_features);
	h->autoclear_features = be64toh(h->autoclear_features);
	h->refcount_order = be32toh(h->refcount_order);
	h->header_length = be32toh(h->header_length);
}

int qcow2_probe(int fd, struct err *err)
{
	uint32_t magic;
	ssize_t n = pread(fd, &magic, sizeof(magic), 0);
	if (n < 0)
		return err_errno(err, "cannot read the first bytes");
	return n == sizeof(magic) && be32toh(magic) == QCOW2_MAGIC;
}

/* The header in host order, whatever its version; what a version lacks has its default. */
static int load(const struct file *f, struct qcow2_header *out, struct err *err)
{
	struct qcow2_header h = {0};
	int probed = qcow2_probe(f->fd, err);
	if (probed < 0)
		return -1;
	if (!probed)
		return err_set(err, ERR_USAGE, "not a qcow2 image: the magic is missing");
	if (read_at(f, 0, &h, QCOW2_V2_LENGTH, "the header", err) < 0)
		return -1;
	uint32_t version = be32toh(h.version);
	if (version != 2 && version != 3)
		return bad(err, "version", version, "only 2 and 3 are known");
	if (version == 3 && read_at(f, 0, &h, QCOW2_V3_LENGTH, "the header", err) < 0)
		return -1;
	to_host(&h);
	if (version == 2) {
		h.refcount_order = 4;
		h.header_length = QCOW2_V2_LENGTH;
	}
	if (h.cluster_bits < QCOW2_CLUSTER_BITS_MIN || h.cluster_bits > QCOW2_CLUSTER_BITS_MAX)
		return bad(err, "cluster_bits", h.cluster_bits, "it must be 9 to 21");
	if (version == 3 && h.header_length < QCOW2_V3_LENGTH)
		return bad(err, "header_length", h.header_length, "version 3 has at least 104");
	if (h.header_length > 1U << h.cluster_bits)
		return bad(err, "header_length", h.header_length, "more than a cluster");
	if (h.header_length > QCOW2_V3_LENGTH &&
		read_at(f, QCOW2_V3_LENGTH, &h.compression_type, 1, "compression_type", err) < 0)
		return -1;
	*out = h;
	return 0;
}

static int check_features(const struct qcow2_header *h, struct err *err)
{
	if (h->crypt_method > 2)
		return bad(err, "crypt_method", h->crypt_method, "only 0, 1 and 2 are known");
	if (h->refcount_order > QCOW2_REFCOUNT_ORDER_MAX)
		return bad(err, "refcount_order", h->refcount_order, "it must be 0 to 6");
	if (h->compression_type > 1)
		return bad(err, "compression_type", h->compression_type, "only 0 and 1 are known");
	if (!h->compression_type != !(h->incompatible_features & QCOW2_INCOMPATIBLE_COMPRESSION))
		return bad(err, "compression_type", h->compression_type,
			"the feature bit for it says otherwise");
	if ((h->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) && h->cluster_bits < 14)
		return bad(err, "cluster_bits", h->cluster_bits,
			"extended L2 entries need 14 or more");
	return 0;
}

/* How many L1 entries `size` bytes need. An L2 entry has 8 bytes, or 16 with subclusters. */
static uint64_t l1_entries(const struct qcow2_header *h)
{
	unsigned entry_bits = h->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2 ? 4 : 3;
	unsigned shift = 2 * h->cluster_bits - entry_bits;
	return (h->size >> shift) + ((h->size & ((1ULL << shift) - 1)) != 0);
}

/* A stretch of the file that the header points to. */
struct table {
	const char *field;
	uint64_t offset, length;
};

static int check_table(
	const struct table *t, const struct file *f, uint64_t cluster, struct err *err)
{
	if (t->offset % cluster)
		return bad(err, t->field, t->offset, "not at the start of a cluster");
	if (t->offset > f->size || t->length > f->size - t->offset)
		return bad(err, t->field, t->offset, "the table lies beyond the end of the file");
	return 0;
}

static int check_overlaps(const struct table *tables, size_t count, struct err *err)
{
	for (size_t i = 1; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct table *a = &tables[i], *b = &tables[j];
			if (a->length && b->length && a->offset < b->offset + b->length &&
				b->offset < a->offset + a->length)
				return err_set(err, ERR_USAGE,
					"qcow2 header: %s and %s overlap (at %" PRIu64
					" and %" PRIu64 ")",
					a->field, b->field, a->offset, b->offset);
		}
	}
	return 0;
}

static int check_tables(const struct qcow2_header *h, const struct file *f,
	const struct qcow2_info *info, struct err *err)
{
	uint64_t cluster = 1ULL << h->cluster_bits;
	const struct table tables[] = {
		{"the header", 0, cluster},
		{"refcount_table_offset", h->refcount_table_offset,
			(uint64_t)h->refcount_table_clusters * cluster},
		{"l1_table_offset", h->l1_table_offset, (uint64_t)h->l1_size * 8},
		{"snapshots_offset", h->snapshots_offset,
			(uint64_t)h->nb_snapshots * SNAPSHOT_BYTES_MIN},
		{"bitmap_directory_offset", info->bitmaps_offset, info->bitmaps_size},
	};
	if (tables[2].length > QCOW2_L1_BYTES_MAX)
		return bad(err, "l1_size", h->l1_size, "the L1 table has at most 32 MiB");
	if (l1_entries(h) > h->l1_size)
		return bad(err, "size", h->size, "more than the L1 table can map");
	if (!h->refcount_table_clusters)
		return bad(err, "refcount_table_clusters", 0, "there is no refcount table");
	if (tables[1].length > QCOW2_REFTABLE_BYTES_MAX)
		return bad(err, "refcount_table_clusters", h->refcount_table_clusters,
			"the refcount table has at most 8 MiB");
	if (h->nb_snapshots > QCOW2_SNAPSHOTS_MAX)
		return bad(err, "nb_snapshots", h->nb_snapshots, "at most 65536 are possible");
	for (size_t i = 1; i < ARRAY_SIZE(tables); i++)
		if (tables[i].length && check_table(&tables[i], f, cluster, err) < 0)
			return -1;
	return check_overlaps(tables, ARRAY_SIZE(tables), err);
}

/* Text of the file into out[room]; a NUL inside would hide what comes after it. */
static int read_text(const struct file *f, uint64_t offset, uint32_t len, const char *what,
	char *out, size_t room, struct err *err)
{
	if (len >= room)
		return bad(err, what, len, "too long");
	if (read_at(f, offset, out, len, what, err) < 0)
		return -1;
	out[len] = '\0';
	if (strlen(out) != len)
		return err_set(err, ERR_USAGE, "qcow2 header: %s contains a NUL", what);
	return 0;
}

static int read_backing(const struct qcow2_header *h, const struct file *f, struct qcow2_info *info,
	struct err *err)
{
	uint64_t offset = h->backing_file_offset, cluster = 1ULL << h->cluster_bits;
	if (offset == 0 || h->backing_file_size == 0)
		return 0;
	if (h->backing_file_size > QCOW2_NAME_MAX)
		return bad(
			err, "backing_file_size", h->backing_file_size, "at most 1023 is allowed");
	if (offset < h->header_length)
		return bad(err, "backing_file_offset", offset, "it points into the header");
	if (offset > cluster || h->backing_file_size > cluster - offset)
		return bad(err, "backing_file_offset", offset,
			"the name does not end within the first cluster");
	info->has_backing = true;
	return read_text(f, offset, h->backing_file_size, "the length of the backing file's name",
		info->backing, sizeof(info->backing), err);
}

static int read_crypt(const struct qcow2_header *h, const struct file *f, uint64_t at, uint32_t len,
	struct qcow2_info *info, struct err *err)
{
	struct qcow2_crypt_extension x;
	if (h->crypt_method != QCOW2_CRYPT_LUKS)
		return bad(err, "crypt_method", h->crypt_method,
			"an encryption header is there, and this method has none");
	if (len != sizeof(x))
		return bad(err, "the length of the encryption extension", len, "it must be 16");
	if (read_at(f, at, &x, sizeof(x), "the encryption extension", err) < 0)
		return -1;
	info->crypt_offset = be64toh(x.offset);
	info->crypt_size = be64toh(x.length);
	if (info->crypt_offset % (1ULL << h->cluster_bits))
		return bad(err, "the encryption header's offset", info->crypt_offset,
			"not at the start of a cluster");
	return 0;
}

/* Without its autoclear bit somebody has written to the image who knew nothing of bitmaps: there are none. */
static int read_bitmaps(const struct qcow2_header *h, const struct file *f, uint64_t at,
	uint32_t len, struct qcow2_info *info, struct err *err)
{
	struct qcow2_bitmaps_extension x;
	if (!(h->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (len != sizeof(x))
		return bad(err, "the length of the bitmaps extension", len, "it must be 24");
	if (read_at(f, at, &x, sizeof(x), "the bitmaps extension", err) < 0)
		return -1;
	info->bitmaps = be32toh(x.count);
	info->bitmaps_size = be64toh(x.directory_size);
	info->bitmaps_offset = be64toh(x.directory_offset);
	if (x.reserved)
		return bad(err, "the reserved field of the bitmaps extension", be32toh(x.reserved),
			"it must be 0");
	if (!info->bitmaps || info->bitmaps > QCOW2_BITMAPS_MAX)
		return bad(err, "nb_bitmaps", info->bitmaps, "it must be 1 to 65535");
	if (!info->bitmaps_size || info->bitmaps_size > QCOW2_BITMAP_DIRECTORY_MAX)
		return bad(err, "bitmap_directory_size", info->bitmaps_size,
			"no directory has that size");
	return 0;
}

/* Section "Header extensions": from the header's end to the backing name or the cluster's end. */
static int read_extensions(const struct qcow2_header *h, const struct file *f,
	struct qcow2_info *info, struct err *err)
{
	uint64_t at = h->header_length, end = 1ULL << h->cluster_bits;
	if (h->backing_file_offset && h->backing_file_offset < end)
		end = h->backing_file_offset;
	for (unsigned seen = 0; at < end; seen++) {
		struct qcow2_extension e;
		if (seen == EXTENSIONS_MAX)
			return err_set(err, ERR_USAGE, "qcow2 header: more than %d extensions",
				EXTENSIONS_MAX);
		if (end - at < sizeof(e))
			return bad(err, "the offset of a header extension", at, "it is cut off");
		if (read_at(f, at, &e, sizeof(e), "a header extension", err) < 0)
			return -1;
		e.magic = be32toh(e.magic);
		e.length = be32toh(e.length);
		at += sizeof(e);
		if (e.magic == QCOW2_EXTENSION_END)
			return 0;
		if (e.length > end - at)
			return bad(err, "the length of a header extension", e.length,
				"it does not end within its area");
		if (e.magic == QCOW2_EXTENSION_DATA_FILE) {
			info->data_file = true;
			if (read_text(f, at, e.length, "the length of the data file's name",
				    info->data_file_name, sizeof(info->data_file_name), err) < 0)
				return -1;
		}
		if (e.magic == QCOW2_EXTENSION_BACKING_FORMAT &&
			read_text(f, at, e.length, "the length of the backing format",
				info->backing_format, sizeof(info->backing_format), err) < 0)
			return -1;
		if (e.magic == QCOW2_EXTENSION_BITMAPS &&
			read_bitmaps(h, f, at, e.length, info, err) < 0)
			return -1;
		if (e.magic == QCOW2_EXTENSION_CRYPT &&
			read_crypt(h, f, at, e.length, info, err) < 0)
			return -1;
		at += (e.length + 7ULL) & ~7ULL;
	}
	return 0;
}

int qcow2_read(int fd, struct qcow2_info *out, struct err *err)
{
	struct stat st;
	struct qcow2_header h = {0};
	if (fstat(fd, &st) < 0)
		return err_errno(err, "cannot look at the file");
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "not a regular file");
	const struct file f = {.fd = fd, .size = (uint64_t)st.st_size};
	if (load(&f, &h, err) < 0 || check_features(&h, err) < 0)
		return -1;
	struct qcow2_info info = {
		.version = h.version,
		.cluster_bits = h.cluster_bits,
		.virtual_size = h.size & ~511ULL, /* as QEMU does: whole sectors */
		.file_size = f.size,
		.incompatible = h.incompatible_features,
		.compatible = h.compatible_features,
		.autoclear = h.autoclear_features,
		.refcount_bits = 1U << h.refcount_order,
		.compression = h.compression_type,
		.encrypted = h.crypt_method != 0,
		.crypt_method = h.crypt_method,
		.dirty = h.incompatible_features & QCOW2_INCOMPATIBLE_DIRTY,
		.corrupt = h.incompatible_features & QCOW2_INCOMPATIBLE_CORRUPT,
		.data_file = h.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE,
		.extended_l2 = h.incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2,
		.snapshots = h.nb_snapshots,
		.snapshots_offset = h.snapshots_offset,
		.l1_offset = h.l1_table_offset,
		.l1_entries = h.l1_size,
		.refcount_table_offset = h.refcount_table_offset,
		.refcount_table_clusters = h.refcount_table_clusters,
	};
	if (read_extensions(&h, &f, &info, err) < 0 || check_tables(&h, &f, &info, err) < 0 ||
		read_backing(&h, &f, &info, err) < 0)
		return -1;
	*out = info;
	return 0;
}

int qcow2_may_stand(const struct qcow2_info *info, const char *what, struct err *err)
{
	if (info->incompatible & ~QCOW2_INCOMPATIBLE_KNOWN) {
		err_set(err, ERR_REFUSED,
			"'%s' uses incompatible qcow2 features unknown here (0x%" PRIx64 ")", what,
			(uint64_t)(info->incompatible & ~QCOW2_INCOMPATIBLE_KNOWN));
		return err_hint(err, "convert it where it was made: qemu-img convert -O qcow2");
	}
	if (info->data_file) {
		err_set(err, ERR_REFUSED, "'%s' keeps its data in an external data file", what);
		return err_hint(
			err, "if you trust it, make one file of both: qemu-img convert -O qcow2");
	}
	if (info->encrypted) {
		err_set(err, ERR_REFUSED, "'%s' is encrypted", what);
		return err_hint(
			err, "decrypt it into a new image with qemu-img convert --image-opts");
	}
	if (info->corrupt) {
		err_set(err, ERR_REFUSED, "'%s' is marked corrupt", what);
		return err_hint(err, "`roost image check --repair all` mends what can be mended");
	}
	return 0;
}

int qcow2_may_enter(const struct qcow2_info *info, const char *what, struct err *err)
{
	if (qcow2_may_stand(info, what, err) < 0)
		return -1;
	if (info->has_backing) {
		err_set(err, ERR_REFUSED,
			"'%s' has a backing file, '%s': an image must stand alone", what,
			info->backing);
		return err_hint(err,
			"if you trust it: `roost image convert --format qcow2 FILE NEW.qcow2` makes one that does");
	}
	return 0;
}
