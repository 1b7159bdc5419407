/* domuuid, domid, domname: one name of a guest for another. Each takes any of the three. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/look.h"
#include "orchestrator/record.h"

static int told(const struct cli *cli, const char *key, json_t *value)
{
	if (cli->json) {
		cli_print_json(json_pack("{s:o}", key, value));
		return 0;
	}
	if (json_is_string(value))
		puts(json_string_value(value));
	else if (json_is_integer(value))
		printf("%lld\n", (long long)json_integer_value(value));
	else
		puts("-");
	json_decref(value);
	return 0;
}

static int run_domuuid(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_definition_ struct definition *d =
		guest_find(cli->operands[0], &f, err) < 0 ? NULL : record_read(f.name, err);
	return d ? told(cli, "uuid", json_string(d->uuid)) : -1;
}

static int run_domid(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	return told(cli, "id", look_runs(&l) ? json_integer(l.s.number) : json_null());
}

static int run_domname(const struct cli *cli, struct err *err)
{
	struct found f;
	return guest_find(cli->operands[0], &f, err) < 0 ? -1
							 : told(cli, "name", json_string(f.name));
}

const struct verb verb_domuuid = {"domuuid", "NAME", "Tells a guest's UUID.", 1, 1, false, {{0}},
	run_domuuid, "roost domuuid web1", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_domid = {"domid", "NAME",
	"Tells the Id of a running guest; '-' for one that does not run.", 1, 1, false, {{0}},
	run_domid, "roost domid web1", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_domname = {"domname", "ID", "Tells a guest's name, by its Id or UUID.", 1, 1,
	false, {{0}}, run_domname, "roost domname web1", GROUP_LOOK, GUESTS_RUNNING};
