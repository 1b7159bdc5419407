/* clone. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "base/clock.h"
#include "orchestrator/another.h"
#include "orchestrator/connect.h"
#include "orchestrator/record.h"

enum { COPY_MS = 24 * 3600 * 1000 };

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
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q || qmp_call(q, "roost-clone",
			  json_pack("{s:s, s:s, s:O*}", "name", f.name, "new-name", to, "layers",
				  json_object_get(frozen, "layers")),
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
	2, 2, false, {{0}}, run_clone, "roost clone web1 web3", GROUP_DEFINITION, GUESTS_ALL};
