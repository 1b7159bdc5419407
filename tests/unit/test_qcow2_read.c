/*
 * images/qcow2_read.c: every kind of image that qemu-img can make is read as qemu-img describes it,
 * and a hostile header is refused by the field that is wrong.
 */
#include "scratch.h"

#include <endian.h>
#include <stdio.h>

#include "images/qcow2.h"
#include "images/qcow2_bitmaps.h"

#define MIB (1ULL << 20)

static int read_image(const char *name, struct qcow2_info *info, struct err *err)
{
	_cleanup_close_ int fd = open(name, O_RDONLY);
	assert_true(fd >= 0);
	return qcow2_read(fd, info, err);
}

/* ---- what qemu-img makes ------------------------------------------------------------------------- */

static json_t *describe(const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf out = {0};
	assert_int_equal(TOOL(&out, QEMU_IMG, "info", "--output=json", "-f", "qcow2", name), 0);
	json_t *o = json_text_parse(out.data, out.len, &err);
	if (!o)
		fail_msg("%s", err.message);
	return o;
}

/* Reads `name` and holds it against what qemu-img says of it. */
static struct qcow2_info assert_agrees(const char *name)
{
	struct err err = ERR_INIT;
	struct qcow2_info info;
	_cleanup_json_ json_t *o = describe(name);
	const json_t *data = json_object_get(json_object_get(o, "format-specific"), "data");
	if (read_image(name, &info, &err) < 0)
		fail_msg("%s: %s", name, err.message);
	assert_int_equal(info.version, str_eq(json_get_str(data, "compat", ""), "0.10") ? 2 : 3);
	assert_int_equal(info.virtual_size, json_get_int(o, "virtual-size", -1));
	assert_int_equal(1 << info.cluster_bits, json_get_int(o, "cluster-size", -1));
	assert_int_equal(info.refcount_bits, json_get_int(data, "refcount-bits", -1));
	assert_string_equal(
		info.compression ? "zstd" : "zlib", json_get_str(data, "compression-type", ""));
	assert_int_equal(info.extended_l2, json_get_bool(data, "extended-l2", false));
	assert_int_equal(info.encrypted, json_get_bool(o, "encrypted", false));
	assert_int_equal(info.dirty, json_get_bool(o, "dirty-flag", false));
	assert_int_equal(info.corrupt, json_get_bool(data, "corrupt", false));
	assert_int_equal(info.data_file, json_object_get(data, "data-file") != NULL);
	assert_int_equal(info.snapshots, json_array_size(json_object_get(o, "snapshots")));
	assert_int_equal(info.has_backing, json_object_get(o, "backing-filename") != NULL);
	assert_string_equal(info.backing, json_get_str(o, "backing-filename", ""));
	assert_string_equal(info.backing_format, json_get_str(o, "backing-filename-format", ""));
	return info;
}

static void every_option(void **state)
{
	(void)state;
	static const char *const options[] = {
		"compat=0.10",
		"compat=1.1",
		"compat=0.10,cluster_size=512",
		"cluster_size=512",
		"cluster_size=1k",
		"cluster_size=2k",
		"cluster_size=4k",
		"cluster_size=8k",
		"cluster_size=16k",
		"cluster_size=32k",
		"cluster_size=128k",
		"cluster_size=256k",
		"cluster_size=512k",
		"cluster_size=1M",
		"cluster_size=2M",
		"extended_l2=on",
		"extended_l2=on,cluster_size=16k",
		"extended_l2=on,cluster_size=2M",
		"lazy_refcounts=on",
		"compression_type=zstd",
		"compression_type=zlib",
		"refcount_bits=1",
		"refcount_bits=2",
		"refcount_bits=4",
		"refcount_bits=8",
		"refcount_bits=32",
		"refcount_bits=64",
		"preallocation=metadata",
		"preallocation=falloc",
		"preallocation=full",
		"preallocation=metadata,cluster_size=512,refcount_bits=64",
	};
	static const char *const sizes[] = {"0", "512", "1M", "40M"};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(options) * ARRAY_SIZE(sizes); i++) {
		MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", options[i / ARRAY_SIZE(sizes)],
			"d", sizes[i % ARRAY_SIZE(sizes)]);
		struct qcow2_info info = assert_agrees("d");
		assert_int_equal(qcow2_may_enter(&info, "d", &err), 0);
	}
}

static void assert_may_not_enter(const struct qcow2_info *info, const char *why)
{
	struct err err = ERR_INIT;
	assert_int_equal(qcow2_may_enter(info, "d", &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	if (!strstr(err.message, why))
		fail_msg("'%s' lacks '%s'", err.message, why);
	assert_true(err.hint[0]);
}

static void not_allowed_in(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	make_luks("qcow2", QCOW2_LUKS, "d", "1M");
	struct qcow2_info info = assert_agrees("d");
	assert_true(info.encrypted);
	assert_may_not_enter(&info, "encrypted");

	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=data", "d", "1M");
	info = assert_agrees("d");
	assert_true(info.data_file);
	assert_may_not_enter(&info, "external data file");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=data,data_file_raw=on", "d",
		"1M");
	info = assert_agrees("d");
	assert_may_not_enter(&info, "external data file");

	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "base", "1M");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "d", "2M");
	info = assert_agrees("d");
	assert_string_equal(info.backing, "base");
	assert_may_not_enter(&info, "backing file, 'base'");
	assert_int_equal(qcow2_may_stand(&info, "d", &err), 0);
	MUST(QEMU_IMG, "rebase", "-u", "-b", "", "d");
	info = assert_agrees("d");
	assert_false(info.has_backing);
	assert_int_equal(qcow2_may_enter(&info, "d", &err), 0);
}

static void what_images_carry(void **state)
{
	(void)state;
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "d", "4M");
	MUST(QEMU_IO, "-f", "qcow2", "-c", "write 0 1M", "d");
	MUST(QEMU_IMG, "snapshot", "-c", "one", "d");
	MUST(QEMU_IMG, "snapshot", "-c", "two", "d");
	assert_int_equal(assert_agrees("d").snapshots, 2);
	MUST(QEMU_IMG, "bitmap", "-f", "qcow2", "--add", "d", "b0");
	assert_int_equal(assert_agrees("d").autoclear, 1);
	MUST(QEMU_IMG, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "d", "e");
	assert_int_equal(assert_agrees("e").compression, 1);
	MUST(QEMU_IMG, "resize", "-q", "-f", "qcow2", "e", "100G");
	assert_agrees("e");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "f", "4M");
	MUST(QEMU_IMG, "amend", "-f", "qcow2", "-o", "compat=0.10", "f");
	assert_int_equal(assert_agrees("f").version, 2);
}

/* A name of every length that fits, at any place in the cluster. */
static void long_names(void **state)
{
	(void)state;
	char name[1024];
	struct err err = ERR_INIT;
	for (size_t len = 1; len < sizeof(name); len += 73) {
		memset(name, 'n', len);
		name[len] = '\0';
		unlink("d");
		const struct qcow2_new what = {
			.size = MIB, .backing = name, .backing_format = "raw"};
		assert_int_equal(qcow2_create(AT_FDCWD, "d", &what, &err), 0);
		struct qcow2_info info;
		assert_int_equal(read_image("d", &info, &err), 0);
		assert_string_equal(info.backing, name);
	}
}

/* ---- what an attacker makes ---------------------------------------------------------------------- */

/* Fresh: an overlay with 64 KiB clusters; header at 0, refcounts at 1 and 2, L1 at cluster 3. */
static void make_victim(const char *name)
{
	struct err err = ERR_INIT;
	const struct qcow2_new what = {.size = MIB, .backing = "base", .backing_format = "qcow2"};
	unlink(name);
	assert_int_equal(qcow2_create(AT_FDCWD, name, &what, &err), 0);
}

static void patch(const char *name, off_t at, uint64_t value, size_t width)
{
	_cleanup_close_ int fd = open(name, O_WRONLY);
	uint64_t wide = htobe64(value);
	assert_int_equal(pwrite(fd, (char *)&wide + 8 - width, width, at), width);
}

/* Bytes of the header: offset, width. */
#define VERSION         4, 4
#define BACKING_OFFSET  8, 8
#define BACKING_SIZE    16, 4
#define CLUSTER_BITS    20, 4
#define SIZE            24, 8
#define CRYPT           32, 4
#define L1_SIZE         36, 4
#define L1_OFFSET       40, 8
#define REFTABLE_OFFSET 48, 8
#define REFTABLE_SIZE   56, 4
#define SNAPSHOTS       60, 4
#define SNAPSHOT_OFFSET 64, 8
#define INCOMPATIBLE    72, 8
#define REFCOUNT_ORDER  96, 4
#define HEADER_LENGTH   100, 4
#define COMPRESSION     104, 1
#define EXTENSION_SIZE  116, 4 /* of the first, the backing format */

static const struct {
	off_t at;
	size_t width;
	uint64_t value;
	const char *why;
} hostile[] = {
	{0, 4, 0x514649fc, "magic is missing"},
	{VERSION, 1, "version is 1"},
	{VERSION, 4, "version is 4"},
	{VERSION, UINT32_MAX, "version is"},
	{BACKING_OFFSET, 100, "backing_file_offset is 100: it points into the header"},
	{BACKING_OFFSET, 65534, "does not end within the first cluster"},
	{BACKING_OFFSET, 65537, "does not end within the first cluster"},
	{BACKING_OFFSET, UINT64_MAX, "does not end within the first cluster"},
	{BACKING_OFFSET, 1ULL << 63, "does not end within the first cluster"},
	{BACKING_OFFSET, 115, "the offset of a header extension is 112: it is cut off"},
	{BACKING_SIZE, 1024, "backing_file_size is 1024"},
	{BACKING_SIZE, UINT32_MAX, "backing_file_size is 4294967295"},
	{BACKING_SIZE, 5, "contains a NUL"},
	{CLUSTER_BITS, 0, "cluster_bits is 0"},
	{CLUSTER_BITS, 8, "cluster_bits is 8"},
	{CLUSTER_BITS, 22, "cluster_bits is 22"},
	{CLUSTER_BITS, 40, "cluster_bits is 40"},
	{CLUSTER_BITS, UINT32_MAX, "cluster_bits is"},
	{CLUSTER_BITS, 17, "refcount_table_offset is 65536: not at the start of a cluster"},
	{SIZE, 1ULL << 62, "size is 4611686018427387904: more than the L1 table can map"},
	{SIZE, UINT64_MAX, "more than the L1 table can map"},
	{SIZE, (512ULL << 20) + 1, "more than the L1 table can map"},
	{CRYPT, 3, "crypt_method is 3"},
	{L1_SIZE, 0, "more than the L1 table can map"},
	{L1_SIZE, 1U << 31, "l1_size is 2147483648: the L1 table has at most 32 MiB"},
	{L1_SIZE, UINT32_MAX, "at most 32 MiB"},
	{L1_SIZE, 4U << 20, "l1_table_offset is 196608: the table lies beyond the end"},
	{L1_OFFSET, 0, "l1_table_offset and the header overlap"},
	{L1_OFFSET, 65536, "l1_table_offset and refcount_table_offset overlap"},
	{L1_OFFSET, 196609, "not at the start of a cluster"},
	{L1_OFFSET, 262144, "beyond the end of the file"},
	{L1_OFFSET, 0xffffffffffff0000, "beyond the end of the file"},
	{REFTABLE_OFFSET, 0, "refcount_table_offset and the header overlap"},
	{REFTABLE_OFFSET, 196608, "l1_table_offset and refcount_table_offset overlap"},
	{REFTABLE_OFFSET, 0x7fffffffffff0000, "beyond the end of the file"},
	{REFTABLE_SIZE, 0, "there is no refcount table"},
	{REFTABLE_SIZE, 3, "l1_table_offset and refcount_table_offset overlap"},
	{REFTABLE_SIZE, 4, "beyond the end of the file"},
	{REFTABLE_SIZE, UINT32_MAX, "at most 8 MiB"},
	{SNAPSHOTS, 65537, "nb_snapshots is 65537"},
	{SNAPSHOTS, 1, "snapshots_offset and the header overlap"},
	{SNAPSHOT_OFFSET, 7, NULL}, /* without snapshots it means nothing */
	{INCOMPATIBLE, 1ULL << 3, "compression_type is 0: the feature bit"},
	{REFCOUNT_ORDER, 7, "refcount_order is 7"},
	{REFCOUNT_ORDER, 60, "refcount_order is 60"},
	{HEADER_LENGTH, 0, "header_length is 0"},
	{HEADER_LENGTH, 103, "header_length is 103"},
	{HEADER_LENGTH, 65537, "header_length is 65537: more than a cluster"},
	{HEADER_LENGTH, UINT32_MAX, "more than a cluster"},
	{COMPRESSION, 1, "compression_type is 1: the feature bit"},
	{COMPRESSION, 2, "compression_type is 2"},
	{EXTENSION_SIZE, 32, "the length of the backing format is 32: too long"},
	{EXTENSION_SIZE, 1024, "does not end within its area"},
	{EXTENSION_SIZE, UINT32_MAX, "does not end within its area"},
	{EXTENSION_SIZE, 6, "contains a NUL"},
};

static void hostile_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct err err = ERR_INIT;
		struct qcow2_info info, before;
		memset(&info, 0x5a, sizeof(info));
		before = info;
		make_victim("v");
		patch("v", hostile[i].at, hostile[i].value, hostile[i].width);
		int result = read_image("v", &info, &err);
		assert_int_equal(result, hostile[i].why ? -1 : 0);
		if (!hostile[i].why)
			continue;
		assert_int_equal(err.kind, ERR_USAGE);
		assert_memory_equal(&info, &before, sizeof(info));
		if (!strstr(err.message, hostile[i].why))
			fail_msg("'%s' lacks '%s'", err.message, hostile[i].why);
	}
}

/* What may be read but not be used. */
static void marks(void **state)
{
	(void)state;
	static const struct {
		unsigned bit;
		const char *why;
	} rows[] = {{1, "marked corrupt"}, {2, "external data file"}, {5, "unknown here (0x20)"},
		{63, "unknown here (0x8000000000000000)"}, {0, "has a backing file"},
		{4, "has a backing file"}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct qcow2_info info;
		make_victim("v");
		patch("v", 72, 1ULL << rows[i].bit, 8);
		assert_int_equal(read_image("v", &info, &err), 0);
		assert_may_not_enter(&info, rows[i].why);
	}
	/* the name of a data file without the feature bit */
	struct err err = ERR_INIT;
	struct qcow2_info info;
	make_victim("v");
	patch("v", 112, 0x44415441, 4);
	assert_int_equal(read_image("v", &info, &err), 0);
	assert_may_not_enter(&info, "external data file");
}

/* A size that is no multiple of 512, and L2 entries of 16 bytes, which map half as much. */
/* Where the data of the bitmaps extension is. */
static off_t bitmaps_extension(const char *name)
{
	uint32_t magic = 0;
	_cleanup_close_ int fd = open(name, O_RDONLY);
	for (off_t at = 104; at < 65536; at += 8)
		if (pread(fd, &magic, sizeof(magic), at) == sizeof(magic) &&
			be32toh(magic) == 0x23852875)
			return at + 8;
	fail();
	return 0;
}

static int read_bitmaps(const char *name, struct err *err)
{
	struct qcow2_info info;
	_cleanup_close_ int fd = open(name, O_RDONLY);
	if (qcow2_read(fd, &info, err) < 0)
		return -1;
	assert_int_not_equal(info.bitmaps, 0);
	_cleanup_json_ json_t *list = qcow2_bitmaps(fd, &info, err);
	return list ? (int)json_array_size(list) : -1;
}

static void hostile_bitmaps(void **state)
{
	(void)state;
	static const struct {
		bool directory; /* else in the extension */
		off_t at;
		size_t width;
		uint64_t value;
		const char *why;
	} cases[] = {
		{false, -4, 4, 16, "must be 24"},
		{false, 0, 4, 0, "nb_bitmaps"},
		{false, 0, 4, 70000, "nb_bitmaps"},
		{false, 0, 4, 2, "does not end within the directory"},
		{false, 4, 4, 1, "reserved"},
		{false, 8, 8, 0, "bitmap_directory_size"},
		{false, 8, 8, UINT64_MAX, "bitmap_directory_size"},
		{false, 8, 8, 60 << 20, "beyond the end"},
		{false, 8, 8, 40, "more bitmaps"},
		{false, 8, 8, 24, "does not end within the directory"},
		{false, 16, 8, 0, "overlap"},
		{false, 16, 8, 65537, "cluster"},
		{false, 16, 8, 1ULL << 62, "beyond the end"},
		{true, 0, 8, 0, "at no place"},
		{true, 0, 8, 1, "at no place"},
		{true, 0, 8, 1ULL << 62, "at no place"},
		{true, 8, 4, 0, "no size"},
		{true, 8, 4, UINT32_MAX, "no size"},
		{true, 12, 4, 4, "unknown flags"},
		{true, 16, 1, 2, "type"},
		{true, 17, 1, 8, "granularity"},
		{true, 17, 1, 200, "granularity"},
		{true, 18, 2, 0, "name"},
		{true, 18, 2, 2000, "name"},
		{true, 18, 2, 1023, "does not end within the directory"},
		{true, 20, 4, 8, "extra data"},
	};
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "bitmaps", "1M");
	MUST(QEMU_IMG, "bitmap", "--add", "bitmaps", "b0");
	struct err err = ERR_INIT;
	struct qcow2_info info;
	off_t extension = bitmaps_extension("bitmaps");
	assert_int_equal(read_bitmaps("bitmaps", &err), 1);
	assert_int_equal(read_image("bitmaps", &info, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		off_t from = cases[i].directory ? (off_t)info.bitmaps_offset : extension;
		MUST("/bin/cp", "bitmaps", "spoilt");
		assert_int_equal(truncate("spoilt", 1 << 20), 0);
		patch("spoilt", from + cases[i].at, cases[i].value, cases[i].width);
		err = (struct err)ERR_INIT;
		if (read_bitmaps("spoilt", &err) >= 0 || !strstr(err.message, cases[i].why))
			fail_msg("case %zu: '%s', not '%s'", i, err.message, cases[i].why);
	}
	/* somebody has written to it who knew nothing of them */
	patch("bitmaps", 88, 0, 8);
	assert_int_equal(read_image("bitmaps", &info, &err), 0);
	assert_int_equal(info.bitmaps, 0);
}

static void odd_sizes(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct qcow2_info info;
	make_victim("v");
	patch("v", 24, 1000, 8);
	assert_int_equal(assert_agrees("v").virtual_size, 512);
	patch("v", 24, 512 << 20, 8);
	assert_agrees("v");
	patch("v", 72, 1 << 4, 8);
	assert_int_equal(read_image("v", &info, &err), -1);
	assert_non_null(strstr(err.message, "more than the L1 table can map"));
	patch("v", 24, 256 << 20, 8);
	assert_agrees("v");
}

static void endless_extensions(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct qcow2_info info;
	make_victim("v");
	patch("v", 8, 0, 8);
	for (off_t at = 112; at < 65536; at += 8)
		patch("v", at, 0x1234567800000000, 8);
	assert_int_equal(read_image("v", &info, &err), -1);
	assert_non_null(strstr(err.message, "more than 64 extensions"));
}

static void truncated(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	const struct qcow2_new what = {
		.size = MIB, .cluster_bits = 9, .backing = "base", .backing_format = "qcow2"};
	struct qcow2_info info;
	unlink("v");
	assert_int_equal(qcow2_create(AT_FDCWD, "v", &what, &err), 0);
	/* 3 clusters and an L1 table of 32 entries: whatever ends before that is incomplete */
	for (off_t len = 2047; len >= 0; len--) {
		assert_int_equal(truncate("v", len), 0);
		int result = read_image("v", &info, &err);
		assert_int_equal(result, len < 3 * 512 + 32 * 8 ? -1 : 0);
	}
	make_victim("v");
	for (off_t len = 196608 + 7; len >= 0; len -= 97) {
		assert_int_equal(truncate("v", len), 0);
		assert_int_equal(read_image("v", &info, &err), -1);
	}
}

static void not_files(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct qcow2_info info;
	_cleanup_close_ int dir = open(".", O_RDONLY);
	assert_int_equal(qcow2_probe(dir, &err), -1);
	assert_int_equal(qcow2_read(dir, &info, &err), -1);
	assert_string_equal(err.message, "not a regular file");
	write_file("short", "QFI", 3);
	_cleanup_close_ int fd = open("short", O_RDONLY);
	assert_int_equal(qcow2_probe(fd, &err), 0);
	assert_int_equal(qcow2_read(fd, &info, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_option),
		cmocka_unit_test(not_allowed_in),
		cmocka_unit_test(what_images_carry),
		cmocka_unit_test(long_names),
		cmocka_unit_test(hostile_headers),
		cmocka_unit_test(marks),
		cmocka_unit_test(hostile_bitmaps),
		cmocka_unit_test(odd_sizes),
		cmocka_unit_test(endless_extensions),
		cmocka_unit_test(truncated),
		cmocka_unit_test(not_files),
	};
	return cmocka_run_group_tests_name("qcow2_read", tests, scratch_enter, scratch_leave);
}
