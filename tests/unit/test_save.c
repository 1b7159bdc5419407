/* The file into which a guest is saved: what is written is read, and nothing else is. */
#include "tests/unit/scratch.h"

#include <sys/stat.h>

#include "orchestrator/save_file.h"

enum { STREAM = 100003 }; /* no multiple of anything */

static char stream[STREAM];

/* A file "x" with the stream, written in pieces. */
static void write_whole(const char *path)
{
	struct err err = ERR_INIT;
	_cleanup_save_ struct save_writer w = SAVE_WRITER_NONE;
	_cleanup_json_ json_t *facts = json_pack("{s:s}", "name", "web1");
	for (int i = 0; i < STREAM; i++)
		stream[i] = (char)(i * 7 + i / 256);
	assert_int_equal(save_begin(&w, path, 1000, &err), 0);
	for (size_t at = 0, step = 1; at < STREAM; at += step, step = step * 3 + 1) {
		step = step < STREAM - at ? step : STREAM - at;
		assert_int_equal(save_add(&w, stream + at, step, &err), 0);
	}
	assert_int_equal(save_commit(&w, facts, &err), 0);
}

static size_t count_files(void)
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	size_t count = 0;
	assert_int_equal(dir_names(AT_FDCWD, &names, &count, &err), 0);
	return count;
}

static void refuses(const char *path, enum err_kind kind, const char *why)
{
	struct err err = ERR_INIT;
	json_t *facts = NULL;
	assert_int_equal(save_open(path, (uid_t)-1, &facts, &err), -1);
	assert_null(facts);
	assert_int_equal(err.kind, kind);
	assert_non_null(strstr(err.message, why));
}

static void test_round(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct stat st;
	char got[STREAM + 1];
	_cleanup_json_ json_t *facts = NULL;
	write_file("x", "an old file", 11);
	write_whole("x");
	_cleanup_close_ int fd = save_open("x", geteuid(), &facts, &err);
	assert_true(fd >= 0);
	assert_string_equal(json_get_str(facts, "name", ""), "web1");
	assert_int_equal(json_get_int(facts, "length", 0), STREAM);
	assert_int_equal(read(fd, got, sizeof(got)), STREAM);
	assert_memory_equal(got, stream, STREAM);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(count_files(), 1);
	assert_int_equal(unlink("x"), 0);
}

static void test_not_committed(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct save_writer w = SAVE_WRITER_NONE;
	write_file("x", "an old file", 11);
	assert_int_equal(save_begin(&w, "x", 1000, &err), 0);
	assert_int_equal(save_add(&w, "abc", 3, &err), 0);
	save_end(&w);
	assert_int_equal(count_files(), 1);
	refuses("x", ERR_USAGE, "roost save");
	assert_int_equal(unlink("x"), 0);
}

static void test_too_many_facts(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char long_text[9000];
	_cleanup_save_ struct save_writer w = SAVE_WRITER_NONE;
	memset(long_text, 'a', sizeof(long_text));
	_cleanup_json_ json_t *facts = json_pack("{s:s#}", "a", long_text, (int)sizeof(long_text));
	assert_int_equal(save_begin(&w, "x", 100, &err), 0);
	assert_int_equal(save_commit(&w, facts, &err), -1);
	assert_int_equal(err.kind, ERR_SYSTEM);
	assert_int_equal(count_files(), 0);
}

static void test_places(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		enum err_kind kind;
	} bad[] = {{"nowhere/x", ERR_NOT_FOUND}, {"folder", ERR_USAGE}, {"folder/", ERR_USAGE},
		{"/dev/null", ERR_USAGE}};
	assert_int_equal(mkdir("folder", 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		_cleanup_save_ struct save_writer w = SAVE_WRITER_NONE;
		assert_int_equal(save_begin(&w, bad[i].path, 100, &err), -1);
		assert_int_equal(err.kind, bad[i].kind);
	}
	assert_int_equal(rmdir("folder"), 0);
}

/* Each byte of the head, and some of the rest: another value is never taken for what was written. */
static void test_spoilt(void **state)
{
	(void)state;
	struct stat st;
	write_whole("x");
	int fd = open("x", O_RDWR | O_CLOEXEC);
	uint64_t text_len = 0;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pread(fd, &text_len, 8, 24), 8);
	off_t zeros = 36 + (off_t)text_len;
	for (off_t at = 0; at < st.st_size; at += at < 128 ? 1 : 997) {
		struct err err = ERR_INIT;
		json_t *facts = NULL;
		unsigned char was, other;
		assert_int_equal(pread(fd, &was, 1, at), 1);
		other = (unsigned char)~was;
		assert_int_equal(pwrite(fd, &other, 1, at), 1);
		int got = save_open("x", (uid_t)-1, &facts, &err);
		/* but for the zeros between the facts and the stream, which mean nothing */
		if (got >= 0 && !(at >= zeros && at < st.st_size - STREAM))
			fail_msg("a change at %lld goes unnoticed", (long long)at);
		if (got >= 0)
			close(got);
		json_decref(facts);
		assert_int_equal(pwrite(fd, &was, 1, at), 1);
	}
	for (off_t len = 0; len < st.st_size; len += 3001) {
		assert_int_equal(truncate("x", 0), 0);
		write_whole("x");
		assert_int_equal(truncate("x", len), 0);
		struct err err = ERR_INIT;
		json_t *facts = NULL;
		assert_int_equal(save_open("x", (uid_t)-1, &facts, &err), -1);
	}
	close(fd);
	assert_int_equal(unlink("x"), 0);
}

/* A head that is right in itself, with other text in it. */
static void test_no_object(void **state)
{
	(void)state;
	char page[4096] = "roost-save 1\n";
	page[17] = 0x10; /* the stream begins at 4096 */
	page[24] = 2;
	memcpy(page + 32, "\x29\xbb\x4c\x0d", 4);
	memcpy(page + 36, "[]", 2);
	write_file("x", page, sizeof(page));
	struct err err = ERR_INIT;
	json_t *facts = NULL;
	assert_int_equal(save_open("x", (uid_t)-1, &facts, &err), -1);
	assert_int_equal(unlink("x"), 0);
}

static void test_owner(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	json_t *facts = NULL;
	write_whole("x");
	assert_int_equal(save_open("x", geteuid() + 1, &facts, &err), -1);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(symlink("x", "link"), 0);
	assert_int_equal(save_open("link", geteuid(), &facts, &err), -1);
	assert_null(facts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_not_committed),
		cmocka_unit_test(test_too_many_facts),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_spoilt),
		cmocka_unit_test(test_no_object),
		cmocka_unit_test(test_owner),
	};
	return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
