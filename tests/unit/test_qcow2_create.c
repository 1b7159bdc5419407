/*
 * images/qcow2_create.c, judged by qemu-img: whatever we write it must find clean and describe as
 * we meant it, and a guest's writes at both ends of the disk must leave it clean.
 */
#include "scratch.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "images/qcow2.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)
#define PIB (1ULL << 50)
#define EIB (1ULL << 60)

static void create(const char *name, const struct qcow2_new *what)
{
	struct err err = ERR_INIT;
	unlink(name);
	if (qcow2_create(AT_FDCWD, name, what, &err) < 0)
		fail_msg("%s: %s", name, err.message);
}

static void assert_clean(const char *name)
{
	_cleanup_buf_ struct buf out = {0};
	_cleanup_free_ char *path = str_fmt("%s/%s", scratch, name);
	if (TOOL(&out, QEMU_IMG, "check", "-q", "-f", "qcow2", path) != 0)
		fail_msg("qemu-img check of %s: %s", name, out.data);
}

/* The description of one image, or of its whole chain as an array; for the caller to free. */
static json_t *describe(const char *name, bool chain)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf out = {0};
	_cleanup_free_ char *path = str_fmt("%s/%s", scratch, name);
	assert_int_equal(TOOL(&out, QEMU_IMG, "info", "--output=json", "-f", "qcow2",
				 chain ? "--backing-chain" : "--force-share", path),
		0);
	json_t *o = json_text_parse(out.data, out.len, &err);
	if (!o)
		fail_msg("%s", err.message);
	return o;
}

static void assert_described(const char *name, uint64_t size, unsigned cluster_bits)
{
	_cleanup_json_ json_t *o = describe(name, false);
	const json_t *data = json_object_get(json_object_get(o, "format-specific"), "data");
	assert_int_equal(json_get_int(o, "virtual-size", -1), size);
	assert_int_equal(json_get_int(o, "cluster-size", -1), 1 << cluster_bits);
	assert_string_equal(json_get_str(data, "compat", ""), "1.1");
	assert_int_equal(json_get_int(data, "refcount-bits", 0), 16);
	assert_false(json_get_bool(data, "corrupt", true));
	assert_false(json_get_bool(o, "dirty-flag", true));
}

static void assert_read_back(const char *name, uint64_t size, unsigned cluster_bits)
{
	struct err err = ERR_INIT;
	struct qcow2_info info;
	_cleanup_close_ int fd = open(name, O_RDONLY);
	assert_int_equal(qcow2_probe(fd, &err), 1);
	if (qcow2_read(fd, &info, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(info.version, 3);
	assert_int_equal(info.virtual_size, size);
	assert_int_equal(info.cluster_bits, cluster_bits);
	assert_int_equal(info.refcount_bits, 16);
	assert_int_equal(info.incompatible | info.compatible | info.autoclear, 0);
	assert_int_equal(qcow2_may_enter(&info, name, &err), 0);
}

static void sizes_and_clusters(void **state)
{
	(void)state;
	static const struct {
		uint64_t asked, size;
		unsigned bits_asked, bits;
	} rows[] = {
		{0, 0, 0, 16},
		{1, 512, 0, 16},
		{512, 512, 0, 16},
		{1000, 1024, 0, 16},
		{MIB, MIB, 0, 16},
		{10 * GIB, 10 * GIB, 0, 16},
		{TIB, TIB, 0, 16},
		{512 * MIB, 512 * MIB, 0, 16},
		{512 * MIB + 1, 512 * MIB + 512, 0, 16},
		/* the last size of a cluster size, and the first that needs a larger one */
		{2 * PIB, 2 * PIB, 0, 16},
		{2 * PIB + 1, 2 * PIB + 512, 0, 17},
		{8 * PIB, 8 * PIB, 0, 17},
		{EIB, EIB, 0, 21},
		{2 * EIB, 2 * EIB, 0, 21},
		{MIB, MIB, 9, 9},
		{128 * GIB, 128 * GIB, 9, 9},
		{3 * GIB + 7, 3 * GIB + 512, 9, 9},
		{MIB, MIB, 10, 10},
		{GIB, GIB, 11, 11},
		{MIB, MIB, 12, 12},
		{TIB, TIB, 12, 12},
		{GIB, GIB, 13, 13},
		{GIB, GIB, 14, 14},
		{GIB, GIB, 15, 15},
		{GIB, GIB, 17, 17},
		{GIB, GIB, 18, 18},
		{GIB, GIB, 19, 19},
		{GIB, GIB, 20, 20},
		{PIB, PIB, 21, 21},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct stat st;
		create("d", &(struct qcow2_new){
				    .size = rows[i].asked, .cluster_bits = rows[i].bits_asked});
		assert_clean("d");
		assert_described("d", rows[i].size, rows[i].bits);
		assert_read_back("d", rows[i].size, rows[i].bits);
		assert_int_equal(stat("d", &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		/* tables are holes, however large; only 65,000 refcounts are not */
		assert_true(st.st_blocks * 512 <= 256 * 1024);
	}
}

/* A guest writes the first and the last sector: L2 tables, data and refcounts are allocated. */
static void written_to(void **state)
{
	(void)state;
	static const struct {
		uint64_t size;
		unsigned bits;
	} rows[] = {{512, 0}, {MIB, 9}, {10 * GIB, 0}, {128 * GIB, 9}, {8 * PIB, 0}, {2 * EIB, 0}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		create("d",
			&(struct qcow2_new){.size = rows[i].size, .cluster_bits = rows[i].bits});
		_cleanup_free_ char *end =
			str_fmt("write -P 7 %llu 512", (unsigned long long)rows[i].size - 512);
		MUST(QEMU_IO, "-f", "qcow2", "-c", "write -P 7 0 512", "-c", end, "d");
		assert_clean("d");
	}
}

/* qemu-img check is the judge; would it notice? A cluster in use whose refcount is 0. */
static void judge_is_awake(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf out = {0};
	create("d", &(struct qcow2_new){.size = GIB});
	int fd = open("d", O_WRONLY);
	assert_int_equal(pwrite(fd, "\0\0", 2, 2 * 65536 + 6), 2);
	close(fd);
	assert_int_not_equal(TOOL(&out, QEMU_IMG, "check", "-q", "d"), 0);
}

static void backing_names(void **state)
{
	(void)state;
	char longest[240];
	memset(longest, 'n', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	const char *const names[] = {"base", "with, comma", "with space", "a:b", "json:{}",
		"nbd:unix", "-rf", "caf\xc3\xa9", "quote'\"", "#x", "sub/a:b", longest};
	assert_int_equal(mkdir("sub", 0700), 0);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(names); i++) {
		const char *name = names[i / 2];
		_cleanup_free_ char *path = str_fmt("%s/%s", scratch, name);
		char zeroes[4096] = {0};
		if (i % 2)
			create(name, &(struct qcow2_new){.size = 4096});
		else
			write_file(name, zeroes, sizeof(zeroes));
		create("d", &(struct qcow2_new){.size = GIB,
				    .backing = i % 4 < 2 ? name : path,
				    .backing_format = i % 2 ? "qcow2" : "raw"});
		assert_clean("d");
		_cleanup_json_ json_t *chain = describe("d", true);
		assert_int_equal(json_array_size(chain), 2);
		const json_t *top = json_array_get(chain, 0);
		const char *full = json_get_str(top, "full-backing-filename", "");
		struct stat named, meant;
		assert_int_equal(stat(full, &named), 0);
		assert_int_equal(stat(path, &meant), 0);
		assert_int_equal(named.st_ino, meant.st_ino);
		assert_string_equal(
			json_get_str(top, "backing-filename-format", ""), i % 2 ? "qcow2" : "raw");
		unlink(name);
	}
}

static void backing_read_through(void **state)
{
	(void)state;
	create("base", &(struct qcow2_new){.size = MIB});
	MUST(QEMU_IO, "-f", "qcow2", "-c", "write -P 9 0 64k", "base");
	create("d",
		&(struct qcow2_new){.size = 2 * MIB, .backing = "base", .backing_format = "qcow2"});
	_cleanup_buf_ struct buf out = {0};
	/* qemu-io tells a pattern that does not match by its exit status */
	MUST(QEMU_IO, "-f", "qcow2", "-c", "read -P 9 0 64k", "-c", "read -P 0 64k 1984k", "d");
	assert_int_not_equal(TOOL(&out, QEMU_IO, "-f", "qcow2", "-c", "read -P 8 0 64k", "d"), 0);
}

static void assert_refused(const struct qcow2_new *what, const char *why)
{
	struct err err = ERR_INIT;
	assert_int_equal(qcow2_create(AT_FDCWD, "refused", what, &err), -1);
	assert_int_equal(err.kind, ERR_USAGE);
	if (!strstr(err.message, why))
		fail_msg("'%s' lacks '%s'", err.message, why);
	assert_int_equal(access("refused", F_OK), -1);
}

static void refused(void **state)
{
	(void)state;
	char name[1025];
	memset(name, 'n', sizeof(name));
	name[1024] = '\0';
	assert_refused(&(struct qcow2_new){.size = MIB, .backing = name, .backing_format = "raw"},
		"1024 bytes");
	name[400] = '\0';
	assert_refused(
		&(struct qcow2_new){
			.size = MIB, .cluster_bits = 9, .backing = name, .backing_format = "raw"},
		"400 bytes: 1 to 376 fit");
	assert_refused(&(struct qcow2_new){.size = MIB, .backing = "", .backing_format = "raw"},
		"0 bytes");
	assert_refused(&(struct qcow2_new){.size = MIB, .backing = "b"}, "must be qcow2 or raw");
	assert_refused(&(struct qcow2_new){.size = MIB, .backing = "b", .backing_format = "vmdk"},
		"must be qcow2 or raw");
	assert_refused(&(struct qcow2_new){.size = MIB, .cluster_bits = 8}, "2^8");
	assert_refused(&(struct qcow2_new){.size = MIB, .cluster_bits = 22}, "2^22");
	assert_refused(&(struct qcow2_new){.size = 2 * EIB + 1}, "2305843009213693953 bytes");
	assert_refused(&(struct qcow2_new){.size = UINT64_MAX}, "are more than qcow2 can have");
	assert_refused(&(struct qcow2_new){.size = 2 * PIB + 1, .cluster_bits = 16}, "2 PiB");
}

static void limits_are_qemus(void **state)
{
	(void)state;
	static const struct {
		unsigned bits;
		const char *option;
	} rows[] = {{9, "cluster_size=512"}, {16, "cluster_size=64k"}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t max = qcow2_max_size(rows[i].bits);
		_cleanup_buf_ struct buf out = {0};
		_cleanup_free_ char *most = str_fmt("%llu", (unsigned long long)max);
		_cleanup_free_ char *more = str_fmt("%llu", (unsigned long long)max + 512);
		MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", rows[i].option, "d", most);
		assert_int_not_equal(TOOL(&out, QEMU_IMG, "create", "-q", "-f", "qcow2", "-o",
					     rows[i].option, "d", more),
			0);
	}
}

static void nothing_left_behind(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct stat st;
	const struct qcow2_new what = {.size = GIB, .durable = true};
	write_file("there", "old", 3);
	assert_int_equal(qcow2_create(AT_FDCWD, "there", &what, &err), -1);
	assert_int_equal(stat("there", &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(symlink("nowhere", "link"), 0);
	assert_int_equal(qcow2_create(AT_FDCWD, "link", &what, &err), -1);
	assert_int_equal(access("nowhere", F_OK), -1);
	assert_int_equal(qcow2_create(AT_FDCWD, "no/folder", &what, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	/* a file system that takes no more */
	struct rlimit old, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 100000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int result = qcow2_create(AT_FDCWD, "full", &what, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(result, -1);
	assert_int_equal(err.kind, ERR_SYSTEM);
	assert_int_equal(access("full", F_OK), -1);
}

static void copy(const char *to, const char *from)
{
	struct err err = ERR_INIT;
	_cleanup_close_ int fd = open(from, O_RDONLY);
	unlink(to);
	if (qcow2_copy(AT_FDCWD, to, fd, true, &err) < 0)
		fail_msg("%s: %s", to, err.message);
}

/* Bytes at both ends of what a file of that size has, and in its middle; the rest is a hole. */
static void make_raw(const char *name, uint64_t size)
{
	_cleanup_close_ int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	const uint64_t places[] = {0, size / 2, size - 1};
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		assert_int_equal(pwrite(fd, "x", 1, (off_t)places[i]), 1);
}

static void copies(void **state)
{
	(void)state;
	/* OVMF's templates, whole clusters, one byte more, the most, and one sector */
	static const uint64_t sizes[] = {540672, 131072, 131073 + 511, 64 * MIB, 512, 4 * MIB};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		make_raw("raw", sizes[i]);
		copy("d", "raw");
		assert_clean("d");
		assert_described("d", sizes[i], 16);
		assert_read_back("d", sizes[i], 16);
		MUST(QEMU_IMG, "compare", "-f", "raw", "-F", "qcow2", "raw", "d");
		/* it may be written to, where it has data and where it has none */
		MUST(QEMU_IO, "-f", "qcow2", "-c", "write -P 7 0 512", "-c", "discard 0 512", "d");
		assert_clean("d");
	}
	/* what is zero takes no room */
	struct stat st;
	make_raw("raw", 64 * MIB);
	copy("d", "raw");
	assert_int_equal(stat("d", &st), 0);
	assert_true(st.st_size <= 8 * 65536);
}

static void copies_refused(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct rlimit old, small;
	make_raw("raw", 64 * MIB + 1);
	_cleanup_close_ int large = open("raw", O_RDONLY), zeros = open("/dev/zero", O_RDONLY);
	assert_int_equal(qcow2_copy(AT_FDCWD, "no", large, false, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(qcow2_copy(AT_FDCWD, "no", zeros, false, &err), -1);
	write_file("empty", "", 0);
	_cleanup_close_ int empty = open("empty", O_RDONLY);
	assert_int_equal(qcow2_copy(AT_FDCWD, "no", empty, false, &err), -1);
	assert_int_equal(access("no", F_OK), -1);
	/* what is there is not touched; what cannot be written whole does not stay */
	make_raw("four", 4 * MIB);
	_cleanup_close_ int from = open("four", O_RDONLY);
	assert_int_equal(qcow2_copy(AT_FDCWD, "empty", from, false, &err), -1);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 400000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int result = qcow2_copy(AT_FDCWD, "full", from, false, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(result, -1);
	assert_int_equal(access("full", F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_and_clusters),
		cmocka_unit_test(written_to),
		cmocka_unit_test(judge_is_awake),
		cmocka_unit_test(backing_names),
		cmocka_unit_test(backing_read_through),
		cmocka_unit_test(refused),
		cmocka_unit_test(limits_are_qemus),
		cmocka_unit_test(nothing_left_behind),
		cmocka_unit_test(copies),
		cmocka_unit_test(copies_refused),
	};
	return cmocka_run_group_tests_name("qcow2_create", tests, scratch_enter, scratch_leave);
}
