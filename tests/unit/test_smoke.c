/*
 * Suites of smoke tests. tests/smoke/bad: NAME.yaml is refused with the message in the first line of
 * NAME.expected and the hint in the second; FOLDER stands for the folder made here. What a good one
 * becomes; what is expected of a guest; texts of any bytes in reports.
 *
 * ROOST_WRITE_EXPECTED=1 writes what came out instead of comparing; read the difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "images/qcow2.h"
#include "orchestrator/smoke.h"
#include "orchestrator/smoke_steps.h"
#include "orchestrator/guest_text.h"

static char folder[] = "/tmp/roost-smoke.XXXXXX";

static void put(const char *name, const char *content)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, name);
	assert_int_equal(file_replace(AT_FDCWD, path, content, strlen(content), false, &err), 0);
}

static int make_folder(void **state)
{
	struct err err = ERR_INIT;
	struct qcow2_new what = {.size = 10 << 20};
	(void)state;
	assert_non_null(mkdtemp(folder));
	_cleanup_free_ char *store = str_fmt("%s/state", folder);
	_cleanup_free_ char *base = str_fmt("%s/base.qcow2", folder);
	_cleanup_close_ int fd = dir_make(store, 0700, &err);
	assert_true(fd >= 0);
	setenv("ROOST_STATE", store, 1);
	assert_int_equal(qcow2_create(AT_FDCWD, base, &what, &err), 0);
	_cleanup_free_ char *zeros = xcalloc(1, 4097);
	memset(zeros, ' ', 4096);
	put("disk.raw", zeros);
	put("disk.txt", "some text\n");
	put("script.sh", "true\n");
	put("wrong.yaml", "name: web1\nmemory: 32M\ndisk: []\n");
	put("web.yaml", "name: web1\nuuid: 0b0a0907-0605-4403-8201-000000000000\nautostart: true\n"
			"memory: ${{mem}}\ndisks:\n  - {path: disk.raw, format: raw}\n"
			"  - {path: disk.txt, format: raw, readonly: true}\ncloud_init: true\n"
			"interfaces: [{user: {hostfwd: [\"2222-22\", \"udp:53-53\"]}}]\n");
	return 0;
}

static int remove_folder(void **state)
{
	struct err err = ERR_INIT;
	(void)state;
	return dir_remove(AT_FDCWD, folder, &err);
}

/* ---- the folder of bad suites ------------------------------------------------------------------ */

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

static bool one_bad(int dir, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0}, expected = {0};
	if (file_read(dir, name, 1 << 20, &text, &err) < 0)
		fail_msg("%s", err.message);
	_cleanup_suite_ struct suite *s =
		suite_parse(text.data ? text.data : "", text.len, name, folder, &err);
	if (s) {
		print_error("%s is taken as good\n", name);
		return false;
	}
	_cleanup_free_ char *report = err.hint[0] ? str_fmt("%s\n%s\n", err.message, err.hint)
						  : str_fmt("%s\n", err.message);
	_cleanup_free_ char *got = neutral(report);
	_cleanup_free_ char *file = str_fmt("%.*s.expected", (int)strlen(name) - 5, name);
	if (getenv("ROOST_WRITE_EXPECTED"))
		return file_replace(dir, file, got, strlen(got), false, &err) == 0;
	if (file_read(dir, file, 65536, &expected, &err) == 0 && str_eq(expected.data, got))
		return true;
	print_error("%s:\nexpected: %sgot:      %s", name, expected.data ? expected.data : "", got);
	return false;
}

static void bad_suites(void **state)
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	size_t walked = 0, failed = 0;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, "tests/smoke/bad", &err);
	(void)state;
	if (dir < 0 || dir_names(dir, &names, NULL, &err) < 0)
		fail_msg("%s", err.message);
	for (char **name = names; *name; name++) {
		if (!str_ends(*name, ".yaml"))
			continue;
		walked++;
		failed += !one_bad(dir, *name);
	}
	assert_int_equal(failed, 0);
	assert_true(walked >= 80);
}

/* ---- good ones --------------------------------------------------------------------------------- */

static struct suite *parsed(const char *text)
{
	struct err err = ERR_INIT;
	struct suite *s = suite_parse(text, strlen(text), "suite.yaml", folder, &err);
	if (!s)
		fail_msg("%s", err.message);
	return s;
}

static void a_matrix(void **state)
{
	static const char *const names[] = {"g/mem=32M/cpus=1", "g/mem=32M/cpus=2",
		"g/mem=64M/cpus=1", "g/mem=64M/cpus=2", "h"};
	(void)state;
	_cleanup_suite_ struct suite *s = parsed(
		"test_timeout: 3s\nstep_timeout: 2s\nguests:\n"
		"  - name: g\n    definition: {memory: \"${{ mem }}\", vcpus: \"${{cpus}}\"}\n"
		"    matrix: {mem: [32M, 64M], cpus: [1, 2]}\n    timeout: 9s\n"
		"    steps:\n      - qmp: query-${{cpus}}-${{cpus}}-${x}\n"
		"        reply: {a: \"${{mem}}\"}\n        timeout: 1s\n"
		"  - name: h\n    definition: {memory: 32M}\n"
		"steps:\n  - console: \"${{test}}\"\n");
	assert_string_equal(s->name, "suite");
	assert_int_equal(s->test_count, ARRAY_SIZE(names));
	for (size_t i = 0; i < s->test_count; i++)
		assert_string_equal(s->tests[i].name, names[i]);
	const struct test *last = &s->tests[3];
	assert_int_equal(last->def->memory, 64 << 20);
	assert_int_equal(last->def->vcpus, 2);
	assert_int_equal(last->timeout_ms, 9000);
	assert_int_equal(last->step_count, 2);
	assert_string_equal(last->steps[0].text, "g-mem-64M-cpus-2");
	assert_int_equal(last->steps[0].timeout_ms, 2000);
	assert_string_equal(last->steps[1].text, "query-2-2-${x}");
	assert_string_equal(json_get_str(last->steps[1].wanted, "a", ""), "64M");
	assert_int_equal(last->steps[1].timeout_ms, 1000);
	assert_int_equal(s->tests[4].timeout_ms, 3000);
	assert_int_equal(s->tests[4].step_count, 1);
}

static void a_file_is_adapted(void **state)
{
	(void)state;
	_cleanup_suite_ struct suite *s =
		parsed("guests:\n  - name: g\n    file: web.yaml\n"
		       "    definition: {vcpus: 2}\n    matrix: {mem: [64M]}\n");
	const struct definition *d = s->tests[0].def;
	_cleanup_free_ char *disk = str_fmt("%s/disk.raw", folder);
	assert_string_equal(d->cloud_init.hostname, "web1");
	assert_string_equal(d->uuid, "");
	assert_false(d->autostart);
	assert_int_equal(d->memory, 64 << 20);
	assert_int_equal(d->vcpus, 2);
	assert_int_equal(d->disk_count, 2);
	assert_int_equal(d->disks[0].source, DISK_IMAGE);
	assert_string_equal(d->disks[0].path, disk);
	assert_string_equal(d->disks[0].file, "disk0.qcow2");
	assert_int_equal(d->disks[1].source, DISK_PATH);
	assert_int_equal(d->nics[0].forwards[0].host_port, 0);
	assert_int_equal(d->nics[0].forwards[1].host_port, 0);
}

static void an_image_is_the_first_disk(void **state)
{
	(void)state;
	_cleanup_suite_ struct suite *s = parsed("guests:\n  - name: g\n    image: base.qcow2\n"
						 "    definition: {disks: [{size: 1G}]}\n"
						 "  - name: h\n    image: base.qcow2\n"
						 "    definition: {cloud_init: false}\n");
	const struct definition *d = s->tests[0].def;
	assert_int_equal(d->disk_count, 2);
	assert_int_equal(d->disks[0].source, DISK_IMAGE);
	assert_int_equal(d->disks[0].format, FORMAT_QCOW2);
	assert_int_equal(d->disks[1].source, DISK_BLANK);
	assert_true(d->cloud_init.enabled);
	assert_string_equal(d->cloud_init.hostname, "g");
	assert_false(s->tests[1].def->cloud_init.enabled);
}

static void steps_that_stand_alone(void **state)
{
	static const char *const labels[] = {"reboot", "reboot", "suspend", "resume", "again"};
	(void)state;
	_cleanup_suite_ struct suite *s =
		parsed("guests:\n  - name: g\n    definition: {memory: 32M}\nsteps:\n"
		       "  - reboot\n  - reboot:\n  - suspend: true\n  - resume:\n    timeout: 3s\n"
		       "  - {name: again, reboot: {mode: acpi}}\n");
	assert_int_equal(s->tests[0].step_count, ARRAY_SIZE(labels));
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		assert_string_equal(s->tests[0].steps[i].label, labels[i]);
	assert_int_equal(s->tests[0].steps[3].timeout_ms, 3000);
	assert_string_equal(s->tests[0].steps[4].mode, "acpi");
}

/* ---- what is expected --------------------------------------------------------------------------- */

static void check_output(const struct step *s, const char *out, size_t len, const char *sentence)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf data = {0};
	buf_add(&data, out, len);
	int result = step_expect(s, "output", &data, &err);
	assert_int_equal(result, sentence ? -1 : 0);
	if (sentence)
		assert_string_equal(err.message, sentence);
}

static void outputs(void **state)
{
	struct step equals = {.equals = "a\nb"}, empty = {.equals = ""},
		    contains = {.contains = "lo w"}, matches = {.matches = "^b+$"},
		    nul = {.matches = "c$"};
	(void)state;
	check_output(&equals, "a\nb\n\n", 5, NULL);
	check_output(&equals, "a\nb\nc", 5, "expected output equal to 'a\\nb', got 'a\\nb\\nc'");
	check_output(&equals, "a\0b", 3, "expected output equal to 'a\\nb', got 'a\\x00b'");
	check_output(&empty, "", 0, NULL);
	check_output(&empty, "\n", 1, NULL);
	check_output(&empty, "x", 1, "expected output equal to '', got 'x'");
	check_output(&contains, "hello world", 11, NULL);
	check_output(&contains, "hello\xff", 6, "expected output with 'lo w', got 'hello\\xff'");
	check_output(&matches, "a\nbbb\nc", 7, NULL);
	check_output(&matches, "a\nbbbc", 6, "expected output that matches '^b+$', got 'a\\nbbbc'");
	check_output(&nul, "a\0bc", 4, NULL);
}

static void check_holds(const char *wanted, const char *got, const char *sentence)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *a = json_text_parse(wanted, strlen(wanted), &err);
	_cleanup_json_ json_t *b = json_text_parse(got, strlen(got), &err);
	assert_true(a && b);
	int result = json_holds(a, b, "reply", &err);
	assert_int_equal(result, sentence ? -1 : 0);
	if (sentence)
		assert_string_equal(err.message, sentence);
}

static void json_is_held(void **state)
{
	(void)state;
	check_holds("{}", "{\"a\":1}", NULL);
	check_holds("{\"a\":\"1\"}", "{\"a\":1,\"b\":2}", NULL);
	check_holds("{\"a\":\"true\"}", "{\"a\":true}", NULL);
	check_holds("{\"a\":1}", "{\"a\":\"1\"}", "expected reply.a to be 1, got \"1\"");
	check_holds("{\"a\":{\"b\":\"x\"}}", "{\"a\":{\"b\":\"y\"}}",
		"expected reply.a.b to be \"x\", got \"y\"");
	check_holds("{\"a\":null}", "{\"a\":null}", NULL);
	check_holds("{\"a\":\"x\"}", "{}", "expected reply.a to be \"x\", got nothing");
	check_holds("[{\"n\":\"b\"}]", "[{\"n\":\"a\"},{\"n\":\"b\",\"m\":1}]", NULL);
	check_holds("[\"c\"]", "[\"a\",\"b\"]",
		"expected an item of reply to be \"c\", got [\"a\",\"b\"]");
	check_holds("{\"a\":1}", "[]", "expected reply to be {\"a\":1}, got []");
}

/* ---- texts -------------------------------------------------------------------------------------- */

static void texts(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *utf8, *line, *content, *attribute;
	} rows[] = {
		{"plain", 5, "plain", "plain", "plain", "plain"},
		{"a<&>\"b", 6, "a<&>\"b", "a<&>\"b", "a&lt;&amp;&gt;\"b", "a&lt;&amp;&gt;&quot;b"},
		{"\033[1m\n\t\r", 7, "\033[1m\n\t\r", "\\x1b[1m\\n\\t\\x0d", "\\x1b[1m\n\t&#13;",
			"\\x1b[1m&#10;&#9;&#13;"},
		{"\0x", 2, "\xef\xbf\xbdx", "\\x00x", "\\x00x", "\\x00x"},
		{"\xff\xc3\xa9", 3, "\xef\xbf\xbd\xc3\xa9", "\\xff\xc3\xa9", "\xef\xbf\xbd\xc3\xa9",
			"\xef\xbf\xbd\xc3\xa9"},
		/* over-long, a surrogate, beyond the last, cut off, U+FFFF */
		{"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd", "\\xc0\\xaf",
			"\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "\\xed\\xa0\\x80",
			"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
			"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xf4\x90\x80\x80", 1, "\xef\xbf\xbd", "\\xf4", "\xef\xbf\xbd", "\xef\xbf\xbd"},
		{"\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd", "\\xe2\\x82",
			"\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xef\xbf\xbf", 3, "\xef\xbf\xbf", "\xef\xbf\xbf", "\xef\xbf\xbd", "\xef\xbf\xbd"},
		{"\xf0\x9f\x90\x93", 4, "\xf0\x9f\x90\x93", "\xf0\x9f\x90\x93", "\xf0\x9f\x90\x93",
			"\xf0\x9f\x90\x93"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *utf8 = text_utf8(rows[i].in, rows[i].len);
		_cleanup_free_ char *line = text_line(rows[i].in, rows[i].len, 100);
		_cleanup_buf_ struct buf content = {0}, attribute = {0};
		xml_content(&content, rows[i].in, rows[i].len);
		xml_attribute(&attribute, rows[i].in, rows[i].len);
		assert_string_equal(utf8, rows[i].utf8);
		assert_string_equal(line, rows[i].line);
		assert_string_equal(content.data, rows[i].content);
		assert_string_equal(attribute.data, rows[i].attribute);
	}
	_cleanup_free_ char *cut = text_line("0123456789", 10, 4);
	assert_string_equal(cut, "0123...");
	_cleanup_json_ json_t *answer = json_pack("{s:[{s:s, s:i}], s:s}", "disks", "mountpoint",
		"/a\x1b[2J", "used", 7, "name",
		"\xc2\x9b"
		"31m");
	_cleanup_json_ json_t *clean = json_pack("{s:[{s:s, s:i}], s:s}", "disks", "mountpoint",
		"/a\\x1b[2J", "used", 7, "name", "\\x9b31m");
	text_lines(answer);
	assert_true(json_equal(answer, clean));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_suites),
		cmocka_unit_test(a_matrix),
		cmocka_unit_test(a_file_is_adapted),
		cmocka_unit_test(an_image_is_the_first_disk),
		cmocka_unit_test(steps_that_stand_alone),
		cmocka_unit_test(outputs),
		cmocka_unit_test(json_is_held),
		cmocka_unit_test(texts),
	};
	return cmocka_run_group_tests_name("smoke", tests, make_folder, remove_folder);
}
