/* help, version: out of the same rows. */
#include "orchestrator/verbs.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/man.h"

static const char *const headings[] = {
	[GROUP_NONE] = "",
	[GROUP_LIFE] = "A guest's life",
	[GROUP_DEFINITION] = "Its definition",
	[GROUP_LOOK] = "Looking",
	[GROUP_DEVICES] = "Memory, CPUs, devices",
	[GROUP_ACCESS] = "Into the guest",
	[GROUP_IMAGES] = "Images",
	[GROUP_NETWORKS] = "Networks",
	[GROUP_TESTS] = "Testing guests",
	[GROUP_HOST] = "The host, and roost itself",
};
static_assert(ARRAY_SIZE(headings) == GROUP_MAX, "a heading is missing");

const char *verb_heading(enum verb_group group)
{
	return headings[group];
}

/* ---- as text -------------------------------------------------------------------------------------- */

static void help_group(enum verb_group group)
{
	bool any = false;
	for (const struct verb *const *v = verbs; *v; v++) {
		char line[64];
		if ((*v)->group != group)
			continue;
		if (!any)
			printf("\n%s\n", headings[group]);
		any = true;
		snprintf(line, sizeof(line), "%s %s", (*v)->name, (*v)->operands);
		printf("  %-34s %s\n", line, (*v)->doc);
	}
}

/* Those that begin with a word, as `image`. */
static void help_first(const char *first)
{
	printf("usage: roost %s COMMAND [OPTIONS] [WORDS]\n\n", first);
	for (const struct verb *const *v = verbs; *v; v++) {
		char line[64];
		snprintf(line, sizeof(line), "%s %s", (*v)->name, (*v)->operands);
		if (verb_second(*v, first))
			printf("  %-34s %s\n", line, (*v)->doc);
	}
}

static void help_all(void)
{
	printf("roost %s: QEMU guests without libvirtd\n\n"
	       "usage: roost [-c system|session] COMMAND [OPTIONS] [WORDS]\n",
		ROOST_VERSION);
	for (enum verb_group g = GROUP_NONE + 1; g < GROUP_MAX; g++)
		help_group(g);
	printf("\n`roost COMMAND --help` tells its options, with an example; all know --json.\n");
}

static void help_one(const struct verb *v)
{
	printf("%s\n\nusage: roost %s%s%s%s\n", v->doc, v->name,
		v->options[0].name ? " [OPTIONS]" : "", v->operands[0] ? " " : "", v->operands);
	if (v->options[0].name)
		putchar('\n');
	for (const struct option_row *o = v->options; o < v->options + OPTIONS_MAX && o->name;
		o++) {
		char line[64];
		char letter[8] = "    ";
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(line, sizeof(line), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
			o->value ? o->value : "");
		if (strlen(line) <= 30)
			printf("  %-30s %s\n", line, o->doc);
		else
			printf("  %s\n  %-30s %s\n", line, "", o->doc);
	}
	printf("\nexample: %s\n", v->example);
}

/* ---- as JSON -------------------------------------------------------------------------------------- */

static json_t *option_json(const struct option_row *o)
{
	json_t *row = json_pack("{s:s, s:s}", "name", o->name, "doc", o->doc);
	if (o->letter)
		json_object_set_new(row, "letter", json_stringn(&o->letter, 1));
	if (o->value)
		json_object_set_new(row, "value", json_string(o->value));
	return row;
}

static json_t *verb_json(const struct verb *v)
{
	json_t *options = json_array();
	for (const struct option_row *o = v->options; o < v->options + OPTIONS_MAX && o->name; o++)
		json_array_append_new(options, option_json(o));
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:s}", "name", v->name, "group",
		headings[v->group], "operands", v->operands, "doc", v->doc, "min", v->min, "max",
		v->max, "options", options, "example", v->example ? v->example : "");
}

/* All, or those that begin with a word. */
static json_t *all_json(const char *first)
{
	json_t *list = json_array();
	for (const struct verb *const *v = verbs; *v; v++)
		if (!first || verb_second(*v, first))
			json_array_append_new(list, verb_json(*v));
	return list;
}

/* ---- the verbs ------------------------------------------------------------------------------------ */

static int run_help(const struct cli *cli, struct err *err)
{
	if (cli_flag(cli, "man"))
		return man_page(cli->count ? cli->operands[0] : "roost", err);
	size_t used = 0, count = (size_t)cli->count;
	/* a verb of two words may come as one, too: from `roost image info --help` */
	const struct verb *v = verb_of_words(cli->operands, count, &used);
	if (!v && count == 1 && (v = verb_find(cli->operands[0])))
		used = 1;
	const char *first =
		!v && count == 1 && verb_is_first(cli->operands[0]) ? cli->operands[0] : NULL;
	if (count > used && !first) {
		err_set(err, v ? ERR_USAGE : ERR_NOT_FOUND, "there is no command '%s%s%s'",
			cli->operands[0], count > 1 ? " " : "", count > 1 ? cli->operands[1] : "");
		return err_hint(err, "`roost help` lists the commands");
	}
	if (cli->json)
		cli_print_json(v ? verb_json(v) : all_json(first));
	else if (v)
		help_one(v);
	else if (first)
		help_first(first);
	else
		help_all();
	return 0;
}

static int run_version(const struct cli *cli, struct err *err)
{
	(void)err;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "roost", ROOST_VERSION));
	else
		printf("roost %s\n", ROOST_VERSION);
	return 0;
}

const struct verb verb_help = {"help", "[COMMAND...]",
	"Lists the commands, or tells the options of one.", 0, 2, false,
	{{"man", NULL, 0, "as a manual page; also roost-definition.5 and roost-qmp.7"}}, run_help,
	"roost help attach-disk", GROUP_HOST, GUESTS_ALL};
const struct verb verb_version = {"version", "", "Tells roost's version.", 0, 0, false, {{0}},
	run_version, "roost version", GROUP_HOST, GUESTS_ALL};
