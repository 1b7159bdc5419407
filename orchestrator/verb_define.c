/* define, undefine. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"
#include "orchestrator/definition.h"

static int run_define(const struct cli *cli, struct err *err)
{
	_cleanup_definition_ struct definition *d = definition_read(cli->operands[0], err);
	json_t *reply = NULL;
	if (!d)
		return -1;
	if (cli_flag(cli, "validate")) {
		if (cli->json)
			cli_print_json(json_pack("{s:s, s:b}", "name", d->name, "valid", 1));
		else
			printf("'%s' is a good definition of guest '%s'\n", cli->operands[0],
				d->name);
		return 0;
	}
	json_t *args = json_pack("{s:o, s:b}", "definition", definition_to_json(d), "rebased",
		cli_flag(cli, "rebased"));
	if (supervisor_call("roost-define", args, &reply, err) < 0)
		return -1;
	bool changed = json_get_bool(reply, "changed", false);
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Guest '%s' %s\n", d->name, changed ? "changed" : "defined");
	json_decref(reply);
	return 0;
}

static int run_undefine(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL, *kept, *path;
	size_t i;
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		supervisor_call("roost-undefine",
			json_pack("{s:s, s:b, s:b, s:b}", "name", f.name, "remove-storage",
				cli_flag(cli, "remove-all-storage"), "managed-save",
				cli_flag(cli, "managed-save"), "snapshots-metadata",
				cli_flag(cli, "snapshots-metadata")),
			&reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Guest '%s' undefined\n", f.name);
	kept = json_object_get(reply, "kept");
	json_array_foreach (kept, i, path)
		printf("kept: %s\n", json_string_value(path));
	json_decref(reply);
	return 0;
}

const struct verb verb_define = {"define", "FILE",
	"Makes a guest from a definition in YAML or JSON ('-': standard input).", 1, 1, false,
	{{"validate", NULL, 0, "only check the definition"},
		{"rebased", NULL, 0,
			"its disks stand on other files now, and that was you: record them anew"}},
	run_define, "roost define web1.yaml", GROUP_DEFINITION, GUESTS_ALL};
const struct verb verb_undefine = {"undefine", "NAME",
	"Forgets a guest that does not run; its disks stay.", 1, 1, false,
	{{"remove-all-storage", NULL, 0, "also delete the disks that roost made for it"},
		{"managed-save", NULL, 0, "also give up what managedsave has saved of it"},
		{"snapshots-metadata", NULL, 0, "also forget its snapshots; their files stay"}},
	run_undefine, "roost undefine web1", GROUP_DEFINITION, GUESTS_STOPPED};
