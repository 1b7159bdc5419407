/*
 * orchestrator/catalogue.c: ours is sound; an entry says what was written, later files win by name, and
 * a mistake is named with its line and adds nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/fs.h"
#include "orchestrator/catalogue.h"
#include "orchestrator/image_name.h"

#define ENTRY "  - name: a\n    url: https://example.org/a.qcow2\n"

static void add(struct catalogue *c, const char *text, const char *file)
{
	struct err err = ERR_INIT;
	if (catalogue_add(c, text, strlen(text), file, &err) < 0)
		fail_msg("%s", err.message);
}

static void refused(const char *text, const char *said)
{
	struct err err = ERR_INIT;
	_cleanup_catalogue_ struct catalogue c = {0};
	add(&c, "images:\n" ENTRY, "before.yaml");
	if (catalogue_add(&c, text, strlen(text), "c.yaml", &err) == 0)
		fail_msg("accepted: %s", text);
	assert_int_equal(err.kind, ERR_USAGE);
	if (!strstr(err.message, said))
		fail_msg("'%s' is not in '%s'", said, err.message);
	assert_int_equal(c.count, 1);
	assert_string_equal(c.images[0].origin, "before.yaml");
}

static void all_keys(void **state)
{
	(void)state;
	_cleanup_catalogue_ struct catalogue c = {0};
	add(&c,
		"images:\n"
		"  - name: x-1.0\n    os: X 1\n    url: https://example.org/x.img\n"
		"    mirrors: [http://a.example/x.img, file:///srv/x.img]\n"
		"    checksum: https://example.org/SHA256SUMS\n    user: xuser\n"
		"    firmware: uefi\n    min_memory: 1G\n    fetched: yes\n",
		"c.yaml");
	const struct catalogue_image *i = &c.images[0];
	assert_string_equal(i->name, "x-1.0");
	assert_string_equal(i->os, "X 1");
	assert_string_equal(i->url, "https://example.org/x.img");
	assert_int_equal(i->mirror_count, 2);
	assert_string_equal(i->mirrors[1], "file:///srv/x.img");
	assert_string_equal(i->checksum, "https://example.org/SHA256SUMS");
	assert_string_equal(i->user, "xuser");
	assert_int_equal(i->firmware, CATALOGUE_UEFI);
	assert_true(i->min_memory == 1ULL << 30);
	assert_true(i->fetched);
	assert_string_equal(i->origin, "c.yaml");
}

static void later_files_win(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_catalogue_ struct catalogue c = {0};
	add(&c, "images:\n  - {name: b-10, url: 'https://e/1'}\n  - {name: b-9, url: 'https://e/2'}\n",
		"one");
	add(&c, "images:\n  - {name: b-10, url: 'https://e/3'}\n" ENTRY, "two");
	assert_int_equal(c.count, 3);
	assert_string_equal(c.images[0].name, "a");
	assert_string_equal(c.images[1].name, "b-9");
	assert_string_equal(c.images[2].name, "b-10");
	assert_string_equal(c.images[2].url, "https://e/3");
	assert_string_equal(c.images[2].origin, "two");
	assert_ptr_equal(catalogue_find(&c, "b-9", &err), &c.images[1]);
	assert_null(catalogue_find(&c, "b-8", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(err.hint, "did you mean b-"));
}

static void mistakes(void **state)
{
	(void)state;
	refused("images: {}\n", "c.yaml:1: images: ");
	refused("[]\n", "c.yaml:1: ");
	refused("image: []\n", "c.yaml:1: ");
	refused("images:\n  - a\n", "c.yaml:2: images[0]");
	refused("images:\n  - name: x\n", "'url' is missing");
	refused("images:\n  - url: https://e/x\n", "'name' is missing");
	refused("images:\n" ENTRY ENTRY, "c.yaml:4: images[1].name: 'a' stands there twice");
	refused("images:\n" ENTRY "    urll: x\n", "c.yaml:4: images[0]");
	refused("images:\n" ENTRY "    firmware: cfe\n", "c.yaml:4: images[0].firmware");
	refused("images:\n" ENTRY "    min_memory: 512\n", "c.yaml:4: images[0].min_memory");
	refused("images:\n" ENTRY "    checksum: ftp://e/x\n", "c.yaml:4: images[0].checksum");
	refused("images:\n" ENTRY "    mirrors: [https://e/x, /x]\n", "images[0].mirrors[1]");
	refused("images:\n" ENTRY "    mirrors: https://e/x\n", "images[0].mirrors");
	refused("images:\n" ENTRY "    fetched: perhaps\n", "c.yaml:4: images[0].fetched");
	refused("images:\n  - name: ../a\n    url: https://e/x\n", "c.yaml:2: ");
	refused("images:\n  - &x a\n", "anchor");
}

static void ours(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_catalogue_ struct catalogue c = {0};
	if (file_read(AT_FDCWD, "images/catalogue.yaml", 1 << 20, &text, &err) < 0)
		fail_msg("%s", err.message);
	add(&c, text.data, "images/catalogue.yaml");
	assert_true(c.count >= 12);
	for (size_t i = 0; i < c.count; i++) {
		const struct catalogue_image *m = &c.images[i];
		_cleanup_free_ char *file = image_file_name(m->url);
		assert_true(strncmp(m->url, "https://", 8) == 0);
		assert_true(m->checksum && strncmp(m->checksum, "https://", 8) == 0);
		assert_true(m->user && m->os && m->min_memory);
		for (size_t k = 0; k < m->mirror_count; k++) {
			_cleanup_free_ char *same = image_file_name(m->mirrors[k]);
			assert_string_equal(same, file);
		}
	}
}

static void file_names(void **state)
{
	static const struct {
		const char *url, *name;
	} cases[] = {
		{"https://e/a/b.img", "b.img"},
		{"https://e/a/b.img?x=/y#z", "b.img"},
		{"https://e/a/b%20c%2Fd.img", "b c/d.img"},
		{"https://e/a/b%2", "b%2"},
		{"https://e/a/b%zz%00", "b%zz%00"},
		{"https://e/a/", ""},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *name = image_file_name(cases[i].url);
		assert_string_equal(name, cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_keys),
		cmocka_unit_test(later_files_win),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(ours),
		cmocka_unit_test(file_names),
	};
	return cmocka_run_group_tests_name("catalogue", tests, NULL, NULL);
}
