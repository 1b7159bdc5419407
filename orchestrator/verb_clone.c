/* clone. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/another.h"
#include "orchestrator/connect.h"
#include "orchestrator/long_call.h"
#include "orchestrator/record.h"

/* Nothing is done to a guest that runs before it is sure that a clone can be made. */
static int check(const struct found *f, const char *to, struct err *err)
{
	struct found there;
	struct err none = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d || name_check(to, "guest", err) < 0 || definition_may_be_cloned(d, err) < 0)
		return -1;
	if (guest_find(to, &there, &none) == 0)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", there.name);
	return 0;
}

static int run_clone(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	const char *to = cli->operands[1];
	_cleanup_json_ json_t *frozen = NULL;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	if (guest_runs(&f) && (check(&f, to, err) < 0 || guest_call(f.name, "roost-freeze-disks",
								 NULL, &frozen, err) < 0))
		return -1;
	if (long_call_supervisor((struct long_about){"guest", to}, "roost-clone",
		    json_pack("{s:s, s:s, s:O*, s:b}", "name", f.name, "new-name", to, "layers",
			    json_object_get(frozen, "layers"), "full", cli_flag(cli, "full")),
		    NULL, 0, cli->json, &reply, err) < 0)
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
	2, 2, false,
	{{"full", NULL, 0, "copy its disks: the two share nothing, not even an image"}}, run_clone,
	"roost clone web1 web3", GROUP_DEFINITION, GUESTS_ALL};
