/*
 * images/chain.c: a chain is resolved as QEMU would resolve it, or refused by name.
 */
#include "scratch.h"

#include <stdio.h>
#include <sys/stat.h>

#include "images/chain.h"

#define MIB (1ULL << 20)

static void overlay(const char *name, const char *backing, const char *format)
{
	struct err err = ERR_INIT;
	const struct qcow2_new what = {.size = MIB, .backing = backing, .backing_format = format};
	unlink(name);
	if (qcow2_create(AT_FDCWD, name, &what, &err) < 0)
		fail_msg("%s", err.message);
}

static void raw(const char *name, size_t len)
{
	_cleanup_free_ char *zeroes = xcalloc(1, len);
	write_file(name, zeroes, len);
}

/* `name` cannot be resolved, for that reason; the hint, where there is one, has `hint` in it. */
static void assert_refused(
	const char *name, bool qcow2, enum err_kind kind, const char *why, const char *hint)
{
	struct err err = ERR_INIT;
	struct chain c = {.count = 77};
	assert_int_equal(chain_resolve(name, qcow2, &c, &err), -1);
	assert_int_equal(c.count, 77);
	if (err.kind != kind || !strstr(err.message, why) || !strstr(err.hint, hint))
		fail_msg("%s: '%s' [%s], not '%s' [%s]", err_kind_name(err.kind), err.message,
			err.hint, why, hint);
}

/* Files and order are those that qemu-img follows. */
static void assert_as_qemu(const char *name, size_t count)
{
	struct err err = ERR_INIT;
	struct chain c = {0};
	_cleanup_buf_ struct buf out = {0};
	if (chain_resolve(name, true, &c, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(c.count, count);
	assert_int_equal(TOOL(&out, QEMU_IMG, "info", "--output=json", "--backing-chain", "-f",
				 "qcow2", name),
		0);
	_cleanup_json_ json_t *theirs = json_text_parse(out.data, out.len, &err);
	assert_int_equal(json_array_size(theirs), count);
	for (size_t i = 0; i < count; i++) {
		const json_t *their = json_array_get(theirs, i);
		struct stat st;
		assert_int_equal(stat(json_get_str(their, "filename", ""), &st), 0);
		assert_int_equal(st.st_dev, c.links[i].device);
		assert_int_equal(st.st_ino, c.links[i].inode);
		assert_int_equal(st.st_size, c.links[i].file_size);
		assert_int_equal(st.st_mtim.tv_nsec, c.links[i].mtime_ns % 1000000000);
		assert_int_equal(c.links[i].path[0], '/');
		assert_int_equal(c.links[i].virtual_size, json_get_int(their, "virtual-size", -1));
		assert_string_equal(
			c.links[i].qcow2 ? "qcow2" : "raw", json_get_str(their, "format", ""));
	}
	chain_free(&c);
}

static void resolved(void **state)
{
	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	assert_int_equal(mkdir("sub/deep", 0700), 0);
	raw("base.raw", 1000);
	overlay("one", NULL, NULL);
	assert_as_qemu("one", 1);
	overlay("two", "base.raw", "raw");
	assert_as_qemu("two", 2);
	overlay("sub/three", "../two", "qcow2");
	assert_as_qemu("sub/three", 3);
	overlay("sub/deep/four", "../three", "qcow2");
	assert_as_qemu("./sub/../sub/deep/four", 4);
	_cleanup_free_ char *absolute = str_fmt("%s/sub/deep/four", scratch);
	overlay("five", absolute, "qcow2");
	assert_as_qemu("five", 5);
	raw("a:b", 512);
	overlay("six", "a:b", "raw");
	assert_as_qemu("six", 2);
	raw("with, comma {}", 512);
	overlay("seven", "with, comma {}", "raw");
	assert_as_qemu("seven", 2);
}

static void paths_are_settled(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct chain c = {0};
	char real[4096];
	assert_non_null(realpath(scratch, real));
	assert_int_equal(chain_resolve("sub/../sub/./three", true, &c, &err), 0);
	_cleanup_free_ char *three = str_fmt("%s/sub/three", real);
	_cleanup_free_ char *two = str_fmt("%s/two", real);
	assert_string_equal(c.links[0].path, three);
	assert_string_equal(c.links[1].path, two);
	chain_free(&c);
	assert_int_equal(c.count, 0);
	chain_free(&c);
}

/* A relative name counts from the folder of the link, not of the file that the link leads to. */
static void symbolic_links(void **state)
{
	(void)state;
	assert_int_equal(mkdir("elsewhere", 0700), 0);
	raw("elsewhere/base", 512);
	overlay("elsewhere/d", "base", "raw");
	assert_int_equal(symlink("elsewhere/d", "link"), 0);
	assert_refused("link", true, ERR_NOT_FOUND, "backing file", "rebase -u");
	raw("base", 1024);
	assert_as_qemu("link", 2);
	assert_int_equal(symlink("elsewhere", "folder-link"), 0);
	assert_as_qemu("folder-link/d", 2);
	assert_int_equal(symlink("dangling", "nowhere"), 0);
	assert_refused("nowhere", false, ERR_NOT_FOUND, "/nowhere", "");
	assert_int_equal(symlink("self", "self"), 0);
	assert_refused("self", false, ERR_SYSTEM, "/self", "");
}

static void loops(void **state)
{
	(void)state;
	overlay("self1", "self1", "qcow2");
	assert_refused("self1", true, ERR_REFUSED, "loops", "");
	overlay("a", "b", "qcow2");
	overlay("b", "c", "qcow2");
	overlay("c", "a", "qcow2");
	assert_refused("b", true, ERR_REFUSED, "loops", "");
	/* under other names: a hard link, a symbolic link, a detour */
	assert_int_equal(link("a", "hard"), 0);
	overlay("c", "hard", "qcow2");
	assert_refused("a", true, ERR_REFUSED, "loops", "");
	assert_int_equal(symlink("a", "soft"), 0);
	overlay("c", "sub/../soft", "qcow2");
	assert_refused("a", true, ERR_REFUSED, "loops", "");
	/* the same file read as raw at the end is a loop too: it is written through the top */
	overlay("c", "a", "raw");
	assert_refused("a", true, ERR_REFUSED, "loops", "");
}

static void depth(void **state)
{
	(void)state;
	overlay("n0", NULL, NULL);
	for (int i = 1; i < 64; i++) {
		char name[8], below[8];
		snprintf(name, sizeof(name), "n%d", i);
		snprintf(below, sizeof(below), "n%d", i - 1);
		overlay(name, below, "qcow2");
	}
	assert_as_qemu("n31", CHAIN_MAX);
	assert_refused("n32", true, ERR_REFUSED, "more than 32 files", "");
	assert_refused("n63", true, ERR_REFUSED, "more than 32 files", "");
}

/* Names that our own writer would not write: put into the header afterwards. */
static void set_backing_name(const char *image, const char *name)
{
	char old[64] = {0};
	memset(old, 'x', strlen(name));
	overlay(image, old, "raw");
	_cleanup_close_ int fd = open(image, O_RDWR);
	uint64_t be_offset;
	assert_int_equal(pread(fd, &be_offset, 8, 8), 8);
	assert_int_equal(
		pwrite(fd, name, strlen(name), (off_t)__builtin_bswap64(be_offset)), strlen(name));
}

static void not_local_names(void **state)
{
	(void)state;
	static const char *const names[] = {"json:{\"driver\":\"nbd\"}", "nbd:unix:/x", "nbd://h/x",
		"http://h/x", "https:x", "file:base", "fat:rw:/", "ssh://h/x", "rbd:x", ":", "a:b",
		"iscsi://x/y"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		set_backing_name("d", names[i]);
		assert_refused("d", true, ERR_REFUSED, "is not a local file's name", "rebase -u");
	}
	set_backing_name("d", "./a:b");
	struct err err = ERR_INIT;
	struct chain c = {0};
	assert_int_equal(chain_resolve("d", true, &c, &err), 0);
	assert_int_equal(c.count, 2);
	chain_free(&c);
}

static void formats(void **state)
{
	(void)state;
	overlay("d", "base", "raw");
	/* the extension of the format renamed to one that nobody knows */
	int fd = open("d", O_WRONLY);
	assert_int_equal(pwrite(fd, "\x11\x22\x33\x44", 4, 112), 4);
	close(fd);
	assert_refused("d", true, ERR_REFUSED,
		"does not say which format its backing file 'base' has",
		"qemu-img rebase -u -F FORMAT -b base /");
	overlay("d", "base", "qcow2");
	fd = open("d", O_WRONLY);
	assert_int_equal(pwrite(fd, "vmdk2", 5, 120), 5);
	close(fd);
	assert_refused("d", true, ERR_REFUSED, "has the format 'vmdk2'", "qemu-img rebase -u");
	overlay("d", "base", "qcow2");
	assert_refused("d", true, ERR_USAGE, "backing file of '", "");
	assert_refused("base", true, ERR_USAGE, "not a qcow2 image", "");
	/* a guest wrote a qcow2 header onto its raw disk: still raw, its backing name means nothing */
	struct err err = ERR_INIT;
	struct chain c = {0};
	assert_int_equal(chain_resolve("d", false, &c, &err), 0);
	assert_int_equal(c.count, 1);
	assert_false(c.links[0].qcow2);
	chain_free(&c);
	overlay("e", "d", "raw");
	assert_int_equal(chain_resolve("e", true, &c, &err), 0);
	assert_int_equal(c.count, 2);
	chain_free(&c);
}

static void missing(void **state)
{
	(void)state;
	assert_refused("not here", true, ERR_NOT_FOUND, "/not here': No such file", "");
	assert_refused("no/folder/d", true, ERR_NOT_FOUND, "no/folder/d': No such file", "");
	assert_int_equal(mkdir("copied here", 0700), 0);
	overlay("copied here/d", "ubuntu.qcow2", "qcow2");
	_cleanup_free_ char *hint = str_fmt(
		"qemu-img rebase -u -F qcow2 -b /PATH/TO/ubuntu.qcow2 '%s/copied here/d'", scratch);
	assert_refused("copied here/d", true, ERR_NOT_FOUND, "its backing file '", hint);
	/* the line of the hint, with the path filled in, does mend it */
	overlay("ubuntu.qcow2", NULL, NULL);
	_cleanup_free_ char *base = str_fmt("%s/ubuntu.qcow2", scratch);
	MUST(QEMU_IMG, "rebase", "-u", "-F", "qcow2", "-b", base, "copied here/d");
	assert_as_qemu("copied here/d", 2);
}

static void not_files(void **state)
{
	(void)state;
	overlay("d", "/dev/watchdog", "raw");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_refused("fifo", false, ERR_REFUSED, "is a FIFO", "regular files");
	assert_refused("sub", false, ERR_REFUSED, "is a folder", "regular files");
	assert_refused("sub/", false, ERR_REFUSED, "is a folder", "regular files");
	assert_refused("sub/..", false, ERR_REFUSED, "is a folder", "regular files");
	assert_refused("/dev/null", false, ERR_REFUSED, "is a character device", "regular files");
	assert_refused("", false, ERR_REFUSED, "is a folder", "regular files");
	overlay("d", "fifo", "raw");
	assert_refused("d", true, ERR_REFUSED, "is a FIFO", "regular files");
}

static void features(void **state)
{
	(void)state;
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=data", "with-data", "1M");
	assert_refused("with-data", true, ERR_REFUSED, "external data file", "");
	overlay("d", "with-data", "qcow2");
	assert_refused("d", true, ERR_REFUSED, "external data file", "");
	make_luks("qcow2", QCOW2_LUKS, "luks", "1M");
	assert_refused("luks", true, ERR_REFUSED, "encrypted", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolved),
		cmocka_unit_test(paths_are_settled),
		cmocka_unit_test(symbolic_links),
		cmocka_unit_test(loops),
		cmocka_unit_test(depth),
		cmocka_unit_test(not_local_names),
		cmocka_unit_test(formats),
		cmocka_unit_test(missing),
		cmocka_unit_test(not_files),
		cmocka_unit_test(features),
	};
	return cmocka_run_group_tests_name("chain", tests, scratch_enter, scratch_leave);
}
