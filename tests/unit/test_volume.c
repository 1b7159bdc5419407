/*
 * images/volume.c: what a guest reads is what qemu-img makes of the same layers, whatever options the images were
 * made with; and images that are damaged are told, not followed.
 */
#include "scratch.h"

#include "images/volume.h"

enum { SIZE = 3 << 20 };

/* Half of it is holes, zeroes and what compresses well. */
static void make_content(void)
{
	static char content[SIZE];
	unsigned random = 1;
	for (size_t i = 0; i < SIZE; i++) {
		random = random * 1103515245 + 12345;
		if (i < 1000000 || (i > 2000000 && i < 2300000))
			content[i] = (char)(random >> 16);
		else if (i < 1700000)
			content[i] = "roost\n"[i % 6];
	}
	write_file("content", content, SIZE);
}

static void assert_reads_as(const char *const files[], const bool qcow2[], size_t count)
{
	struct err err = ERR_INIT;
	struct volume_layer layers[4];
	_cleanup_buf_ struct buf expected = {0};
	static char got[SIZE];
	for (size_t i = 0; i < count; i++)
		layers[i] = (struct volume_layer){open(files[i], O_RDONLY | O_CLOEXEC), qcow2[i]};
	MUST(QEMU_IMG, "convert", "-O", "raw", "-f", qcow2[0] ? "qcow2" : "raw", files[0], "flat");
	assert_int_equal(file_read(AT_FDCWD, "flat", SIZE, &expected, &err), 0);
	struct volume *v = volume_open(layers, count, &err);
	if (!v)
		fail_msg("%s: %s", files[0], err.message);
	assert_int_equal(volume_size(v), expected.len);
	for (size_t at = 0, step = 1; at < expected.len; at += step, step = step * 7 % 200003) {
		size_t len = step < expected.len - at ? step : expected.len - at;
		if (volume_read(v, at, got + at, len, &err) < 0)
			fail_msg("%s at %zu: %s", files[0], at, err.message);
	}
	assert_memory_equal(got, expected.data, expected.len);
	assert_int_equal(volume_read(v, expected.len - 1, got, 2, &err), -1);
	volume_close(v);
	for (size_t i = 0; i < count; i++)
		close(layers[i].fd);
}

static void test_options(void **state)
{
	(void)state;
	static const char *const options[] = {"compat=0.10", "cluster_size=512", "cluster_size=2M",
		"extended_l2=on,cluster_size=16k", "lazy_refcounts=on", "refcount_bits=1",
		"preallocation=metadata", "compression_type=zstd"};
	make_content();
	assert_reads_as((const char *[]){"content"}, (const bool[]){false}, 1);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		for (int packed = 0; packed < 2; packed++) {
			if (packed && strstr(options[i], "preallocation"))
				continue;
			MUST(QEMU_IMG, "convert", "-f", "raw", "-O", "qcow2", "-o", options[i],
				packed ? "-c" : "-q", "content", "image");
			assert_reads_as((const char *[]){"image"}, (const bool[]){true}, 1);
		}
}

/* A shorter base of compressed clusters below one that was written to and one that is empty. */
static void test_chain(void **state)
{
	(void)state;
	make_content();
	MUST(QEMU_IMG, "convert", "-f", "raw", "-O", "qcow2", "-c", "content", "base");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base", "-o",
		"extended_l2=on", "middle", "3M");
	MUST(QEMU_IO, "-f", "qcow2", "-c", "write -P 7 65000 3000", "-c", "write -z 1000000 70000",
		"-c", "discard 131072 65536", "middle");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "middle", "top", "3M");
	assert_reads_as(
		(const char *[]){"top", "middle", "base"}, (const bool[]){true, true, true}, 3);
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "content", "over", "3M");
	assert_int_equal(truncate("content", 1234944), 0);
	MUST(QEMU_IO, "-f", "qcow2", "-c", "write -P 9 1200000 100000", "over");
	assert_reads_as((const char *[]){"over", "content"}, (const bool[]){true, false}, 2);
}

static void test_damaged(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	static char got[65536];
	make_content();
	MUST(QEMU_IMG, "convert", "-f", "raw", "-O", "qcow2", "-c", "content", "image");
	/* the first entry of the L2 table, at 256 KiB: far beyond the end of the file */
	int fd = open("image", O_RDWR | O_CLOEXEC);
	struct volume *v = volume_open(&(struct volume_layer){fd, true}, 1, &err);
	assert_int_equal(volume_read(v, 0, got, sizeof(got), &err), 0);
	volume_close(v);
	assert_int_equal(pwrite(fd, "\x40\0\xff\xff\xff\xff\xfe\0", 8, 4 * 65536), 8);
	v = volume_open(&(struct volume_layer){fd, true}, 1, &err);
	assert_int_equal(volume_read(v, 0, got, sizeof(got), &err), -1);
	assert_int_equal(err.kind, ERR_USAGE);
	volume_close(v);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_damaged),
	};
	return cmocka_run_group_tests_name("volume", tests, scratch_enter, scratch_leave);
}
