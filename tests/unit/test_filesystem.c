/*
 * images/filesystem*.c: file systems of every kind, made by mkfs and filled, against what the kernel says of them
 * with statfs(2) once they are mounted (for that the tests must run as root, where loop devices are), else
 * against dumpe2fs.
 */
#include "lacking.h"
#include "scratch.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "images/filesystem.h"

#define DISK "disk.raw"

/* The partition is at 1 MiB: an offset that is forgotten is seen. */
enum { START = 1 << 20 };

static int read_file(void *about, void *data, uint64_t at, size_t len, struct err *err)
{
	if (pread(*(int *)about, data, len, (off_t)at) != (ssize_t)len)
		return err_set(err, ERR_SYSTEM, "the disk ends");
	return 0;
}

static struct filesystem look_at(const char *path, uint64_t start)
{
	struct err err = ERR_INIT;
	struct filesystem f;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);
	assert_true(fd >= 0);
	if (filesystem_read(read_file, &fd, start, (uint64_t)size - start, &f, &err) < 0)
		fail_msg("%s", err.message);
	return f;
}

static int shell(const char *format, const char *word)
{
	_cleanup_buf_ struct buf ignored = {0};
	_cleanup_free_ char *line = str_fmt("PATH=/usr/sbin:/sbin:$PATH; %s %s", format, word);
	return TOOL(&ignored, "/bin/sh", "-c", line);
}

static bool have(const char *program)
{
	return shell("command -v", program) == 0;
}

/* A file of that size, of which the command makes a file system. */
static void make(const char *size, const char *mkfs)
{
	char program[32];
	snprintf(program, sizeof(program), "%.*s", (int)strcspn(mkfs, " "), mkfs);
	if (!have(program))
		lacking(program);
	unlink(DISK);
	MUST("/usr/bin/truncate", "-s", size, DISK);
	if (shell(mkfs, DISK) != 0)
		fail_msg("%s fails", mkfs);
}

/* Can file systems be mounted here? Found out once, at the start. */
static bool can_mount;

static bool find_mount(void)
{
	MUST("/bin/mkdir", "-p", "mnt");
	if (geteuid() != 0 || !have("mke2fs"))
		return false;
	make("4M", "mke2fs -q -F");
	return shell("mount -o loop " DISK, "mnt") == 0 && shell("umount", "mnt") == 0;
}

static void must_mount(void)
{
	if (!can_mount)
		not_here("no file system can be mounted here, which takes root and loop devices");
}

/* Fills it with files and holes, and unmounts it. */
static void fill(void)
{
	assert_int_equal(shell("mount -o loop " DISK, "mnt"), 0);
	assert_int_equal(
		shell("mkdir mnt/d; for i in 1 2 3 4 5 6 7 8 9; do "
		      "head -c $((i * 37000)) /dev/zero >mnt/d/file-with-a-long-name-$i; done; "
		      "rm mnt/d/*-3 mnt/d/*-7; umount",
			"mnt"),
		0);
}

/* As the kernel has it, read-only. */
static struct statvfs kernel_says(void)
{
	struct statvfs s;
	assert_int_equal(shell("mount -o loop,ro " DISK, "mnt"), 0);
	assert_int_equal(statvfs("mnt", &s), 0);
	assert_int_equal(shell("umount", "mnt"), 0);
	return s;
}

static void assert_as_kernel(const char *mkfs)
{
	struct filesystem f = look_at(DISK, 0);
	struct statvfs s = kernel_says();
	assert_non_null(f.type);
	if (f.total != s.f_blocks * s.f_frsize || f.used != (s.f_blocks - s.f_bfree) * s.f_frsize ||
		f.available != s.f_bavail * s.f_frsize)
		fail_msg("%s: total %llu, used %llu, available %llu; the kernel: %llu, %llu, %llu",
			mkfs, (unsigned long long)f.total, (unsigned long long)f.used,
			(unsigned long long)f.available,
			(unsigned long long)(s.f_blocks * s.f_frsize),
			(unsigned long long)((s.f_blocks - s.f_bfree) * s.f_frsize),
			(unsigned long long)(s.f_bavail * s.f_frsize));
	if (f.has_inodes && (f.inodes != s.f_files || f.inodes_used != s.f_files - s.f_ffree))
		fail_msg("%s: inodes %llu, used %llu; the kernel: %llu, %llu", mkfs,
			(unsigned long long)f.inodes, (unsigned long long)f.inodes_used,
			(unsigned long long)s.f_files, (unsigned long long)(s.f_files - s.f_ffree));
}

/* ---- ext ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *size, *mkfs, *type;
} exts[] = {
	{"40M", "mkfs.ext4 -q -F", "ext4"},
	{"40M", "mkfs.ext3 -q -F", "ext3"},
	{"40M", "mkfs.ext2 -q -F", "ext2"},
	{"40M", "mkfs.ext2 -q -F -r 0", "ext2"},
	{"40M", "mkfs.ext4 -q -F -b 1024 -m 0", "ext4"},
	{"100M", "mkfs.ext4 -q -F -b 2048 -m 20 -I 512", "ext4"},
	{"300M", "mkfs.ext4 -q -F -b 4096 -I 1024 -i 8192", "ext4"},
	{"300M", "mkfs.ext4 -q -F -b 1024 -O ^has_journal", "ext4"},
	{"300M", "mkfs.ext4 -q -F -b 1024 -O meta_bg,^resize_inode", "ext4"},
	{"300M", "mkfs.ext4 -q -F -b 1024 -O ^64bit,sparse_super2,^resize_inode", "ext4"},
	{"300M", "mkfs.ext4 -q -F -b 1024 -O ^sparse_super,^resize_inode -g 2048", "ext4"},
	{"300M", "mkfs.ext4 -q -F -O bigalloc -C 16384", "ext4"},
	{"300M", "mkfs.ext4 -q -F -O bigalloc -C 65536 -m 0", "ext4"},
	{"3G", "mkfs.ext4 -q -F -N 5000 -J size=16", "ext4"},
	{"3G", "mkfs.ext4 -q -F -b 1024 -O ^flex_bg,^uninit_bg,^metadata_csum", "ext4"},
};

static void test_ext(void **state)
{
	(void)state;
	must_mount();
	for (size_t i = 0; i < ARRAY_SIZE(exts); i++) {
		make(exts[i].size, exts[i].mkfs);
		assert_as_kernel(exts[i].mkfs);
		fill();
		assert_as_kernel(exts[i].mkfs);
		assert_string_equal(look_at(DISK, 0).type, exts[i].type);
	}
}

static uint64_t dumped(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	assert_non_null(at);
	return strtoull(at + strlen(key), NULL, 10);
}

/* Without the kernel: what mke2fs has summed up as overhead, and dumpe2fs tells. */
static void test_dumpe2fs(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf text = {0};
	make("64M",
		"mkfs.ext4 -q -F -b 4096 -L r\xc3\xb6st -U 01234567-89ab-cdef-0123-456789abcdef "
		"-E offset=1048576");
	struct filesystem f = look_at(DISK, START);
	assert_string_equal(f.type, "ext4");
	assert_string_equal(f.label, "r??st");
	assert_string_equal(f.uuid, "01234567-89ab-cdef-0123-456789abcdef");
	assert_int_equal(f.block, 4096);
	assert_false(f.unclean);
	assert_int_equal(TOOL(&text, "/usr/sbin/dumpe2fs", "-h", DISK "?offset=1048576"), 0);
	uint64_t blocks = dumped(text.data, "\nBlock count:"),
		 reserved = dumped(text.data, "\nReserved block count:");
	uint64_t unused = dumped(text.data, "\nFree blocks:"),
		 needed = dumped(text.data, "\nOverhead clusters:");
	assert_int_equal(f.total, (blocks - needed) * 4096);
	assert_int_equal(f.used, (blocks - needed - unused) * 4096);
	assert_int_equal(f.available, (unused - reserved - blocks / 50) * 4096);
	assert_int_equal(f.inodes, dumped(text.data, "\nInode count:"));
	assert_int_equal(f.inodes - f.inodes_used, dumped(text.data, "\nFree inodes:"));
}

/* The power goes while it is mounted, and a file is open that was removed. */
static void lose_power(void)
{
	assert_int_equal(shell("mount -o loop " DISK, "mnt"), 0);
	assert_int_equal(
		shell("mkdir mnt/d; for i in 1 2 3 4 5 6 7 8 9; do "
		      "head -c $((i * 37000)) /dev/zero >mnt/d/$i; mkdir mnt/$i; done; sync -f mnt; "
		      "rm mnt/d/3; head -c 3000000 /dev/zero >mnt/open; exec 9<mnt/open; "
		      "rm mnt/open; sync -f mnt; for i in 1 2 3; do rmdir mnt/$i; "
		      "echo x >mnt/x$i; sync -f mnt; done; cp --sparse=always " DISK
		      " copy; exec 9<&-; umount",
			"mnt"),
		0);
	assert_int_equal(shell("mv copy", DISK), 0);
}

/* What is told is what the next mount finds. */
static void test_unclean(void **state)
{
	(void)state;
	static const char *const all[][2] = {
		{"40M", "mkfs.ext4 -q -F"},
		{"40M", "mkfs.ext3 -q -F"},
		{"300M", "mkfs.ext3 -q -F -b 1024 -J size=80"},
		{"300M", "mkfs.ext4 -q -F -b 1024 -O ^metadata_csum,^64bit"},
		{"300M", "mkfs.ext4 -q -F -O bigalloc,orphan_file -C 16384"},
	};
	must_mount();
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		make(all[i][0], all[i][1]);
		lose_power();
		struct filesystem f = look_at(DISK, 0);
		assert_false(f.unclean);
		assert_int_equal(shell("mount -o loop " DISK, "mnt"), 0);
		assert_int_equal(shell("umount", "mnt"), 0);
		struct filesystem then = look_at(DISK, 0);
		if (f.used != then.used || f.inodes_used != then.inodes_used)
			fail_msg("%s: used %llu, inodes %llu; once mounted %llu, %llu", all[i][1],
				(unsigned long long)f.used, (unsigned long long)f.inodes_used,
				(unsigned long long)then.used,
				(unsigned long long)then.inodes_used);
		assert_as_kernel(all[i][1]);
	}
}

/* Where the journal is not to be read, it is said. */
static void test_journal_damaged(void **state)
{
	(void)state;
	must_mount();
	make("40M", "mkfs.ext4 -q -F");
	struct filesystem before = look_at(DISK, 0);
	lose_power();
	_cleanup_buf_ struct buf text = {0};
	assert_int_equal(TOOL(&text, "/usr/sbin/debugfs", "-R", "blocks <8>", DISK), 0);
	_cleanup_close_ int fd = open(DISK, O_RDWR | O_CLOEXEC);
	uint64_t journal = strtoull(text.data, NULL, 10);
	assert_true(journal > 0);
	assert_int_equal(pwrite(fd, "none", 4, (off_t)(journal * before.block)), 4);
	struct filesystem f = look_at(DISK, 0);
	assert_true(f.unclean);
	assert_int_equal(f.total, before.total);
}

/* ---- others --------------------------------------------------------------------------------------------- */

/* The kernel here need not know every file system. */
static void assert_as_kernel_if_it_can(const char *mkfs)
{
	if (!can_mount)
		return;
	if (shell("mount -o loop,ro " DISK, "mnt") != 0) {
		print_message("    the kernel cannot mount what comes from %s\n", mkfs);
		return;
	}
	assert_int_equal(shell("umount", "mnt"), 0);
	assert_as_kernel(mkfs);
}

static void assert_as_fsck(const struct filesystem *f, const char *mkfs)
{
	_cleanup_buf_ struct buf text = {0};
	TOOL(&text, "/usr/sbin/fsck.vfat", "-n", DISK); /* "disk.raw: 8 files, 31/1007 clusters" */
	const char *at = text.data ? strstr(text.data, " files, ") : NULL;
	unsigned used, total;
	assert_non_null(at);
	assert_int_equal(sscanf(at, " files, %u/%u clusters", &used, &total), 2);
	if (f->total != total * f->block || f->used != used * f->block ||
		f->available != (total - used) * f->block)
		fail_msg("%s: fsck says %u of %u clusters", mkfs, used, total);
}

static void test_fat(void **state)
{
	(void)state;
	static const char *const all[][2] = {
		{"1M", "mkfs.vfat -F 12"},
		{"5M", "mkfs.vfat -F 12 -s 4 -n WEB -i 1234abcd"},
		{"40M", "mkfs.vfat -F 16 -n WEB -i 1234abcd"},
		{"40M", "mkfs.vfat -F 32 -s 1 -n WEB -i 1234abcd"},
		{"300M", "mkfs.vfat -F 32 -n WEB -i 1234abcd"},
		{"40M", "mkfs.vfat -F 12 -S 4096 -f 1 -s 4 -n WEB -i 1234abcd"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		make(all[i][0], all[i][1]);
		struct filesystem f = look_at(DISK, 0);
		assert_string_equal(f.type, "vfat");
		assert_string_equal(f.label, i ? "WEB" : "");
		if (i)
			assert_string_equal(f.uuid, "1234-ABCD");
		assert_as_fsck(&f, all[i][1]);
		assert_int_equal(shell("head -c 250001 /dev/zero >a; head -c 33333 /dev/zero >b; "
				       "mcopy -i " DISK " a ::a && mcopy -i " DISK
				       " b ::b && mcopy -i " DISK " b ::c && mdel -i " DISK,
					 "::b"),
			0);
		f = look_at(DISK, 0);
		assert_true(f.used > 283000);
		assert_as_fsck(&f, all[i][1]);
		assert_as_kernel_if_it_can(all[i][1]);
	}
}

static void test_iso(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf text = {0};
	MUST("/bin/sh", "-c", "mkdir -p tree; head -c 300000 /dev/zero >tree/data");
	unlink(DISK);
	if (!have("genisoimage"))
		lacking("genisoimage");
	assert_int_equal(shell("genisoimage -quiet -J -R -V cidata -o " DISK, "tree"), 0);
	struct filesystem f = look_at(DISK, 0);
	assert_string_equal(f.type, "iso9660");
	assert_string_equal(f.label, "cidata");
	assert_int_equal(f.available, 0);
	assert_int_equal(f.total, f.used);
	assert_int_equal(TOOL(&text, "/usr/bin/isoinfo", "-d", "-i", DISK), 0);
	assert_int_equal(f.total, dumped(text.data, "\nVolume size is:") * 2048);
	assert_as_kernel_if_it_can("genisoimage");
}

static void test_swap(void **state)
{
	(void)state;
	make("10M", "mkswap -L pages -U 01234567-89ab-cdef-0123-456789abcdef");
	struct filesystem f = look_at(DISK, 0);
	assert_string_equal(f.type, "swap");
	assert_string_equal(f.label, "pages");
	assert_string_equal(f.uuid, "01234567-89ab-cdef-0123-456789abcdef");
	assert_int_equal(f.total, (10 << 20) - 4096); /* as mkswap says */
	assert_true(f.has_total && !f.has_used);
}

/* Is `ours` as near as a twentieth to theirs? */
static void assert_near(uint64_t ours, uint64_t theirs, uint64_t of)
{
	uint64_t apart = ours > theirs ? ours - theirs : theirs - ours;
	if (apart > of / 20)
		fail_msg("%llu, but the kernel says %llu", (unsigned long long)ours,
			(unsigned long long)theirs);
}

static void test_xfs(void **state)
{
	(void)state;
	make("320M", "mkfs.xfs -q -L data -m uuid=01234567-89ab-cdef-0123-456789abcdef");
	struct filesystem f = look_at(DISK, 0);
	assert_string_equal(f.type, "xfs");
	assert_string_equal(f.label, "data");
	assert_string_equal(f.uuid, "01234567-89ab-cdef-0123-456789abcdef");
	assert_true(f.approximate);
	if (!can_mount || shell("mount -o loop,ro " DISK, "mnt") != 0)
		return;
	shell("umount", "mnt");
	struct statvfs s = kernel_says();
	assert_int_equal(f.total, s.f_blocks * s.f_frsize);
	assert_near(f.available, s.f_bavail * s.f_frsize, f.total);
}

static void test_btrfs(void **state)
{
	(void)state;
	make("320M", "mkfs.btrfs -q -L data -U 01234567-89ab-cdef-0123-456789abcdef");
	struct filesystem f = look_at(DISK, 0);
	assert_string_equal(f.type, "btrfs");
	assert_string_equal(f.label, "data");
	assert_string_equal(f.uuid, "01234567-89ab-cdef-0123-456789abcdef");
	assert_true(f.approximate);
	assert_int_equal(f.total, 320 << 20);
	assert_true(f.used > 0 && f.used < 8 << 20);
}

static void test_named(void **state)
{
	(void)state;
	_cleanup_free_ char *sector = xcalloc(1, 8192);
	memcpy(sector + 512, "LABELONE", 8);
	memcpy(sector + 512 + 24, "LVM2 001abcdefghijklmnopqrstuvwxyz012345", 40);
	write_file(DISK, sector, 8192);
	struct filesystem f = look_at(DISK, 0);
	assert_string_equal(f.type, "LVM2_member");
	assert_string_equal(f.uuid, "abcdef-ghij-klmn-opqr-stuv-wxyz-012345");
	assert_false(f.has_total);
	make_luks("luks", "key-secret=s,iter-time=10", "luks.img", "1M");
	assert_string_equal(look_at("luks.img", 0).type, "crypto_LUKS");
	memset(sector, 0, 8192);
	write_file(DISK, sector, 8192);
	assert_null(look_at(DISK, 0).type);
	write_file(DISK, sector, 100);
	assert_null(look_at(DISK, 0).type);
}

/* What is mounted here nobody else sees, and it goes with us. */
static int enter(void **state)
{
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (scratch_enter(state) < 0)
		return -1;
	can_mount = find_mount();
	if (!can_mount)
		print_message("    nothing can be mounted here: the kernel is not asked\n");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ext),
		cmocka_unit_test(test_dumpe2fs),
		cmocka_unit_test(test_unclean),
		cmocka_unit_test(test_journal_damaged),
		cmocka_unit_test(test_fat),
		cmocka_unit_test(test_iso),
		cmocka_unit_test(test_swap),
		cmocka_unit_test(test_xfs),
		cmocka_unit_test(test_btrfs),
		cmocka_unit_test(test_named),
	};
	return cmocka_run_group_tests_name("filesystem", tests, enter, scratch_leave);
}
