/*
 * 10,000 qcow2 images with bytes that nobody meant, in each of the parts that a qcow2 file has: the reader ends, soon,
 * in little memory; and what may enter the store is nothing that QEMU would follow to another file, as qemu-img tells
 * it. The same ones at every run.
 */
#include "scratch.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "images/image_info.h"
#include "images/qcow2.h"
#include "images/qcow2_format.h"
#include "images/volume.h"

enum { IMAGES = 10000, JUDGED = 120, CONTENT = 96 << 10, IMAGE_MAX = 2 << 20, EXTENTS = 2000 };
enum { LONGEST_MS = 1000, MOST_KIB = 64 << 10, STRUCK_LEAST = 200 };
#define EXTENSION_BITMAPS 0x23852875U

/* ---- the parts of an image ------------------------------------------------------------------------ */

enum part {
	HEADER,
	FEATURES,
	EXTENSIONS,
	BACKING_NAME,
	L1,
	L2,
	REFCOUNTS,
	COMPRESSED,
	SNAPSHOTS,
	BITMAPS,
	BITMAP_FOLDER,
	ANYWHERE,
	PARTS
};
static const char *const part_names[] = {
	[HEADER] = "header",
	[FEATURES] = "feature bits",
	[EXTENSIONS] = "header extensions",
	[BACKING_NAME] = "backing file's name",
	[L1] = "L1 table",
	[L2] = "L2 table",
	[REFCOUNTS] = "refcount table and block",
	[COMPRESSED] = "compressed clusters",
	[SNAPSHOTS] = "snapshot table",
	[BITMAPS] = "bitmaps' extension",
	[BITMAP_FOLDER] = "bitmaps' directory",
	[ANYWHERE] = "any other byte",
};
static_assert(ARRAY_SIZE(part_names) == PARTS, "every part has its name");

struct original {
	struct buf bytes;
	struct range {
		size_t at, len; /* len 0: it has no such part */
	} parts[PARTS];
};

static uint64_t word(const struct original *o, size_t at, size_t size)
{
	uint64_t value = 0;
	assert_true(at + size <= o->bytes.len);
	for (size_t i = 0; i < size; i++)
		value = value << 8 | (unsigned char)o->bytes.data[at + i];
	return value;
}

static void set_part(struct original *o, enum part part, uint64_t at, uint64_t len)
{
	assert_true(at < o->bytes.len);
	if (len > o->bytes.len - at)
		len = o->bytes.len - at;
	o->parts[part] = (struct range){(size_t)at, (size_t)len};
}

/* The first entry of a table that is not empty, without its flags. */
static uint64_t first_entry(const struct original *o, uint64_t at, uint64_t len)
{
	for (uint64_t i = at; i + 8 <= at + len && i + 8 <= o->bytes.len; i += 8)
		if (word(o, (size_t)i, 8))
			return word(o, (size_t)i, 8) & 0x00fffffffffffe00ULL;
	return 0;
}

static void find_compressed(struct original *o, unsigned cluster_bits)
{
	const struct range *l2 = &o->parts[L2];
	for (size_t i = l2->at; i + 8 <= l2->at + l2->len; i += 8) {
		uint64_t entry = word(o, i, 8);
		if (entry >> 62 != 1)
			continue;
		set_part(o, COMPRESSED, entry & ((1ULL << (62 - (cluster_bits - 8))) - 1), 512);
		return;
	}
}

static void find_bitmaps(struct original *o)
{
	const struct range *e = &o->parts[EXTENSIONS];
	for (size_t at = e->at; at + 8 <= e->at + e->len;) {
		uint64_t magic = word(o, at, 4), len = word(o, at + 4, 4);
		if (magic == 0)
			return;
		if (magic == EXTENSION_BITMAPS) {
			set_part(o, BITMAPS, at, 8 + len);
			set_part(o, BITMAP_FOLDER, word(o, at + 24, 8), word(o, at + 16, 8));
		}
		at += 8 + ((len + 7) & ~7ULL);
	}
}

static void find_parts(struct original *o)
{
#define FIELD(name)                                                                                \
	word(o, offsetof(struct qcow2_header, name), sizeof(((struct qcow2_header *)0)->name))
	unsigned bits = (unsigned)FIELD(cluster_bits);
	uint64_t l1 = FIELD(l1_table_offset), refcounts = FIELD(refcount_table_offset);
	bool v3 = FIELD(version) > 2;
	set_part(o, HEADER, 0, v3 ? QCOW2_V3_LENGTH + 8 : QCOW2_V2_LENGTH);
	if (v3) {
		set_part(o, FEATURES, QCOW2_V2_LENGTH, 24);
		set_part(o, EXTENSIONS, FIELD(header_length), 400);
		find_bitmaps(o);
	}
	if (FIELD(backing_file_offset))
		set_part(o, BACKING_NAME, FIELD(backing_file_offset), FIELD(backing_file_size));
	set_part(o, L1, l1, FIELD(l1_size) * 8);
	uint64_t l2 = first_entry(o, l1, FIELD(l1_size) * 8);
	if (l2)
		set_part(o, L2, l2, 256);
	find_compressed(o, bits);
	set_part(o, REFCOUNTS, refcounts, 16);
	if (FIELD(nb_snapshots))
		set_part(o, SNAPSHOTS, FIELD(snapshots_offset), FIELD(nb_snapshots) * 72);
	set_part(o, ANYWHERE, 0, o->bytes.len);
#undef FIELD
}

/* ---- the images ----------------------------------------------------------------------------------- */

static uint64_t seed = 20261129;

static uint32_t any(size_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % (uint32_t)below;
}

static const char *const options[] = {"cluster_size=64k", "cluster_size=4k",
	"cluster_size=16k,extended_l2=on,compression_type=zstd", "compat=0.10,cluster_size=512",
	"cluster_size=1k,lazy_refcounts=on,refcount_bits=64", "preallocation=metadata"};
enum { BACKED = ARRAY_SIZE(options), BACKED_V2, OUTSIDE, ORIGINALS };

static void make_originals(struct original all[ORIGINALS])
{
	static char content[CONTENT];
	struct err err = ERR_INIT;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i % 9000 < 4000 ? any(256) : i / 4096);
	write_file("content", content, sizeof(content));
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		MUST(QEMU_IMG, "convert", "-O", "qcow2", "-f", "raw", "-o", options[i],
			i == 1 || i == 2 ? "-c" : "-q", "content", (char[]){(char)('0' + i), 0});
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "content", "6");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "content", "-o",
		"compat=0.10,cluster_size=512", "7");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=outside,data_file_raw=on",
		"8", "96k");
	MUST(QEMU_IMG, "snapshot", "-c", "snap", "3");
	MUST(QEMU_IMG, "snapshot", "-c", "first", "4");
	MUST(QEMU_IMG, "snapshot", "-c", "another", "4");
	for (const char *with = "0456"; *with; with++) {
		MUST(QEMU_IMG, "bitmap", "--add", (char[]){*with, 0}, "b0");
		MUST(QEMU_IMG, "bitmap", "--add", "--disable", (char[]){*with, 0}, "another");
	}
	for (size_t i = 0; i < ORIGINALS; i++) {
		assert_int_equal(file_read(AT_FDCWD, (char[]){(char)('0' + i), 0}, IMAGE_MAX,
					 &all[i].bytes, &err),
			0);
		find_parts(&all[i]);
	}
}

/* One of the parts that it has. */
static enum part mutate(unsigned char *image, const struct original *o)
{
	static const unsigned char telling[] = {0, 1, 2, 4, 8, 0x40, 0x7f, 0x80, 0xff};
	enum part part = (enum part)any(PARTS);
	while (!o->parts[part].len)
		part = (enum part)any(PARTS);
	const struct range *r = &o->parts[part];
	for (unsigned changes = 1 + any(4); changes > 0; changes--) {
		size_t at = r->at + any(r->len);
		at -= any(2) ? at % 8 : 0; /* most are words */
		for (unsigned n = 1 + any(8); n > 0 && at < o->bytes.len; n--, at++)
			image[at] = any(2) ? telling[any(ARRAY_SIZE(telling))]
					   : (unsigned char)any(256);
	}
	return part;
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* What a guest would read in some places, and where it is. */
static void read_volume(int fd)
{
	struct err err = ERR_INIT;
	struct volume_extent e;
	static char got[8192];
	struct volume *v = volume_open(&(struct volume_layer){fd, true}, 1, &err);
	uint64_t size = v ? volume_size(v) : 0, at = 0;
	for (unsigned i = 0; i < 4 && size >= sizeof(got); i++) {
		uint64_t from = i == 0 ? 0 : i == 1 ? size - sizeof(got) : any(CONTENT);
		struct err ignored = ERR_INIT;
		if (from <= size - sizeof(got))
			volume_read(v, from, got, sizeof(got), &ignored);
	}
	for (unsigned i = 0; i < EXTENTS && at < size; i++, at += e.length)
		if (volume_extent_at(v, at, &e, &err) < 0)
			break;
	volume_close(v);
}

/* All that roost looks at. Does it enter? */
static bool read_through(int fd)
{
	struct err err = ERR_INIT, ignored = ERR_INIT;
	struct qcow2_info info;
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	_cleanup_json_ json_t *told = image_info(path, IMAGE_QCOW2, &ignored);
	if (qcow2_probe(fd, &err) != 1 || qcow2_read(fd, &info, &err) < 0) {
		assert_null(told);
		return false;
	}
	read_volume(fd);
	return qcow2_may_enter(&info, "it", &err) == 0;
}

/* QEMU opens no other file for it. */
static void judge(const unsigned char *image, size_t len)
{
	_cleanup_buf_ struct buf text = {0};
	struct err err = ERR_INIT;
	write_file("judged", image, len);
	if (TOOL(&text, QEMU_IMG, "info", "--output=json", "-f", "qcow2", "judged") != 0)
		return; /* nor this one */
	_cleanup_json_ json_t *told = json_text_parse(text.data, text.len, &err);
	json_t *data = json_object_get(
		json_object_get(json_object_get(told, "format-specific"), "data"), "data-file");
	assert_non_null(told);
	assert_null(json_object_get(told, "backing-filename"));
	assert_null(data);
}

static long peak_kib(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static void test_mutated(void **state)
{
	(void)state;
	static unsigned char image[IMAGE_MAX];
	static struct original originals[ORIGINALS];
	unsigned struck[PARTS] = {0}, entered = 0, judged = 0;
	int64_t longest = 0;
	int fd = memfd_create("mutated", MFD_CLOEXEC); /* no disk is waited for */
	make_originals(originals);
	long before = peak_kib();
	for (unsigned i = 0; i < IMAGES; i++) {
		unsigned which = i % ORIGINALS;
		const struct original *o = &originals[which];
		memcpy(image, o->bytes.data, o->bytes.len);
		enum part part = mutate(image, o);
		struck[part]++;
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, image, o->bytes.len, 0), o->bytes.len);
		bool enters = false;
		int64_t took = LONGEST_MS + 1;
		/* once more, for the host may be busy */
		for (int tries = 0; tries < 3 && took > LONGEST_MS; tries++) {
			int64_t began = clock_ms();
			enters = read_through(fd);
			took = clock_ms() - began;
		}
		longest = took > longest ? took : longest;
		if (took > LONGEST_MS)
			fail_msg("image %u took %lld ms", i, (long long)took);
		entered += enters;
		/* first of all those that led elsewhere before, and those whose header was struck */
		bool suspect = which >= BACKED || (part <= BACKING_NAME && entered % 8 == 0);
		if (enters && suspect && judged < JUDGED) {
			judge(image, o->bytes.len);
			judged++;
		}
	}
	long most = peak_kib() - before;
	print_message("%u of %d may enter, %u judged; the longest took %lld ms, all took %ld KiB\n",
		entered, IMAGES, judged, (long long)longest, most);
	for (size_t i = 0; i < PARTS; i++) {
		print_message("    %u had their %s changed\n", struck[i], part_names[i]);
		assert_true(struck[i] >= STRUCK_LEAST);
	}
#ifndef __SANITIZE_ADDRESS__ /* which keeps for long what has been freed */
	assert_true(most < MOST_KIB);
#endif
	assert_true(judged >= JUDGED / 2);
	for (unsigned i = 0; i < ORIGINALS; i++)
		buf_free(&originals[i].bytes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated)};
	return cmocka_run_group_tests_name("mutated images", tests, scratch_enter, scratch_leave);
}
