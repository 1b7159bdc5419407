/* Verbs that are one command to a keeper or to roostd: start, suspend, resume, reset, destroy. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"
#include "orchestrator/logout.h"
#include "orchestrator/uplinks.h"
#include "orchestrator/saved.h"

static int done(const struct cli *cli, const struct found *f, json_t *reply, const char *what)
{
	if (cli->json)
		cli_print_json(reply);
	else {
		printf("Guest '%s' %s\n", f->name, what);
		json_decref(reply);
	}
	return 0;
}

static int run_start(const struct cli *cli, struct err *err)
{
	json_t *reply = NULL;
	struct found f;
	bool paused = cli_flag(cli, "paused");
	unsigned how = START_FORCE_BOOT | (paused ? START_PAUSED : 0);
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		(cli_flag(cli, "force-boot") ? supervisor_start_from(f.name, how, NULL, &reply, err)
					     : supervisor_start(f.name, paused, &reply, err)) < 0)
		return -1;
	start_tell(reply);
	logout_tell(&f);
	if (!cli->json)
		uplinks_tell(&f);
	int64_t saved = json_get_int(reply, "saved", 0);
	if (saved && !cli->json) {
		json_decref(reply);
		return tell_restored(f.name, NULL, saved);
	}
	return done(cli, &f, reply, paused ? "started, paused" : "started");
}

static int call(
	const struct cli *cli, const char *command, json_t *args, const char *what, struct err *err)
{
	json_t *reply = NULL;
	struct found f;
	if (guest_find(cli->operands[0], &f, err) < 0) {
		json_decref(args);
		return -1;
	}
	if (guest_call(f.name, command, args, &reply, err) < 0)
		return -1;
	return done(cli, &f, reply, what);
}

static int run_suspend(const struct cli *cli, struct err *err)
{
	return call(cli, "stop", NULL, "suspended", err);
}

static int run_resume(const struct cli *cli, struct err *err)
{
	return call(cli, "cont", NULL, "resumed", err);
}

static int run_reset(const struct cli *cli, struct err *err)
{
	return call(cli, "system_reset", NULL, "reset", err);
}

static int run_destroy(const struct cli *cli, struct err *err)
{
	json_t *reply = NULL;
	struct found f;
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		guest_destroy(&f, cli_flag(cli, "graceful"), &reply, err) < 0)
		return -1;
	guest_settle(&f);
	return done(cli, &f, reply, "destroyed");
}

const struct verb verb_start = {"start", "NAME", "Starts a guest that is defined.", 1, 1, false,
	{{"paused", NULL, 0, "leave its CPUs stopped; `roost resume` lets them go"},
		{"force-boot", NULL, 0, "boot it, and give up what managedsave has saved of it"}},
	run_start, "roost start web1 --paused", GROUP_LIFE, GUESTS_STOPPED};
const struct verb verb_suspend = {"suspend", "NAME", "Stops a guest's CPUs; its RAM stays.", 1, 1,
	false, {{0}}, run_suspend, "roost suspend web1", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_resume = {"resume", "NAME", "Lets the CPUs of a paused guest go on.", 1, 1,
	false, {{0}}, run_resume, "roost resume web1", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_reset = {"reset", "NAME", "Resets a guest as its reset button would.", 1, 1,
	false, {{0}}, run_reset, "roost reset web1", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_destroy = {"destroy", "NAME",
	"Ends a guest at once, as pulling its plug would.", 1, 1, false,
	{{"graceful", NULL, 0, "let QEMU flush and end; never kill it"}}, run_destroy,
	"roost destroy web1", GROUP_LIFE, GUESTS_RUNNING};
