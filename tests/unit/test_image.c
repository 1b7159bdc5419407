/*
 * images/image.c: which files may enter, as what; the rest is refused with the line that converts.
 */
#include "scratch.h"

#include <stdio.h>
#include <sys/stat.h>

#include "images/image.h"

static void assert_taken(const char *name, bool qcow2, uint64_t virtual_size)
{
	struct err err = ERR_INIT;
	struct image_look look;
	struct stat st;
	if (image_look(name, &look, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(look.qcow2, qcow2);
	assert_int_equal(look.virtual_size, virtual_size);
	assert_int_equal(look.file_size, st.st_size);
	assert_int_equal(look.inode, st.st_ino);
	assert_int_equal(look.device, st.st_dev);
	assert_int_equal(look.mtime_ns / 1000000000, st.st_mtim.tv_sec);
	assert_int_equal(look.mtime_ns % 1000000000, st.st_mtim.tv_nsec);
}

static void assert_refused(const char *name, enum err_kind kind, const char *why, const char *hint)
{
	struct err err = ERR_INIT;
	struct image_look look = {.virtual_size = 77};
	assert_int_equal(image_look(name, &look, &err), -1);
	assert_int_equal(look.virtual_size, 77);
	if (err.kind != kind || !strstr(err.message, why) || !strstr(err.hint, hint))
		fail_msg("%s: '%s' [%s], not '%s' [%s]", err_kind_name(err.kind), err.message,
			err.hint, why, hint);
}

static void taken(void **state)
{
	(void)state;
	char raw[1000] = "some boot sector";
	write_file("raw", raw, sizeof(raw));
	assert_taken("raw", false, 1024);
	write_file("tiny", "x", 1);
	assert_taken("tiny", false, 512);
	/* the suffix says nothing */
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "d.raw", "3M");
	assert_taken("d.raw", true, 3 << 20);
	MUST("/usr/bin/genisoimage", "-quiet", "-o", "iso.qcow2", "raw");
	struct stat st;
	assert_int_equal(stat("iso.qcow2", &st), 0);
	assert_taken("iso.qcow2", false, (uint64_t)st.st_size);
}

/* What qemu-img makes of each format that it can write; and what the hint says works on it. */
static void other_formats(void **state)
{
	(void)state;
	static const struct {
		const char *format, *option, *why;
	} rows[] = {
		{"vmdk", "subformat=monolithicSparse", "a VMDK image"},
		{"vmdk", "subformat=streamOptimized", "a VMDK image"},
		{"vmdk", "subformat=monolithicFlat", "a VMDK descriptor"},
		{"vdi", "static=off", "a VDI image"},
		{"vdi", "static=on", "a VDI image"},
		{"vhdx", "subformat=dynamic", "a VHDX image"},
		{"vpc", "subformat=dynamic", "a VHD image"},
		{"vpc", "subformat=fixed", "a VHD image"},
		{"qed", "cluster_size=64k", "a QED image"},
		{"parallels", "cluster_size=1M", "a Parallels image"},
		{"qcow", "encryption=off", "an old qcow image"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		/* what the store itself converts, in its jail, is told to enter so: t_store does it */
		bool enters = rows[i].format[0] == 'v' && !strstr(rows[i].why, "descriptor");
		_cleanup_free_ char *hint =
			enters ? xstrdup("roost image import --convert d")
			       : str_fmt("qemu-img convert -f %s -O qcow2 d NEW.qcow2",
					 rows[i].format);
		unlink("d");
		MUST(QEMU_IMG, "create", "-q", "-f", rows[i].format, "-o", rows[i].option, "d",
			"1M");
		assert_refused("d", ERR_REFUSED, rows[i].why, hint);
		MUST(QEMU_IMG, "convert", "-f", rows[i].format, "-O", "qcow2", "d", "NEW.qcow2");
		struct err err = ERR_INIT;
		struct image_look look;
		assert_int_equal(image_look("NEW.qcow2", &look, &err), 0);
		assert_true(look.qcow2 && look.virtual_size >= 1 << 20);
	}
	make_luks("luks", "key-secret=s,iter-time=10", "luks", "1M");
	assert_refused("luks", ERR_REFUSED, "a LUKS container", "driver=luks");
	MUST("/bin/sh", "-c",
		"printf x > PASSPHRASE-FILE; qemu-img convert --object "
		"secret,id=s,file=PASSPHRASE-FILE --image-opts -O qcow2 "
		"driver=luks,key-secret=s,file.filename=luks NEW.qcow2");
}

static void packed(void **state)
{
	(void)state;
	MUST("/bin/sh", "-c", "gzip -k raw; xz -k raw; bzip2 -k raw; tar -cf raw.tar raw");
	assert_refused("raw.gz", ERR_REFUSED, "compressed (gzip)", "gzip -dk raw.gz");
	assert_refused("raw.xz", ERR_REFUSED, "compressed (xz)", "xz -dk raw.xz");
	assert_refused("raw.bz2", ERR_REFUSED, "compressed (bzip2)", "bzip2 -dk raw.bz2");
	assert_refused("raw.tar", ERR_REFUSED, "a tar archive", "tar -xf raw.tar");
}

static void may_not_enter(void **state)
{
	(void)state;
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "d.raw", "-F", "qcow2", "d");
	assert_refused("d", ERR_REFUSED, "has a backing file, 'd.raw'", "convert");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=data", "d", "1M");
	assert_refused("d", ERR_REFUSED, "external data file", "convert");
	write_file("d", "QFI\xfb\0\0\0\3", 8);
	assert_refused("d", ERR_USAGE, "'d': qcow2 header: the header lies beyond the end", "");
	write_file("d", "", 0);
	assert_refused("d", ERR_USAGE, "is empty", "");
	assert_refused("absent", ERR_NOT_FOUND, "'absent': No such file", "");
	assert_refused(".", ERR_REFUSED, "is a folder", "regular files");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_refused("fifo", ERR_REFUSED, "is a FIFO", "regular files");
	assert_refused("/dev/zero", ERR_REFUSED, "is a character device", "regular files");
}

static void words_for_a_shell(void **state)
{
	(void)state;
	static const char *const texts[] = {"plain-1.2_x/y", "", "two words", "it's", "$(x)`y`\"\\",
		"caf\xc3\xa9", "~", "a\nb", "*"};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_buf_ struct buf out = {0};
		_cleanup_free_ char *word = shell_word(texts[i]);
		_cleanup_free_ char *line = str_fmt("printf %%s %s", word);
		assert_int_equal(TOOL(&out, "/bin/sh", "-c", line), 0);
		assert_string_equal(out.data, texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken),
		cmocka_unit_test(other_formats),
		cmocka_unit_test(packed),
		cmocka_unit_test(may_not_enter),
		cmocka_unit_test(words_for_a_shell),
	};
	return cmocka_run_group_tests_name("image", tests, scratch_enter, scratch_leave);
}
