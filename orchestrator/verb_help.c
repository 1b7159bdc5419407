/* help, version: out of the same rows. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

static void help_all(void)
{
	printf("roost %s: QEMU guests without libvirtd\n\n", ROOST_VERSION);
	for (const struct verb *const *v = verbs; *v; v++) {
		char line[64];
		snprintf(line, sizeof(line), "%s %s", (*v)->name, (*v)->operands);
		printf("  %-34s %s\n", line, (*v)->doc);
	}
	printf("\n`roost help COMMAND` tells its options; all know --json.\n");
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
		printf("  %-30s %s\n", line, o->doc);
	}
	printf("\nexample: %s\n", v->example);
}

static int run_help(const struct cli *cli, struct err *err)
{
	if (!cli->count) {
		help_all();
		return 0;
	}
	const struct verb *v = verb_find(cli->operands[0]);
	if (!v)
		return err_set(err, ERR_NOT_FOUND, "there is no command '%s'", cli->operands[0]);
	help_one(v);
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

const struct verb verb_help = {"help", "[COMMAND]",
	"Lists the commands, or tells the options of one.", 0, 1, false, {{0}}, run_help,
	"roost help attach-disk"};
const struct verb verb_version = {
	"version", "", "Tells roost's version.", 0, 0, false, {{0}}, run_version, "roost version"};
