/* domcapabilities: what the installed QEMU can do, and what of it guests of roost can use here. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/connect.h"

enum { WIDTH = 100, INDENT = 16 };

/* "Key:" and words behind it, on as many lines as it takes. */
static void print_words(const char *key, char **words, size_t count)
{
	size_t column = INDENT;
	printf("%-*s", INDENT - 1, key);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(words[i]) + 1;
		if (column + len > WIDTH) {
			printf("\n%-*s", INDENT - 1, "");
			column = INDENT;
		}
		printf(" %s", words[i]);
		column += len;
	}
	puts(count ? "" : " none");
}

struct words {
	char *list[512];
	size_t count;
};

static void add_word(struct words *w, char *word)
{
	if (w->count < ARRAY_SIZE(w->list))
		w->list[w->count++] = word;
	else
		free(word);
}

static int by_version(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

static void print_and_free(const char *key, struct words *w)
{
	qsort(w->list, w->count, sizeof(w->list[0]), by_version);
	print_words(key, w->list, w->count);
	while (w->count)
		free(w->list[--w->count]);
}

static void print_machines(const json_t *machines)
{
	struct words w = {0};
	size_t i;
	json_t *m;
	json_array_foreach (machines, i, m) {
		const char *name = json_get_str(m, "name", ""),
			   *alias = json_get_str(m, "alias", NULL);
		add_word(&w, alias ? str_fmt("%s (%s)", name, alias) : xstrdup(name));
	}
	print_and_free("Machines:", &w);
}

/* Texts, or the "name" of objects. */
static void print_names(const char *key, const json_t *list)
{
	struct words w = {0};
	size_t i;
	json_t *o;
	json_array_foreach (list, i, o)
		add_word(&w, xstrdup(json_is_string(o) ? json_string_value(o)
						       : json_get_str(o, "name", "")));
	print_and_free(key, &w);
}

static void print_devices(const json_t *kinds)
{
	struct words there = {0}, lacking = {0};
	const char *kind, *driver;
	json_t *drivers, *has;
	json_object_foreach ((json_t *)kinds, kind, drivers)
		json_object_foreach (drivers, driver, has)
			add_word(json_is_true(has) ? &there : &lacking, xstrdup(driver));
	print_and_free("Devices:", &there);
	print_and_free("Not built in:", &lacking);
}

static void print_accelerators(const json_t *accelerators)
{
	const char *name;
	json_t *a;
	json_object_foreach ((json_t *)accelerators, name, a) {
		const char *reason = json_get_str(a, "reason", "");
		_cleanup_free_ char *key = str_fmt("%s:", name);
		printf("%-*s %s%s%s\n", INDENT - 1, key,
			!json_get_bool(a, "built_in", false) ? "not built in"
			: json_get_bool(a, "usable", false)  ? "usable"
							     : "not usable",
			reason[0] ? ": " : "", reason);
	}
}

static void print_firmware(const json_t *firmware)
{
	static const struct {
		const char *key, *text;
	} lines[] = {{"uefi", "UEFI:"}, {"secure_boot", "Secure boot:"}};
	printf("%-*s yes\n", INDENT - 1, "BIOS:");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		printf("%-*s %s\n", INDENT - 1, lines[i].text,
			json_get_str(json_object_get(firmware, lines[i].key), "code",
				"no firmware is installed"));
}

static int run_domcapabilities(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *o = NULL;
	if (supervisor_call("roost-capabilities", NULL, &o, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(json_incref(o));
		return 0;
	}
	printf("%-*s %s\n%-*s %s\n", INDENT - 1, "QEMU:", json_get_str(o, "qemu", ""), INDENT - 1,
		"Version:", json_get_str(o, "version", ""));
	printf("%-*s %s\n", INDENT - 1, "Architecture:", json_get_str(o, "arch", ""));
	print_accelerators(json_object_get(o, "accelerators"));
	printf("%-*s %s\n", INDENT - 1,
		"Sandbox:", json_get_bool(o, "sandbox", false) ? "yes" : "no");
	print_firmware(json_object_get(o, "firmware"));
	print_devices(json_object_get(o, "devices"));
	print_names("Disk drivers:", json_object_get(o, "block_drivers"));
	print_names("Net backends:", json_object_get(o, "net_backends"));
	print_machines(json_object_get(o, "machines"));
	print_names("CPU models:", json_object_get(o, "cpu_models"));
	return 0;
}

const struct verb verb_domcapabilities = {"domcapabilities", "",
	"Tells what the installed QEMU can do: machines, CPU models, devices, accelerators, firmware.",
	0, 0, false, {{0}}, run_domcapabilities, "roost domcapabilities --json", GROUP_HOST,
	GUESTS_ALL};
