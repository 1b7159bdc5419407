/*
 * 10,000 qcow2 images with bytes that nobody meant: the reader ends, soon, in little memory; and what may enter the
 * store is nothing that QEMU would follow to another file, as qemu-img tells it. The same ones at every run.
 */
#include "scratch.h"

#include <sys/resource.h>

#include "images/qcow2.h"
#include "images/volume.h"

enum { IMAGES = 10000, JUDGED = 100, CONTENT = 256 << 10, IMAGE_MAX = 2 << 20 };
enum { LONGEST_MS = 1000, MOST_KIB = 64 << 10 };

static uint64_t seed = 20261129;

static uint32_t any(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void make_originals(void)
{
	static char content[CONTENT];
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i % 9000 < 4000 ? any(256) : i / 4096);
	write_file("content", content, sizeof(content));
	MUST(QEMU_IMG, "convert", "-O", "qcow2", "-f", "raw", "content", "0");
	MUST(QEMU_IMG, "convert", "-O", "qcow2", "-f", "raw", "-c", "-o", "cluster_size=4k",
		"content", "1");
	MUST(QEMU_IMG, "convert", "-O", "qcow2", "-f", "raw", "-c", "-o",
		"cluster_size=16k,extended_l2=on,compression_type=zstd", "content", "2");
	MUST(QEMU_IMG, "convert", "-O", "qcow2", "-f", "raw", "-o", "compat=0.10,cluster_size=512",
		"content", "3");
	MUST(QEMU_IMG, "snapshot", "-c", "snap", "3");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "content", "4");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=outside,data_file_raw=on",
		"5", "256k");
}
#define ORIGINALS 6

/* Most of it where the header is, and the tables, for they lead elsewhere. */
static void mutate(unsigned char *image, size_t len)
{
	static const unsigned char telling[] = {0, 1, 2, 4, 0x40, 0x7f, 0x80, 0xff};
	for (unsigned changes = 1 + any(6); changes > 0; changes--) {
		size_t within = any(4) == 0 ? len : any(2) ? 112 : 1024;
		size_t at = any(8) == 0 ? any((uint32_t)(len / 512)) * 512
					: any((uint32_t)(within < len ? within : len));
		for (unsigned n = 1 + any(8); n > 0 && at < len; n--, at++)
			image[at] = any(2) ? telling[any(ARRAY_SIZE(telling))]
					   : (unsigned char)any(256);
	}
}

/* A look at the header, then what a guest would read in some places. Does it enter? */
static bool read_through(int fd)
{
	struct err err = ERR_INIT;
	struct qcow2_info info;
	static char got[8192];
	if (qcow2_probe(fd, &err) != 1 || qcow2_read(fd, &info, &err) < 0)
		return false;
	struct volume *v = volume_open(&(struct volume_layer){fd, true}, 1, &err);
	uint64_t size = v ? volume_size(v) : 0;
	for (unsigned i = 0; i < 6 && size >= sizeof(got); i++) {
		uint64_t at = i == 0 ? 0 : i == 1 ? size - sizeof(got) : any(CONTENT);
		struct err ignored = ERR_INIT;
		if (at <= size - sizeof(got))
			volume_read(v, at, got, sizeof(got), &ignored);
	}
	volume_close(v);
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

static void test_mutated(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	static unsigned char image[IMAGE_MAX];
	struct buf originals[ORIGINALS] = {0};
	struct rusage before, after;
	unsigned entered = 0, judged = 0;
	int fd = open("mutated", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	make_originals();
	for (unsigned i = 0; i < ORIGINALS; i++)
		assert_int_equal(file_read(AT_FDCWD, (char[]){(char)('0' + i), 0}, IMAGE_MAX,
					 &originals[i], &err),
			0);
	getrusage(RUSAGE_SELF, &before);
	for (unsigned i = 0; i < IMAGES; i++) {
		const struct buf *from = &originals[i % ORIGINALS];
		memcpy(image, from->data, from->len);
		mutate(image, from->len);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, image, from->len, 0), from->len);
		int64_t began = clock_ms();
		bool enters = read_through(fd);
		if (clock_ms() - began > LONGEST_MS)
			fail_msg("image %u took %lld ms", i, (long long)(clock_ms() - began));
		entered += enters;
		if (enters && entered % 16 == 0 && judged < JUDGED) {
			judge(image, from->len);
			judged++;
		}
	}
	getrusage(RUSAGE_SELF, &after);
#ifndef __SANITIZE_ADDRESS__ /* which keeps for long what has been freed */
	assert_true(after.ru_maxrss - before.ru_maxrss < MOST_KIB);
#endif
	print_message("%u of %d may enter, %u judged\n", entered, IMAGES, judged);
	assert_true(judged >= JUDGED / 2);
	for (unsigned i = 0; i < ORIGINALS; i++)
		buf_free(&originals[i]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated)};
	return cmocka_run_group_tests_name("mutated images", tests, scratch_enter, scratch_leave);
}
