/*
 * images/partition.c against tables that sfdisk and sgdisk have made: what it tells is what `sfdisk --json`
 * tells of the same disk, and what Linux numbers so.
 */
#include "scratch.h"

#include <stdio.h>

#include "images/partition.h"

#define SFDISK "/usr/sbin/sfdisk"
#define DISK   "disk.raw"

enum { MIB = 1 << 20 };

static int read_file(void *about, void *data, uint64_t at, size_t len, struct err *err)
{
	if (pread(*(int *)about, data, len, (off_t)at) != (ssize_t)len)
		return err_set(err, ERR_SYSTEM, "the disk ends");
	return 0;
}

static struct partitions look(void)
{
	struct err err = ERR_INIT;
	struct partitions p = {0};
	_cleanup_close_ int fd = open(DISK, O_RDONLY | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);
	if (fd < 0 || partitions_read(read_file, &fd, (uint64_t)size, &p, &err) < 0)
		fail_msg("%s", err.message);
	return p;
}

/* A disk of 64 MiB with the table that the lines of `script` tell sfdisk. */
static void make(const char *script)
{
	write_file("script", script, strlen(script));
	unlink(DISK);
	MUST("/usr/bin/truncate", "-s", "64M", DISK);
	MUST("/bin/sh", "-c", SFDISK " -q " DISK " <script");
}

static void poke(off_t at, const void *data, size_t len)
{
	_cleanup_close_ int fd = open(DISK, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, data, len, at), len);
}

/* sfdisk tells every partition, the extended one too, with its number at the end of "node". */
static void assert_as_sfdisk(const struct partitions *p)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	size_t i, n = 0;
	json_t *one;
	assert_int_equal(TOOL(&text, SFDISK, "--json", DISK), 0);
	_cleanup_json_ json_t *o = json_text_parse(text.data, text.len, &err);
	json_t *table = json_object_get(o, "partitiontable");
	json_array_foreach (json_object_get(table, "partitions"), i, one) {
		const char *type = json_get_str(one, "type", "");
		if (str_eq(type, "5") || str_eq(type, "f"))
			continue;
		assert_true(n < p->count);
		const struct partition *ours = &p->all[n++];
		assert_int_equal(ours->number, atoi(json_get_str(one, "node", "") + strlen(DISK)));
		assert_int_equal(ours->at, json_get_int(one, "start", 0) * 512);
		assert_int_equal(ours->size, json_get_int(one, "size", 0) * 512);
		assert_string_equal(ours->name, json_get_str(one, "name", ""));
	}
	assert_int_equal(n, p->count);
}

/* ---- MBR ----------------------------------------------------------------------------------------------- */

#define LOGICAL                                                                                    \
	"label: dos\n1 : size=8MiB, type=83\n2 : size=40MiB, type=5\n3 : size=4MiB, type=8e\n"     \
	"5 : size=4MiB, type=83\n6 : size=5MiB, type=82\n7 : size=6MiB, type=83\n"

static void test_mbr(void **state)
{
	(void)state;
	make(LOGICAL);
	struct partitions p = look();
	assert_int_equal(p.table, TABLE_MBR);
	assert_int_equal(p.count, 5);
	assert_as_sfdisk(&p);
	assert_string_equal(partition_purpose(&p.all[1], p.table), "Linux LVM");
	assert_string_equal(partition_purpose(&p.all[3], p.table), "Linux swap");
	/* one in the middle goes: those behind it move up, as in Linux */
	MUST(SFDISK, "-q", "--delete", DISK, "6");
	p = look();
	assert_int_equal(p.count, 4);
	assert_as_sfdisk(&p);
}

static void test_loop_of_tables(void **state)
{
	(void)state;
	make(LOGICAL);
	struct partitions p = look();
	/* the third table's link, to the first */
	off_t third = (off_t)p.all[4].at - MIB;
	const uint8_t link[16] = {0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0};
	poke(third + 446 + 16, link, sizeof(link));
	p = look();
	assert_int_equal(p.count, 5);
	/* to itself, from the first on */
	make("label: dos\n1 : size=40MiB, type=5\n5 : size=4MiB, type=83\n");
	poke(MIB + 446 + 16, link, sizeof(link));
	assert_int_equal(look().count, 1);
}

static void test_beyond_the_end(void **state)
{
	(void)state;
	make("label: dos\n1 : size=8MiB\n2 : size=8MiB\n");
	assert_int_equal(truncate(DISK, 12 * MIB), 0);
	struct partitions p = look();
	assert_int_equal(p.count, 1);
	assert_int_equal(p.all[0].number, 1);
	assert_int_equal(truncate(DISK, 100), 0);
	assert_int_equal(look().table, TABLE_NONE);
}

/* ---- GPT ----------------------------------------------------------------------------------------------- */

#define GPT                                                                                               \
	"label: gpt\nfirst-lba: 34\n14 : size=3MiB, type=21686148-6449-6E6F-744E-656564454649\n"          \
	"15 : size=20MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"ESP \xc3\xa9\xe2\x82\xac\"\n" \
	"1 : type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root\n"

static void test_gpt(void **state)
{
	(void)state;
	make(GPT);
	struct partitions p = look();
	assert_int_equal(p.table, TABLE_GPT);
	assert_int_equal(p.count, 3);
	assert_string_equal(p.all[0].name, "root");
	assert_string_equal(p.all[2].name, "ESP \xc3\xa9\xe2\x82\xac");
	assert_string_equal(partition_purpose(&p.all[0], p.table), "Linux");
	assert_string_equal(partition_purpose(&p.all[1], p.table), "BIOS boot");
	assert_string_equal(partition_purpose(&p.all[2], p.table), "EFI system");
	assert_as_sfdisk(&p);
}

static void assert_root_at(uint64_t at)
{
	struct partitions p = look();
	assert_int_equal(p.table, TABLE_GPT);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.all[0].at, at);
}

static void test_spoilt_gpt(void **state)
{
	(void)state;
	make(GPT);
	uint64_t at = look().all[0].at;
	poke(512 + 56, "another disk's id", 16); /* only its checksum tells */
	assert_root_at(at);
	make(GPT);
	poke(1024 + 32, "\x01", 1); /* the first entry starts elsewhere */
	assert_root_at(at);
	make(GPT);
	poke(512, (char[512]){0}, 512);
	assert_root_at(at);
	poke(64 * MIB - 512, "X", 1);
	struct partitions p = look();
	assert_int_equal(p.table, TABLE_GPT);
	assert_int_equal(p.count, 0);
}

/* The same table again with sectors of 4096, which sfdisk makes on such a disk only. */
static void test_large_sectors(void **state)
{
	(void)state;
	const char *python =
		"import struct, zlib\n"
		"def header(own, other, entries, crc):\n"
		"  h = lambda c: struct.pack('<8sIIIIQQQQ16sQIII', b'EFI PART', 0x10000, 92, c, 0, own,\n"
		"    other, 6, 4000, b'D' * 16, entries, 128, 128, crc)\n"
		"  return h(zlib.crc32(h(0)))\n"
		"e = struct.pack('<16s16sQQQ72s', b'T' * 16, b'U' * 16, 256, 511, 0, 'data'.encode('utf-16-le'))\n"
		"e = e.ljust(128 * 128, b'\\0')\n"
		"n = 16 * 1024\n"
		"with open('" DISK "', 'wb') as f:\n"
		"  f.truncate(n * 4096)\n"
		"  f.seek(446); f.write(struct.pack('<8BII', 0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, n - 1))\n"
		"  f.seek(510); f.write(b'\\x55\\xaa')\n"
		"  f.seek(4096); f.write(header(1, n - 1, 2, zlib.crc32(e)))\n"
		"  f.seek(8192); f.write(e)\n"
		"  f.seek((n - 5) * 4096); f.write(e)\n"
		"  f.seek((n - 1) * 4096); f.write(header(n - 1, 1, n - 5, zlib.crc32(e)))\n";
	MUST("/usr/bin/python3", "-c", python);
	for (int spoilt = 0; spoilt < 2; spoilt++) {
		struct partitions p = look();
		assert_int_equal(p.table, TABLE_GPT);
		assert_int_equal(p.count, 1);
		assert_int_equal(p.all[0].at, MIB);
		assert_int_equal(p.all[0].size, MIB);
		assert_string_equal(p.all[0].name, "data");
		poke(4096, "X", 1);
	}
}

/* ---- neither ------------------------------------------------------------------------------------------- */

static void test_no_table(void **state)
{
	(void)state;
	static const char *const makers[] = {
		"/usr/sbin/mke2fs -q -F " DISK, "/usr/sbin/mkfs.vfat " DISK, "true"};
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		unlink(DISK);
		MUST("/usr/bin/truncate", "-s", "64M", DISK);
		MUST("/bin/sh", "-c", makers[i]);
		struct partitions p = look();
		assert_int_equal(p.table, TABLE_NONE);
		assert_int_equal(p.count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mbr),
		cmocka_unit_test(test_loop_of_tables),
		cmocka_unit_test(test_beyond_the_end),
		cmocka_unit_test(test_gpt),
		cmocka_unit_test(test_spoilt_gpt),
		cmocka_unit_test(test_large_sectors),
		cmocka_unit_test(test_no_table),
	};
	return cmocka_run_group_tests_name("partition", tests, scratch_enter, scratch_leave);
}
