/* orchestrator/firmware.c: which firmware QEMU's descriptors give to which guest. */
#include "scratch.h"

#include <sys/stat.h>

#include "orchestrator/firmware.h"

/* A descriptor in FOLDER/NAME.json whose files are CODE and VARS, here. */
struct descriptor {
	const char *file, *code, *vars;
	const char *features; /* as JSON, "" for none */
	const char *mapping;  /* further keys of it, each with a comma behind it */
	const char *machines;
};

static void describe(const struct descriptor *d)
{
	_cleanup_free_ char *text = str_fmt(
		"{\"description\": \"for a test\", \"interface-types\": [\"uefi\"], \"mapping\": {%s"
		"\"executable\": {\"filename\": \"%s/%s\", \"format\": \"raw\"},"
		"\"nvram-template\": {\"filename\": \"%s/%s\", \"format\": \"raw\"}},"
		"\"targets\": [{\"architecture\": \"x86_64\", \"machines\": [%s]}],"
		"\"features\": [%s], \"tags\": []}",
		d->mapping ? d->mapping : "\"device\": \"flash\",", scratch, d->code, scratch,
		d->vars, d->machines ? d->machines : "\"pc-q35-*\"",
		d->features ? d->features : "");
	write_file(d->file, text, strlen(text));
}

#define SECURE "\"secure-boot\", \"requires-smm\""
#define KEYS   SECURE ", \"enrolled-keys\""

static int make_folders(void **state)
{
	static const struct descriptor there[] = {
		{.file = "usr/10-gone.json", .code = "no-such-code", .vars = "vars4"},
		{.file = "usr/20-memory.json",
			.code = "sev",
			.vars = "vars4",
			.mapping = "\"device\": \"memory\","},
		{.file = "usr/21-stateless.json",
			.code = "sev",
			.vars = "vars4",
			.mapping = "\"device\": \"flash\", \"mode\": \"stateless\","},
		{.file = "usr/30-keys.json", .code = "secure", .vars = "vars-ms", .features = KEYS},
		{.file = "usr/40-secure.json",
			.code = "secure",
			.vars = "vars4",
			.features = SECURE},
		{.file = "usr/50-plain.json", .code = "plain", .vars = "vars4"},
		{.file = "usr/60-small.json",
			.code = "small",
			.vars = "vars1",
			.machines = "\"pc-i440fx-*\", \"pc-q35-*\""},
		{.file = "other/45-ours.json", .code = "ours", .vars = "vars4"},
		{.file = "other/50-plain.json", .code = "ours", .vars = "vars4"},
	};
	if (scratch_enter(state) < 0 || mkdir("usr", 0700) < 0 || mkdir("etc", 0700) < 0 ||
		mkdir("other", 0700) < 0 || mkdir("none", 0700) < 0)
		return -1;
	static const char *const files[] = {"sev", "secure", "plain", "small", "ours"};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		write_file(files[i], "code", 4);
	write_file("vars4", "4444", 4);
	write_file("vars-ms", "4444", 4);
	write_file("vars1", "1", 1);
	for (size_t i = 0; i < ARRAY_SIZE(there); i++)
		describe(&there[i]);
	write_file("usr/05-broken.json", "{\"mapping\": [", 13);
	write_file("usr/06-words.json", "{\"mapping\": \"x\", \"features\": 3}", 32);
	write_file("etc/50-plain.json", "", 0);
	return 0;
}

static void finds(
	const char *second, const struct firmware_want *want, const char *code, const char *vars)
{
	_cleanup_free_ char *usr = str_fmt("%s/usr", scratch),
			    *etc = str_fmt("%s/%s", scratch, second);
	const char *const folders[] = {usr, etc, NULL};
	struct firmware_files files;
	if (!firmware_described(folders, want, &files)) {
		assert_null(code);
		return;
	}
	assert_non_null(code);
	_cleanup_free_ char *wanted_code = str_fmt("%s/%s", scratch, code);
	_cleanup_free_ char *wanted_vars = str_fmt("%s/%s", scratch, vars);
	assert_string_equal(files.code, wanted_code);
	assert_string_equal(files.vars, wanted_vars);
}
#define WANT(...) (&(struct firmware_want){__VA_ARGS__})

static void by_features(void **state)
{
	(void)state;
	finds("none", WANT(0), "plain", "vars4");
	finds("none", WANT(.secure_boot = true), "secure", "vars-ms");
}

static void by_machine(void **state)
{
	(void)state;
	finds("none", WANT(.machine = "pc-q35-7.2"), "plain", "vars4");
	finds("none", WANT(.machine = "q35"), "plain", "vars4");
	finds("none", WANT(.machine = "pc-i440fx-7.2"), "small", "vars1");
	finds("none", WANT(.machine = "pc-i440fx-7.2", .secure_boot = true), NULL, NULL);
	finds("none", WANT(.machine = "microvm"), NULL, NULL);
}

/* What the guest has was made for a code of that size. */
static void by_size(void **state)
{
	(void)state;
	finds("none", WANT(.vars_size = 4), "plain", "vars4");
	finds("none", WANT(.vars_size = 1), "small", "vars1");
	finds("none", WANT(.vars_size = 2), NULL, NULL);
	finds("none", WANT(.vars_size = 1, .secure_boot = true), NULL, NULL);
}

static void later_folders_win(void **state)
{
	(void)state;
	finds("etc", WANT(0), "small", "vars1"); /* an empty file hides the packaged one */
	finds("other", WANT(0), "ours", "vars4");
	finds("no-such-folder", WANT(0), "plain", "vars4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_features),
		cmocka_unit_test(by_machine),
		cmocka_unit_test(by_size),
		cmocka_unit_test(later_folders_win),
	};
	return cmocka_run_group_tests_name("firmware", tests, make_folders, scratch_leave);
}
