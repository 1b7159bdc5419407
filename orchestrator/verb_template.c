/* template. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"

static int run_template(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	bool undo = cli_flag(cli, "undo");
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		supervisor_call("roost-template",
			json_pack("{s:s, s:b}", "name", f.name, "undo", undo), &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf(undo ? "Guest '%s' is no template any more\n" : "Guest '%s' is a template now\n",
		f.name);
	json_decref(reply);
	return 0;
}

const struct verb verb_template = {"template", "NAME",
	"Makes a template of a guest: it never runs, and clones of it leave it untouched.", 1, 1,
	false, {{"undo", NULL, 0, "it may run again"}}, run_template, "roost template web1",
	GROUP_DEFINITION, GUESTS_STOPPED};
