/*
 * images/store*.c: what enters is whole, hashed and read-only; what is refused leaves nothing; two of
 * one name; what a killed process has left is taken over or cleared away.
 */
#include "scratch.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <stdio.h>

#include "images/store.h"

static char digester[256], folder[128];
static struct store s;

/* libexec/roost/roost-digest beside the folder of this test; "" if it was not built. */
static void find_digester(void)
{
	ssize_t len = readlink("/proc/self/exe", digester, sizeof(digester) - 32);
	digester[len > 0 ? len : 0] = '\0';
	char *tests = strstr(digester, "/tests/");
	if (tests)
		strcpy(tests, "/libexec/roost/roost-digest");
	if (access(digester, X_OK) < 0)
		digester[0] = '\0';
}

static int store_enter_scratch(void **state)
{
	struct err err = ERR_INIT;
	umask(077);
	if (scratch_enter(state) < 0 || mkdir("store", 0700) < 0)
		return -1;
	snprintf(folder, sizeof(folder), "%s/store", scratch);
	s = (struct store){
		.dir = dir_open(AT_FDCWD, "store", &err), .path = folder, .digester = digester};
	return s.dir < 0 ? -1 : 0;
}

static size_t files_in(const char *name)
{
	_cleanup_buf_ struct buf out = {0};
	size_t lines = 0;
	assert_int_equal(TOOL(&out, "/usr/bin/find", name, "-mindepth", "1"), 0);
	for (size_t i = 0; i < out.len; i++)
		lines += out.data[i] == '\n';
	return lines;
}

/* Enters the file `from`; 0, or -1 with *err. */
static int enter(const char *name, const char *from, const struct store_wish *wish,
	struct store_image *out, struct err *err)
{
	_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
	_cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	if (store_begin(&s, name, false, &e, err) < 0)
		return -1;
	assert_int_equal(store_copy(&s, &e, fd, err), 0);
	return store_enter(&s, &e, wish, out, err);
}

static void assert_refused(
	const char *from, const struct store_wish *wish, enum err_kind kind, const char *why)
{
	struct err err = ERR_INIT;
	size_t before = files_in("store");
	assert_int_equal(enter("refused", from, wish, NULL, &err), -1);
	if (err.kind != kind || !strstr(err.message, why))
		fail_msg("%s: '%s', not '%s'", err_kind_name(err.kind), err.message, why);
	assert_int_equal(files_in("store"), before);
}

static void whole(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_store_image_ struct store_image i = {0}, again = {0};
	_cleanup_buf_ struct buf sum = {0};
	struct stat st;
	struct store_facts facts = {.source = (char *)"/srv/a.qcow2",
		.os = (char *)"debian 12",
		.min_memory = 512 << 20,
		.tags = {(char *)"stable"},
		.tag_count = 1};
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "8M");
	MUST(QEMU_IO, "-c", "write -P 7 0 3M", "a.qcow2");
	if (enter("a", "a.qcow2", &(struct store_wish){.facts = &facts}, &i, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(files_in("store"), 3);
	assert_int_equal(stat("store/a/disk.qcow2", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(i.inode, st.st_ino);
	assert_int_equal(i.size, st.st_size);
	assert_int_equal(i.virtual_size, 8 << 20);
	assert_true(i.qcow2);
	assert_string_equal(i.facts.os, "debian 12");
	assert_int_equal(i.facts.min_memory, 512 << 20);
	assert_string_equal(i.facts.tags[0], "stable");
	TOOL(&sum, "/usr/bin/sha256sum", "a.qcow2");
	assert_memory_equal(i.digest, "sha256:", 7);
	assert_memory_equal(i.digest + 7, sum.data, 64);
	MUST("/usr/bin/cmp", "a.qcow2", "store/a/disk.qcow2");
	assert_int_equal(store_check(&s, &i, &err), 0);
	assert_int_equal(store_verify(&s, &i, &err), 0);
	assert_int_equal(enter("a", "a.qcow2", &(struct store_wish){0}, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(files_in("store"), 3);
	assert_int_equal(store_look(&s, "none", &again, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(store_remove(&s, "a", &err), 0);
	assert_int_equal(files_in("store"), 0);
}

static void holes(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct stat st;
	_cleanup_store_image_ struct store_image i = {0};
	write_file("sparse", "some boot sector", 16);
	assert_int_equal(truncate("sparse", 300 << 20), 0);
	if (enter("sparse", "sparse", &(struct store_wish){0}, &i, &err) < 0)
		fail_msg("%s", err.message);
	assert_false(i.qcow2);
	assert_int_equal(stat("store/sparse/disk.raw", &st), 0);
	assert_int_equal(st.st_size, 300 << 20);
	assert_true(st.st_blocks < 2048);
	MUST("/usr/bin/cmp", "sparse", "store/sparse/disk.raw");
	assert_int_equal(store_remove(&s, "sparse", &err), 0);
}

static void refused(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf sum = {0};
	struct err err = ERR_INIT;
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "good", "1M");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "good", "overlay");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "data", "1M");
	MUST(QEMU_IMG, "create", "-q", "-f", "vmdk", "vmdk", "1M");
	write_file("raw", "x", 1);
	write_file("empty", "", 0);
	const struct store_wish any = {0}, qcow2 = {.format = STORE_QCOW2};
	assert_refused("overlay", &any, ERR_REFUSED, "has a backing file, 'good'");
	assert_refused("overlay", &qcow2, ERR_REFUSED, "has a backing file, 'good'");
	assert_refused("data", &any, ERR_REFUSED, "external data file");
	assert_refused("vmdk", &any, ERR_REFUSED, "VMDK");
	assert_refused("raw", &qcow2, ERR_USAGE, "magic is missing");
	assert_refused("empty", &any, ERR_USAGE, "empty");
	assert_refused("empty", &qcow2, ERR_USAGE, "empty");
	assert_refused("empty", &(struct store_wish){.format = STORE_RAW}, ERR_USAGE, "empty");
	char wrong[] = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
	assert_refused("good", &(struct store_wish){.digest = wrong}, ERR_REFUSED,
		"its digest is sha256:");
	assert_refused(
		"good", &(struct store_wish){.digest = "sha256:12"}, ERR_USAGE, "is no digest");
	/* the right one, of the other algorithm and in capitals */
	TOOL(&sum, "/usr/bin/sha512sum", "good");
	sum.data[128] = '\0';
	for (char *p = sum.data; *p; p++)
		*p = *p >= 'a' ? (char)(*p - 32) : *p;
	if (enter("good", "good", &(struct store_wish){.digest = sum.data}, NULL, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(store_remove(&s, "good", &err), 0);
	static const char *const names[] = {"", ".", "..", "a/b", "-rf", "a\nb", "12", ".new-a",
		"a..b", "\xc3\xa4", "x,readonly=off",
		"0123456789012345678901234567890123456789012345678901234567890123456789"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
		assert_int_equal(store_begin(&s, names[i], false, &e, &err), -1);
		assert_int_equal(err.kind, ERR_USAGE);
	}
	assert_int_equal(files_in("store"), 0);
}

/* A template's: it stands on an image of the store, and on no other file. */
static void on_a_base(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_store_image_ struct store_image i = {0};
	_cleanup_free_ char *base = str_fmt("%s/base/disk.qcow2", folder);
	const struct store_wish any = {0}, on_base = {.base = "base"};
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "b", "1M");
	assert_int_equal(enter("base", "b", &any, NULL, &err), 0);
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, "top");
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "b", "other");
	assert_refused("other", &on_base, ERR_REFUSED, "does not stand on the image 'base'");
	assert_refused("b", &on_base, ERR_REFUSED, "does not stand on the image 'base'");
	assert_refused("top", &any, ERR_REFUSED, "has a backing file");
	assert_refused(
		"top", &(struct store_wish){.base = "none"}, ERR_NOT_FOUND, "no image 'none'");
	if (enter("top", "top", &on_base, &i, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(i.base, "base");
	assert_int_equal(store_remove(&s, "top", &err), 0);
	assert_int_equal(store_remove(&s, "base", &err), 0);
}

static void at_once(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct store_entry first = STORE_ENTRY_NONE, second = STORE_ENTRY_NONE;
	assert_int_equal(store_begin(&s, "one", false, &first, &err), 0);
	assert_int_equal(store_begin(&s, "one", false, &second, &err), -1);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_int_equal(store_clean(&s, false, NULL, NULL, &err), 0);
	assert_int_equal(faccessat(s.dir, ".new-one/disk", F_OK, 0), 0);
	assert_int_equal(write(first.fd, "half", 4), 4);
	store_entry_end(&first); /* as if it had been killed */
	assert_int_equal(store_begin(&s, "one", true, &second, &err), 0);
	struct stat st;
	assert_int_equal(fstat(second.fd, &st), 0);
	assert_int_equal(st.st_size, 4);
	store_entry_end(&second);
	assert_int_equal(store_begin(&s, "one", false, &second, &err), 0);
	assert_int_equal(fstat(second.fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	store_drop(&s, &second);
	store_entry_end(&second);
	assert_int_equal(files_in("store"), 1); /* the lock of the whole */
}

/* ---- killed ---------------------------------------------------------------------------------------- */

static const char *die_at;

static void die(void *about, const char *step, int64_t done, int64_t total)
{
	(void)about, (void)done, (void)total;
	if (str_eq(step, die_at))
		kill(getpid(), SIGKILL);
}

static void killed(void **state)
{
	(void)state;
	static const char *const steps[] = {
		"copy", "flush", "record", "named", "recorded", "entered"};
	struct err err = ERR_INIT;
	MUST(QEMU_IMG, "create", "-q", "-f", "qcow2", "k", "1M");
	for (size_t n = 0; n < ARRAY_SIZE(steps); n++) {
		_cleanup_store_image_ struct store_image i = {0};
		pid_t pid = fork();
		if (pid == 0) {
			die_at = steps[n];
			s.told = die;
			enter("k", "k", &(struct store_wish){0}, NULL, &err);
			_exit(0);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status))
			fail_msg("it survived '%s'", steps[n]);
		bool there = store_look(&s, "k", &i, &err) == 0;
		assert_int_equal(there, str_eq(steps[n], "entered"));
		if (there) {
			assert_int_equal(store_verify(&s, &i, &err), 0);
			assert_int_equal(store_remove(&s, "k", &err), 0);
		} else if (n % 2) { /* gone on from there */
			_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
			assert_int_equal(store_begin(&s, "k", true, &e, &err), 0);
			assert_int_equal(
				store_enter(&s, &e, &(struct store_wish){0}, NULL, &err), 0);
			assert_int_equal(store_remove(&s, "k", &err), 0);
		}
		assert_int_equal(store_clean(&s, false, NULL, NULL, &err), 0);
		assert_int_equal(files_in("store"), 1);
	}
}

static void changed(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_store_image_ struct store_image i = {0}, now = {0};
	write_file("c", "image", 5);
	assert_int_equal(enter("c", "c", &(struct store_wish){0}, &i, &err), 0);
	/* restored from a backup: the same bytes in another file */
	MUST("/usr/bin/cp", "store/c/disk.raw", "copy");
	MUST("/usr/bin/mv", "-f", "copy", "store/c/disk.raw");
	assert_int_equal(store_check(&s, &i, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(store_verify(&s, &i, &err), 0);
	assert_int_equal(store_look(&s, "c", &now, &err), 0);
	assert_int_equal(store_check(&s, &now, &err), 0);
	/* written to */
	assert_int_equal(chmod("store/c/disk.raw", 0600), 0);
	write_file("store/c/disk.raw", "Image", 5);
	assert_int_equal(store_check(&s, &now, &err), -1);
	assert_int_equal(store_verify(&s, &now, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(unlink("store/c/disk.raw"), 0);
	assert_int_equal(store_check(&s, &now, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	write_file("store/c/image.json", "{\"roost\":1}", 11);
	assert_int_equal(store_look(&s, "c", &(struct store_image){0}, &err), -1);
	assert_non_null(strstr(err.message, "is broken"));
	assert_int_equal(store_remove(&s, "c", &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(holes),
		cmocka_unit_test(refused),
		cmocka_unit_test(on_a_base),
		cmocka_unit_test(at_once),
		cmocka_unit_test(killed),
		cmocka_unit_test(changed),
	};
	find_digester();
	if (!digester[0]) {
		puts("store: roost-digest was not built");
		return 0;
	}
	return cmocka_run_group_tests_name("store", tests, store_enter_scratch, scratch_leave);
}
