/* clone. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "base/clock.h"
#include "orchestrator/connect.h"

enum { COPY_MS = 24 * 3600 * 1000 };

static int run_clone(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q || qmp_call(q, "roost-clone",
			  json_pack("{s:s, s:s}", "name", f.name, "new-name", cli->operands[1]),
			  deadline_in(COPY_MS), &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Clone '%s' created successfully.\n", json_get_str(reply, "name", ""));
	json_decref(reply);
	return 0;
}

const struct verb verb_clone = {"clone", "NAME NEW_NAME",
	"Makes another guest of one, in milliseconds, with an identity of its own: both go on from the same disks.",
	2, 2, false, {{0}}, run_clone, "roost clone web1 web3", GROUP_DEFINITION, GUESTS_STOPPED};
