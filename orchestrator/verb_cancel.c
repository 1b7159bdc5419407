/* cancel: the operation at work on a guest is asked to undo itself, whoever began it. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"

static int run_cancel(const struct cli *cli, struct err *err)
{
	json_t *reply = NULL;
	struct found f;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	int result = guest_runs(&f) ? guest_call(f.name, "roost-cancel", NULL, &reply, err)
				    : supervisor_call("roost-cancel",
					      json_pack("{s:s}", "name", f.name), &reply, err);
	if (result < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Guest '%s': %s is being cancelled\n", f.name,
		json_get_str(reply, "operation", "the operation"));
	json_decref(reply);
	return 0;
}

const struct verb verb_cancel = {"cancel", "NAME",
	"Cancels the operation at work on a guest; what it did is undone.", 1, 1, false, {{0}},
	run_cancel, "roost cancel web1", GROUP_LIFE, GUESTS_ALL};
