/* domrename. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"

static int run_domrename(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	const char *to = cli->operands[1];
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		supervisor_call("roost-rename",
			json_pack("{s:s, s:s}", "name", f.name, "new-name", to), &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	const char *hostname = json_get_str(reply, "hostname", to);
	printf("Guest '%s' renamed to '%s'\n", f.name, to);
	if (!str_eq(hostname, to))
		printf("the host name in it stays '%s' (cloud_init.hostname)\n", hostname);
	json_decref(reply);
	return 0;
}

const struct verb verb_domrename = {"domrename", "NAME NEW_NAME",
	"Gives another name to a guest that does not run.", 2, 2, false, {{0}}, run_domrename,
	"roost domrename web1 web2", GROUP_DEFINITION, GUESTS_STOPPED};
