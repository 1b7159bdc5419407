/*
 * Definitions, by folders of files. tests/definitions/bad: NAME.yaml is refused with the message in
 * the first line of NAME.expected and the hint in the second. good: NAME.yaml is what NAME.json
 * says, and that survives the way back. FOLDER stands for the folder made here.
 *
 * ROOST_WRITE_EXPECTED=1 writes what came out instead of comparing; read the difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "images/qcow2.h"
#include "orchestrator/definition.h"
#include "orchestrator/definition_yaml.h"

#define PUBLIC_KEY                                                                                 \
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFLYHnGdh4Dq0fQO9XeXbOCb3o1bLeQkL2w0xQ3sVnF"

static char folder[] = "/tmp/roost-definition.XXXXXX";

/* ---- what the definitions name --------------------------------------------------------------- */

static void put(const char *name, const char *content, size_t len)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, name);
	assert_int_equal(file_replace(AT_FDCWD, path, content, len, false, &err), 0);
}

static void put_qcow2(const char *name, uint64_t size, const char *backing)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, name);
	struct qcow2_new what = {
		.size = size, .backing = backing, .backing_format = backing ? "raw" : NULL};
	assert_int_equal(qcow2_create(AT_FDCWD, path, &what, &err), 0);
}

static void put_image(const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/state/images/%s", folder, name);
	_cleanup_free_ char *disk = str_fmt("state/images/%s/disk.qcow2", name);
	_cleanup_close_ int fd = dir_make(path, 0711, &err);
	assert_true(fd >= 0);
	put_qcow2(disk, 10 << 20, NULL);
	/* as it would be after it had entered */
	struct stat st;
	assert_int_equal(fstatat(fd, "disk.qcow2", &st, 0), 0);
	_cleanup_free_ char *digest = str_fmt("%064d", 0);
	_cleanup_json_ json_t *o = json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "roost", 1,
		"digest", digest, "format", "qcow2", "virtual_size", (json_int_t)10 << 20, "size",
		(json_int_t)st.st_size, "inode", (json_int_t)st.st_ino, "mtime_ns",
		(json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, "entered",
		(json_int_t)0);
	assert_int_equal(json_file_write(fd, "image.json", o, false, &err), 0);
}

static int make_folder(void **state)
{
	static const char *const plain[] = {"vmlinuz", "initrd.img", "install.iso", "disk.txt"};
	static const char zeros[1024 * 1024];
	static const char two_keys[] = "# mine\n\n  " PUBLIC_KEY " one\r\n" PUBLIC_KEY " two";
	static const char private_key[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n";
	(void)state;
	assert_non_null(mkdtemp(folder));
	_cleanup_free_ char *store = str_fmt("%s/state", folder);
	setenv("ROOST_STATE", store, 1);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		put(plain[i], "some text\n", 10);
	put("user-data", "#!/bin/sh\n", 10);
	put("disk.raw", zeros, sizeof(zeros));
	put("a, b.raw", zeros, 4096);
	put("id.pub", two_keys, strlen(two_keys));
	put("empty.pub", "\n# none\n", 8);
	put("id", private_key, strlen(private_key));
	put_qcow2("base.qcow2", 10 << 20, NULL);
	put_qcow2("both", 20 << 20, NULL);
	put_qcow2("overlay.qcow2", 10 << 20, "disk.raw");
	put_image("debian-12");
	put_image("both");
	return 0;
}

static int remove_folder(void **state)
{
	struct err err = ERR_INIT;
	(void)state;
	return dir_remove(AT_FDCWD, folder, &err);
}

/* ---- the folders of definitions -------------------------------------------------------------- */

/* With FOLDER for our folder's name. */
static char *neutral(const char *text)
{
	struct buf out = {0};
	for (const char *at; (at = strstr(text, folder)); text = at + strlen(folder)) {
		buf_add(&out, text, (size_t)(at - text));
		buf_str(&out, "FOLDER");
	}
	buf_str(&out, text);
	return buf_steal(&out);
}

static char *content_of(const char *path, size_t *len)
{
	struct err err = ERR_INIT;
	struct buf text = {0};
	if (file_read(AT_FDCWD, path, 4 << 20, &text, &err) < 0)
		fail_msg("%s", err.message);
	if (len)
		*len = text.len;
	return buf_steal(&text);
}

/* Compares with the file; or, when asked, writes it. */
static bool as_expected(const char *path, const char *got)
{
	struct err err = ERR_INIT;
	if (getenv("ROOST_WRITE_EXPECTED"))
		return file_replace(AT_FDCWD, path, got, strlen(got), false, &err) == 0;
	_cleanup_free_ char *expected = content_of(path, NULL);
	if (str_eq(expected, got))
		return true;
	print_error("%s:\nexpected: %sgot:      %s", path, expected, got);
	return false;
}

static bool one_bad(const char *path, const char *name)
{
	struct err err = ERR_INIT;
	size_t len;
	_cleanup_free_ char *text = content_of(path, &len);
	_cleanup_definition_ struct definition *d = definition_parse(text, len, name, folder, &err);
	if (d) {
		print_error("%s is taken as good\n", path);
		return false;
	}
	_cleanup_free_ char *report = err.hint[0] ? str_fmt("%s\n%s\n", err.message, err.hint)
						  : str_fmt("%s\n", err.message);
	_cleanup_free_ char *got = neutral(report);
	_cleanup_free_ char *expected = str_fmt("%.*s.expected", (int)strlen(path) - 5, path);
	return as_expected(expected, got);
}

/* As YAML for people it is the same definition again, and the same text. */
static bool same_as_yaml(const struct definition *d, const json_t *json, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *yaml = definition_to_yaml(d);
	_cleanup_definition_ struct definition *back =
		definition_parse(yaml, strlen(yaml), name, "/", &err);
	_cleanup_json_ json_t *again = back ? definition_to_json(back) : NULL;
	_cleanup_free_ char *yaml_again = back ? definition_to_yaml(back) : NULL;
	if (!back)
		print_error("%s as YAML: %s\n%s", name, err.message, yaml);
	else if (!json_equal((json_t *)json, again))
		print_error("%s: another definition as YAML:\n%s", name, yaml);
	else if (!str_eq(yaml, yaml_again))
		print_error("%s: another text the second time:\n%s%s", name, yaml, yaml_again);
	else
		return true;
	return false;
}

static bool one_good(const char *path, const char *name)
{
	struct err err = ERR_INIT;
	size_t len;
	_cleanup_free_ char *text = content_of(path, &len);
	_cleanup_definition_ struct definition *d = definition_parse(text, len, name, folder, &err);
	_cleanup_json_ json_t *json = d ? definition_to_json(d) : NULL;
	_cleanup_definition_ struct definition *back = d ? definition_from_json(json, &err) : NULL;
	if (!back) {
		print_error("%s: %s: %s\n", d ? "from_json" : "parse", path, err.message);
		return false;
	}
	_cleanup_json_ json_t *again = definition_to_json(back);
	_cleanup_free_ char *pretty = json_pretty(json), *got = neutral(pretty);
	_cleanup_free_ char *expected = str_fmt("%.*s.json", (int)strlen(path) - 5, path);
	if (!json_equal(json, again)) {
		print_error("%s: differs after the way back\n", path);
		return false;
	}
	return as_expected(expected, got) && same_as_yaml(d, json, name);
}

static void walk(const char *dir, size_t least, bool (*one)(const char *, const char *))
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	size_t walked = 0, failed = 0;
	_cleanup_close_ int fd = dir_open(AT_FDCWD, dir, &err);
	if (fd < 0 || dir_names(fd, &names, NULL, &err) < 0)
		fail_msg("%s", err.message);
	for (char **name = names; *name; name++) {
		_cleanup_free_ char *path = str_fmt("%s/%s", dir, *name);
		if (!str_ends(*name, ".yaml"))
			continue;
		walked++;
		failed += !one(path, *name);
	}
	assert_int_equal(failed, 0);
	assert_true(walked >= least);
}

static void bad_definitions(void **state)
{
	(void)state;
	walk("tests/definitions/bad", 150, one_bad);
}

static void good_definitions(void **state)
{
	(void)state;
	walk("tests/definitions/good", 7, one_good);
}

/* ---- what no file holds ---------------------------------------------------------------------- */

static void expect_refusal(const char *text, size_t len, const char *message)
{
	struct err err = ERR_INIT;
	assert_null(definition_parse(text, len, "x", folder, &err));
	assert_int_equal(err.kind, ERR_USAGE);
	assert_string_equal(err.message, message);
}

static void large_and_deep(void **state)
{
	(void)state;
	enum { LARGE = 2 << 20, DEEP = 100000 };
	_cleanup_free_ char *text = xcalloc(1, LARGE + 1);
	memset(text, '#', LARGE);
	memcpy(text, "name: a\n", 8);
	expect_refusal(text, LARGE, "x: larger than 1 MiB");
	memset(text, '[', DEEP);
	memset(text + 64, ']', 64);
	expect_refusal(text, 128, "x:1: a list, where a mapping is wanted");
	memset(text, '[', DEEP);
	expect_refusal(text, 65, "x:1: nested deeper than 64 levels");
	expect_refusal(text, DEEP, "x:1: nested deeper than 64 levels");
	for (size_t i = 0; i < DEEP / 2; i++)
		memcpy(text + 2 * i, "- ", 2);
	expect_refusal(text, DEEP, "x:1: nested deeper than 64 levels");
	for (size_t i = 0; i < DEEP; i += 4)
		memcpy(text + i, "{a: ", 4);
	expect_refusal(text, DEEP, "x:1: nested deeper than 64 levels");
}

/* From a client, or from a record that somebody changed. */
static void hostile_json(void **state)
{
	(void)state;
	static const struct {
		const char *json, *message;
	} cases[] = {
		{"[]", "a list, where a mapping is wanted"},
		{"{}", "the key 'name' is missing"},
		{"{\"name\":123}", "name: a whole number, where a text is wanted"},
		{"{\"name\":\"../x\"}", "guest '../x': the name may not begin with '.'"},
		{"{\"name\":\"a\",\"memory\":\"1G\"}", "memory: '1G' is not a whole number"},
		{"{\"name\":\"a\",\"memory\":-1}", "memory: -1 is negative"},
		{"{\"name\":\"a\",\"memory\":1048577}", "memory: 1048577 bytes are not whole MiB"},
		{"{\"name\":\"a\",\"vcpus\":1.5}",
			"vcpus: a number with a fraction, where a whole number is wanted"},
		{"{\"name\":\"a\",\"vcpus\":4294967297}",
			"vcpus: 4294967297 is not between 1 and 255"},
		{"{\"name\":\"a\",\"console\":\"true\"}",
			"console: 'true' is not true, false or a list of serial and virtio"},
		{"{\"name\":\"a\",\"cpu\":null}", "cpu: there is no value"},
		{"{\"name\":\"a\",\"cdrom\":\"/x.iso\"}", "cdrom: there is no such key"},
		{"{\"name\":\"a\",\"kernel\":\"vmlinuz\"}",
			"kernel: 'vmlinuz' is not an absolute path"},
		{"{\"name\":\"a\",\"kernel\":\"~/vmlinuz\"}",
			"kernel: '~/vmlinuz' is not an absolute path"},
		{"{\"name\":\"a\",\"disks\":[{\"size\":512,\"file\":\"../../etc/x.qcow2\"}]}",
			"file '../../etc/x.qcow2': the name may not begin with '.'"},
		{"{\"name\":\"a\",\"disks\":[{\"size\":512,\"file\":\"guest.json\"}]}",
			"disks[0].file: 'guest.json' does not end in .qcow2"},
		{"{\"name\":\"a\",\"disks\":[{\"size\":512,\"file\":\"a.qcow2\"},"
		 "{\"size\":512,\"file\":\"a.qcow2\"}]}",
			"disks[1].file: the file 'a.qcow2' is taken by another disk"},
		{"{\"name\":\"a\",\"disks\":[{\"path\":\"/x\",\"format\":\"raw\","
		 "\"file\":\"a.qcow2\"}]}",
			"disks[0].file: 'path' and 'file' exclude one another"},
		{"{\"name\":\"a\",\"disks\":[{\"image\":\"debian-12\",\"format\":\"qcow2\"}]}",
			"disks[0].image: 'debian-12' is not an absolute path"},
		{"{\"name\":\"a\",\"disks\":[{\"image\":\"/x\"}]}",
			"disks[0]: 'image' without 'format'"},
		{"{\"name\":\"a\",\"disks\":[{\"path\":\"/x\",\"format\":\"raw\",\"cdrom\":true}]}",
			"disks[0]: a CD-ROM is a read-only 'path' on scsi, sata or ide"},
		{"{\"name\":\"a\",\"cloud_init\":{\"keys\":[\"/root/.ssh/id_ed25519\"]}}",
			"cloud_init.keys[0]: '/root/.ssh/id_ed25519' is not a type of public key "
			"that SSH servers take"},
		{"{\"name\":\"a\",\"issued\":{\"id\":\"../x\"}}",
			"issued.id: '../x' is not 12 hex digits"},
		{"{\"name\":\"a\",\"issued\":{\"keeper_uid\":0}}",
			"issued: the key 'id' is missing"},
		{"{\"name\":\"a\",\"issued\":{\"id\":\"0123456789ab\",\"qemu_uid\":4294967295}}",
			"issued.qemu_uid: 4294967295 is not between 0 and 4294967294"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *json =
			json_text_parse(cases[i].json, strlen(cases[i].json), &err);
		assert_non_null(json);
		if (definition_from_json(json, &err))
			fail_msg("taken as good: %s", cases[i].json);
		assert_string_equal(err.message, cases[i].message);
		assert_int_equal(err.kind, ERR_USAGE);
	}
}

/* A definition with what roost issued: nothing is lost in guest.json. */
static void issued(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_definition_ struct definition *d =
		definition_parse("name: a", 7, "x", folder, &err);
	assert_non_null(d);
	assert_true(d->max_vcpus >= 1);
	assert_int_equal(d->nic_count, 1);
	uuid_new(d->uuid);
	mac_new(d->nics[0].mac);
	id_new(d->issued.id);
	d->issued.keeper_uid = 1900000000;
	d->issued.qemu_uid = 1900000001;
	d->issued.host_key = xstrdup(PUBLIC_KEY);
	_cleanup_json_ json_t *json = definition_to_json(d);
	_cleanup_definition_ struct definition *back = definition_from_json(json, &err);
	if (!back)
		fail_msg("%s", err.message);
	assert_string_equal(back->uuid, d->uuid);
	assert_string_equal(back->nics[0].mac, d->nics[0].mac);
	assert_string_equal(back->issued.id, d->issued.id);
	assert_int_equal(back->issued.keeper_uid, 1900000000);
	assert_int_equal(back->issued.qemu_uid, 1900000001);
	assert_string_equal(back->issued.host_key, PUBLIC_KEY);
}

/* What a later operation may bring about must not make a guest broken. */
static void record_stays_readable(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *json = json_pack(
		"{s:s, s:[], s:{s:s}}", "name", "a", "interfaces", "ready", "rung", "login");
	_cleanup_definition_ struct definition *d = definition_from_json(json, &err);
	if (!d)
		fail_msg("%s", err.message);
	assert_int_equal(d->nic_count, 0);
}

static void single_parts(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *disk =
		json_pack("{s:s, s:s, s:s}", "path", "/x.raw", "format", "raw", "bus", "scsi");
	_cleanup_json_ json_t *nic = json_pack("{s:{s:[s]}}", "user", "hostfwd", "2222-22");
	_cleanup_json_ json_t *junk = json_pack("{s:s}", "path", "/x.raw");
	struct disk_def d;
	struct nic_def n;
	assert_int_equal(disk_from_json(disk, &d, &err), 0);
	assert_int_equal(d.source, DISK_PATH);
	assert_int_equal(d.bus, BUS_SCSI);
	assert_string_equal(d.target, "");
	_cleanup_json_ json_t *disk_again = disk_to_json(&d);
	assert_string_equal(json_get_str(disk_again, "path", ""), "/x.raw");
	disk_free(&d);
	assert_int_equal(nic_from_json(nic, &n, &err), 0);
	assert_int_equal(n.forwards[0].host_port, 2222);
	_cleanup_json_ json_t *nic_again = nic_to_json(&n);
	_cleanup_free_ char *line = json_line(nic_again);
	assert_string_equal(line, "{\"user\":{\"hostfwd\":[\"tcp:127.0.0.1:2222-22\"],"
				  "\"restrict\":false},\"model\":\"virtio\"}");
	assert_int_equal(disk_from_json(junk, &d, &err), -1);
	assert_string_equal(err.message, "disk: 'path' without 'format'");
	assert_int_equal(disk_from_json(NULL, &d, &err), -1);
	assert_int_equal(nic_from_json(junk, &n, &err), -1);
}

static void targets(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	static const char text[] = "{name: a, disks: [{size: 1G}, {size: 1G, target: vdc}]}";
	_cleanup_definition_ struct definition *d =
		definition_parse(text, strlen(text), "x", folder, &err);
	char target[8];
	assert_non_null(d);
	assert_int_equal(disk_free_target(d, BUS_VIRTIO, target, &err), 0);
	assert_string_equal(target, "vdb");
	assert_int_equal(disk_free_target(d, BUS_SATA, target, &err), 0);
	assert_string_equal(target, "sda");
	assert_ptr_equal(definition_disk(d, "vdc"), &d->disks[1]);
	assert_null(definition_disk(d, "vdb"));
}

static void identities(void **state)
{
	(void)state;
	char uuid[37], mac[18], id[13], other[13];
	uuid_new(uuid);
	mac_new(mac);
	id_new(id);
	id_new(other);
	assert_int_equal(strlen(uuid), 36);
	assert_int_equal(uuid[14], '4');
	assert_non_null(strchr("89ab", uuid[19]));
	assert_int_equal(strlen(mac), 17);
	assert_true(str_starts(mac, "52:54:00:"));
	assert_int_equal(strlen(id), 12);
	assert_string_not_equal(id, other);
}

static void from_files(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/web.yaml", folder);
	put("web.yaml", "name: web\nkernel: vmlinuz\n", 26);
	_cleanup_definition_ struct definition *d = definition_read(path, &err);
	assert_non_null(d);
	_cleanup_free_ char *kernel = str_fmt("%s/vmlinuz", folder);
	assert_string_equal(d->kernel, kernel);
	assert_null(definition_read("/nonexistent/web.yaml", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_null(definition_read(folder, &err));
	assert_null(definition_read("/dev/zero", &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_definitions),
		cmocka_unit_test(good_definitions),
		cmocka_unit_test(large_and_deep),
		cmocka_unit_test(hostile_json),
		cmocka_unit_test(issued),
		cmocka_unit_test(record_stays_readable),
		cmocka_unit_test(single_parts),
		cmocka_unit_test(targets),
		cmocka_unit_test(identities),
		cmocka_unit_test(from_files),
	};
	return cmocka_run_group_tests_name("definition", tests, make_folder, remove_folder);
}
