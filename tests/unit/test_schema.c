/* qmp/schema: the digest of what QEMU 7.2 says of itself (tests/replies/schema.jsonl), its cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "qmp/schema.h"
#include "tests/unit/peer.h"

static json_t *recorded(void)
{
	struct err err = ERR_INIT;
	size_t count;
	struct line *lines = replies_read("schema", &count);
	const char *last = lines[count - 1].text;
	_cleanup_json_ json_t *msg = json_text_parse(last, strlen(last), &err);
	json_t *schema = json_incref(json_object_get(msg, "return"));
	assert_true(json_is_array(schema));
	replies_free(lines, count);
	return schema;
}

static void check_qemu_72(const struct schema *s)
{
	assert_true(schema_has_command(s, "query-status"));
	assert_true(schema_has_command(s, "blockdev-snapshot"));
	assert_false(schema_has_command(s, "query-statu"));
	assert_false(schema_has_command(s, "uery-status"));
	assert_false(schema_has_command(s, "SHUTDOWN"));
	assert_false(schema_has_command(s, ""));
	assert_true(schema_has_event(s, "SHUTDOWN"));
	assert_true(schema_has_event(s, "BLOCK_IO_ERROR"));
	assert_false(schema_has_event(s, "query-status"));
	assert_true(schema_has_arg(s, "block-commit", "backing-file"));
	assert_true(schema_has_arg(s, "block-commit", "job-id")); /* its first or last one */
	assert_true(schema_has_arg(s, "block-commit", "auto-dismiss"));
	assert_false(schema_has_arg(s, "block-commit", "backing-mask-protocol")); /* QEMU 8.2 */
	/* of a variant: the qcow2 driver's; QEMU 8.1 has one more */
	assert_true(schema_has_arg(s, "blockdev-add", "l2-cache-size"));
	assert_true(schema_has_arg(s, "blockdev-add", "node-name"));
	assert_false(schema_has_arg(s, "blockdev-add", "discard-no-unref"));
	assert_false(schema_has_arg(s, "no-such-command", "id"));
	assert_false(schema_has_arg(s, "query-status", "id"));
	assert_false(schema_has_arg(s, "blockdev-add", "driver \nCstop"));
	assert_false(schema_has_arg(s, "blockdev-add", ""));
}

static void qemu_72(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *schema = recorded();
	_cleanup_schema_ struct schema *s = schema_from_qmp(schema, &err);
	if (!s)
		fail_msg("%s", err.message);
	check_qemu_72(s);
}

static void what_is_no_schema(void **state)
{
	(void)state;
	static const char *const texts[] = {"[]", "{}", "7", "[1]", "[{}]", "[{\"name\":\"\"}]",
		"[{\"name\":\"a b\",\"meta-type\":\"command\"}]",
		"[{\"name\":\"a\\nb\",\"meta-type\":\"event\"}]",
		("[{\"name\":\"c\",\"meta-type\":\"command\",\"arg-type\":\"0\"},"
		 "{\"name\":\"0\",\"meta-type\":\"object\",\"members\":[{\"name\":7}]}]")};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *schema = json_text_parse(texts[i], strlen(texts[i]), &err);
		assert_non_null(schema);
		assert_null(schema_from_qmp(schema, &err));
		assert_int_equal(err.kind, ERR_QEMU);
		assert_true(str_starts(err.message, "query-qmp-schema: "));
	}
}

/* A type that is its own variant must not run for ever. */
static void a_type_within_itself(void **state)
{
	(void)state;
	static const char text[] =
		"[{\"name\":\"query-qmp-schema\",\"meta-type\":\"command\",\"arg-type\":\"0\"},"
		"{\"name\":\"0\",\"meta-type\":\"object\",\"members\":[{\"name\":\"a\"}],"
		"\"variants\":[{\"type\":\"0\"},{\"type\":\"1\"},{\"type\":7},8]},"
		"{\"name\":\"1\",\"meta-type\":\"object\",\"members\":[{\"name\":\"b\"}]}]";
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *schema = json_text_parse(text, strlen(text), &err);
	_cleanup_schema_ struct schema *s = schema_from_qmp(schema, &err);
	assert_non_null(s);
	assert_true(schema_has_arg(s, "query-qmp-schema", "a"));
	assert_true(schema_has_arg(s, "query-qmp-schema", "b"));
}

static void cache(void **state)
{
	(void)state;
	char folder[] = "/tmp/roost-schema-XXXXXX";
	struct err err = ERR_INIT;
	assert_non_null(mkdtemp(folder));
	_cleanup_free_ char *file = str_fmt("%s/cache", folder);
	_cleanup_free_ char *one = str_fmt("%s/qemu-one", folder);
	_cleanup_free_ char *other = str_fmt("%s/qemu-other", folder);
	_cleanup_json_ json_t *schema = recorded();
	_cleanup_schema_ struct schema *s = schema_from_qmp(schema, &err);
	assert_int_equal(file_replace(AT_FDCWD, one, "1", 1, false, &err), 0);
	assert_int_equal(file_replace(AT_FDCWD, other, "2", 1, false, &err), 0);

	assert_null(schema_load(file, one, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(schema_save(s, file, one, &err), 0);
	assert_null(schema_load(file, other, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(schema_save(s, file, other, &err), 0);
	for (int i = 0; i < 2; i++) {
		_cleanup_schema_ struct schema *again = schema_load(file, i ? one : other, &err);
		assert_non_null(again);
		check_qemu_72(again);
	}
	struct stat st;
	assert_int_equal(stat(file, &st), 0);
	assert_true(st.st_size < 2 * 20000);
	assert_int_equal(st.st_mode & 0777, 0600);

	/* another QEMU under the same name */
	assert_int_equal(file_replace(AT_FDCWD, one, "1", 1, false, &err), 0);
	assert_null(schema_load(file, one, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	/* a damaged cache is as good as none, and is replaced */
	assert_int_equal(file_replace(AT_FDCWD, file, "{\"cut", 5, false, &err), 0);
	assert_null(schema_load(file, other, &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(schema_save(s, file, other, &err), 0);
	_cleanup_schema_ struct schema *again = schema_load(file, other, &err);
	assert_non_null(again);
	assert_null(schema_load(file, "/nonexistent/qemu", &err));
	assert_int_equal(schema_save(s, file, "/nonexistent/qemu", &err), -1);
	assert_int_equal(dir_remove(AT_FDCWD, folder, &err), 0);
}

int main(void)
{
	umask(077); /* as the programs have it: it decides whether a group may read */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_72),
		cmocka_unit_test(what_is_no_schema),
		cmocka_unit_test(a_type_within_itself),
		cmocka_unit_test(cache),
	};
	return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
