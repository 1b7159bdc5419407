/*
 * libvirt's XML, by folders of files. tests/libvirt: NAME.xml is read as NAME.json says, or refused so. What is
 * read can be written, and is then read as the same.
 *
 * ROOST_WRITE_EXPECTED=1 writes what came out instead of comparing; read the difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/definition.h"
#include "orchestrator/libvirt_xml.h"
#include "orchestrator/network.h"

/* ---- the folder ---------------------------------------------------------------------------------------- */

/* What was read, or the error; one note a line. */
static char *report(const char *text, size_t len, const char *name)
{
	struct err err = ERR_INIT;
	struct buf out = {0};
	size_t i;
	json_t *note;
	_cleanup_json_ json_t *read = libvirt_read(text, len, name, &err);
	if (!read) {
		buf_fmt(&out, "refused: %s\n", err.message);
		return buf_steal(&out);
	}
	_cleanup_free_ char *definition = json_pretty(json_object_get(read, "definition"));
	buf_fmt(&out, "%s of a %s\n", definition, json_get_str(read, "kind", ""));
	json_array_foreach (json_object_get(read, "notes"), i, note)
		buf_fmt(&out, "%s%lld: %s: %s\n",
			json_get_bool(note, "stops", false) ? "STOPS " : "",
			(long long)json_get_int(note, "line", 0), json_get_str(note, "path", ""),
			json_get_str(note, "what", ""));
	json_object_del(read, "definition");
	json_object_del(read, "notes");
	json_object_del(read, "kind");
	_cleanup_free_ char *more = json_line(read);
	buf_fmt(&out, "%s\n", more);
	return buf_steal(&out);
}

static bool one(const char *path, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0}, wanted = {0};
	_cleanup_free_ char *expected = str_fmt("%.*s.expected", (int)strlen(path) - 4, path);
	assert_int_equal(file_read(AT_FDCWD, path, 4 << 20, &text, &err), 0);
	_cleanup_free_ char *got = report(text.data, text.len, name);
	if (getenv("ROOST_WRITE_EXPECTED"))
		return file_replace(AT_FDCWD, expected, got, strlen(got), false, &err) == 0;
	if (file_read(AT_FDCWD, expected, 4 << 20, &wanted, &err) == 0 && str_eq(wanted.data, got))
		return true;
	print_error("%s:\nexpected: %s\ngot:      %s\n", path, wanted.data, got);
	return false;
}

static void files(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	size_t walked = 0, failed = 0;
	_cleanup_close_ int fd = dir_open(AT_FDCWD, "tests/libvirt", &err);
	(void)state;
	assert_int_equal(dir_names(fd, &names, NULL, &err), 0);
	for (char **name = names; *name; name++) {
		_cleanup_free_ char *path = str_fmt("tests/libvirt/%s", *name);
		if (!str_ends(*name, ".xml"))
			continue;
		walked++;
		failed += !one(path, *name);
	}
	assert_int_equal(failed, 0);
	assert_true(walked >= 15);
}

/* ---- what virt-install made ----------------------------------------------------------------------------- */

static json_t *read_file(const char *path)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	assert_int_equal(file_read(AT_FDCWD, path, 4 << 20, &text, &err), 0);
	json_t *read = libvirt_read(text.data, text.len, path, &err);
	if (!read)
		fail_msg("%s", err.message);
	return read;
}

/* What is written of it says the same: of a guest that is defined, in the form of its record. */
static void written_and_read(void **state)
{
	static const char *const guests[] = {
		"bios", "uefi", "two", "kernel", "cdrom", "generic", "headless"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		struct err err = ERR_INIT;
		_cleanup_free_ char *path = str_fmt("tests/e2e/libvirt/%s.xml", guests[i]);
		_cleanup_json_ json_t *read = read_file(path);
		_cleanup_definition_ struct definition *d =
			definition_from_json(json_object_get(read, "definition"), &err);
		if (!d)
			fail_msg("%s: %s", path, err.message);
		_cleanup_json_ json_t *request =
			json_pack("{s:o}", "definition", definition_to_json(d));
		_cleanup_free_ char *xml = libvirt_write_domain(request, &err);
		_cleanup_json_ json_t *again = libvirt_read(xml, strlen(xml), "again", &err);
		assert_non_null(again);
		_cleanup_definition_ struct definition *back =
			definition_from_json(json_object_get(again, "definition"), &err);
		assert_non_null(back);
		_cleanup_json_ json_t *a = definition_to_json(d), *b = definition_to_json(back);
		if (!json_equal(a, b))
			fail_msg("%s: another definition after it was written:\n%s", path, xml);
	}
}

static void network_is_the_same(const char *path)
{
	struct err err = ERR_INIT;
	struct network n, back;
	_cleanup_json_ json_t *read = read_file(path);
	assert_int_equal(network_from_json(json_object_get(read, "definition"), &n, &err), 0);
	_cleanup_json_ json_t *request = json_pack("{s:o, s:O}", "definition", network_to_json(&n),
		"hosts", json_object_get(read, "hosts"));
	_cleanup_free_ char *xml = libvirt_write_network(request, &err);
	_cleanup_json_ json_t *again = libvirt_read(xml, strlen(xml), "again", &err);
	assert_int_equal(network_from_json(json_object_get(again, "definition"), &back, &err), 0);
	_cleanup_json_ json_t *was = network_to_json(&n), *is = network_to_json(&back);
	assert_true(json_equal(was, is));
	assert_true(json_equal(json_object_get(read, "hosts"), json_object_get(again, "hosts")));
	assert_int_equal(json_array_size(json_object_get(again, "notes")), 0);
}

static void network_written_and_read(void **state)
{
	(void)state;
	network_is_the_same("tests/e2e/libvirt/networks/default.xml");
	network_is_the_same("tests/libvirt/net-nat6.xml");
}

/* Scripts look for ='vda'; and a quote in a value stays one. */
static void quotes(void **state)
{
	struct err err = ERR_INIT;
	(void)state;
	_cleanup_json_ json_t *request =
		json_pack("{s:{s:s, s:s, s:[{s:s, s:s}]}}", "definition", "name", "a", "title",
			"it's \"so\" <&>", "disks", "path", "/it's \"so\".raw", "target", "vda");
	_cleanup_free_ char *xml = libvirt_write_domain(request, &err);
	assert_non_null(strstr(xml, "<title>it's \"so\" &lt;&amp;&gt;</title>"));
	assert_non_null(strstr(xml, "<source file='/it&apos;s &quot;so&quot;.raw'/>"));
	assert_non_null(strstr(xml, "<target dev='vda' bus='virtio'/>"));
	_cleanup_json_ json_t *read = libvirt_read(xml, strlen(xml), "x", &err);
	const json_t *d = json_object_get(read, "definition");
	assert_string_equal(json_get_str(d, "title", ""), "it's \"so\" <&>");
	assert_string_equal(
		json_get_str(json_array_get(json_object_get(d, "disks"), 0), "path", ""),
		"/it's \"so\".raw");
}

/* ---- what no file holds --------------------------------------------------------------------------------- */

static void expect_refusal(const char *text, size_t len, enum err_kind kind)
{
	struct err err = ERR_INIT;
	assert_null(libvirt_read(text, len, "x", &err));
	assert_int_equal(err.kind, kind);
	assert_string_not_equal(err.message, "");
}

/* Cut anywhere it is refused, and nothing else happens. */
static void cut(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	(void)state;
	assert_int_equal(file_read(AT_FDCWD, "tests/e2e/libvirt/two.xml", 1 << 20, &text, &err), 0);
	const char *end = strstr(text.data, "</domain>");
	for (size_t len = 0; len < (size_t)(end - text.data); len += 7)
		expect_refusal(text.data, len, ERR_USAGE);
}

static void large_and_deep(void **state)
{
	enum { DEEP = 100000 };
	struct buf text = {0};
	(void)state;
	for (size_t i = 0; i < DEEP; i++)
		buf_str(&text, "<domain>");
	expect_refusal(text.data, text.len, ERR_USAGE);
	buf_reserve(&text, LIBVIRT_XML_MAX);
	while (text.len <= LIBVIRT_XML_MAX)
		buf_str(&text, "        ");
	expect_refusal(text.data, text.len, ERR_REFUSED);
	buf_free(&text);
}

/* Of many that have no equivalent the last note says so, and stops it: none is passed over in silence. */
static void many_notes(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	(void)state;
	buf_str(&text, "<domain type='kvm'><name>a</name>");
	for (int i = 0; i < 2000; i++)
		buf_str(&text, "<strange/>");
	buf_str(&text, "</domain>");
	_cleanup_json_ json_t *read = libvirt_read(text.data, text.len, "x", &err);
	const json_t *notes = json_object_get(read, "notes"),
		     *last = json_array_get(notes, json_array_size(notes) - 1);
	assert_true(json_array_size(notes) < 600);
	assert_true(json_get_bool(last, "stops", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(written_and_read),
		cmocka_unit_test(network_written_and_read),
		cmocka_unit_test(quotes),
		cmocka_unit_test(cut),
		cmocka_unit_test(large_and_deep),
		cmocka_unit_test(many_notes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
