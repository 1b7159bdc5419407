/* wait, timeline, shutdown, reboot. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/climb.h"
#include "orchestrator/connect.h"
#include "orchestrator/guest_text.h"

/* ---- wait ----------------------------------------------------------------------------------------- */

static void tell_rung(const char *rung, int64_t ms, const char *detail)
{
	if (ms < 0)
		fprintf(stderr, "  %-11s  skipped  %s\n", rung, detail);
	else
		fprintf(stderr, "  %-11s %7.2f s  %s\n", rung, (double)ms / 1000, detail);
}

static json_t *evidence(const struct readiness *r)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->evidence_count; i++)
		json_array_append_new(list, json_string(r->evidence[i]));
	return list;
}

/* What a guest wrote may hold escape sequences, which are not for this terminal. */
static void tell_evidence(const char *line)
{
	_cleanup_free_ char *clean = text_line(line, strlen(line), 1000);
	fprintf(stderr, "  | %s\n", clean);
}

/* The evidence goes before the sentence, which is printed last as any error is. */
int climb_tell_failure(const struct cli *cli, const struct readiness *r, const struct err *err)
{
	if (!cli->json) {
		for (size_t i = 0; i < r->evidence_count; i++)
			tell_evidence(r->evidence[i]);
		return -1;
	}
	json_t *error = json_from_err(err);
	json_object_update_new(error, json_pack("{s:s, s:s, s:o}", "rung", r->failed_rung, "cause",
					      r->cause, "evidence", evidence(r)));
	cli_print_json(json_pack("{s:o}", "error", error));
	return err_exit_code(err->kind);
}

int climb_shown(const struct cli *cli, const struct found *f, struct readiness *r, struct err *err)
{
	const char *timeout = cli_value(cli, "timeout", NULL);
	r->rung = cli_value(cli, "for", NULL);
	r->tell = cli->json || cli_flag(cli, "quiet") ? NULL : tell_rung;
	if ((r->rung && readiness_check_rung(r->rung, err) < 0) ||
		(timeout && str_parse_duration(timeout, "--timeout", &r->timeout_ms, err) < 0))
		return -1;
	return readiness_climb(f, r, err);
}

static int run_wait(const struct cli *cli, struct err *err)
{
	struct readiness r = {0};
	struct found f;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	int result = climb_shown(cli, &f, &r, err);
	if (result < 0)
		result = climb_tell_failure(cli, &r, err);
	else if (cli->json)
		cli_print_json(json_pack("{s:s}", "rung", r.reached));
	else
		printf("Guest '%s' has reached '%s'\n", f.name, r.reached);
	readiness_free(&r);
	return result;
}

/* ---- timeline --------------------------------------------------------------------------------------- */

struct moment {
	const char *rung;
	long long ms;
};

static int by_time(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;
	return x->ms < y->ms ? -1 : x->ms > y->ms;
}

static int run_timeline(const struct cli *cli, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	struct found f;
	struct moment moments[TIMELINE_MAX];
	size_t count = 0;
	const char *rung;
	json_t *ms;
	if (guest_find(cli->operands[0], &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(s.timeline ? json_incref(s.timeline) : json_object());
		return 0;
	}
	json_object_foreach (s.timeline, rung, ms)
		if (count < TIMELINE_MAX)
			moments[count++] =
				(struct moment){.rung = rung, .ms = json_integer_value(ms)};
	if (!count)
		return err_set(
			err, ERR_NOT_FOUND, "guest '%s' has no timeline: it has not run", f.name);
	qsort(moments, count, sizeof(moments[0]), by_time);
	for (size_t i = 0; i < count; i++)
		printf("%-11s %9.3f s  +%.3f\n", moments[i].rung, (double)moments[i].ms / 1000,
			(double)(moments[i].ms - (i ? moments[i - 1].ms : 0)) / 1000);
	return 0;
}

/* ---- shutdown, reboot ------------------------------------------------------------------------------- */

static json_t *ladder_args(const struct cli *cli, struct err *err)
{
	const char *mode = cli_value(cli, "mode", NULL), *timeout = cli_value(cli, "timeout", NULL);
	int64_t ms;
	json_t *args = json_object();
	if (mode)
		json_object_set_new(args, "mode", json_string(mode));
	if (!timeout)
		return args;
	if (str_parse_duration(timeout, "--timeout", &ms, err) < 0) {
		json_decref(args);
		return NULL;
	}
	json_object_set_new(args, "timeout-ms", json_integer(ms));
	return args;
}

/* Which rung worked is told; and why an earlier one did not. */
static void tell_agent(const json_t *reply)
{
	const char *said = json_get_str(reply, "agent-said", "");
	if (said[0])
		fprintf(stderr, "roost: not by its agent: %s\n", said);
}

static int run_shutdown(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL, *args = ladder_args(cli, err);
	bool wait = !cli_flag(cli, "no-wait");
	if (!args)
		return -1;
	json_object_set_new(args, "wait", json_boolean(wait));
	if (guest_find(cli->operands[0], &f, err) < 0) {
		json_decref(args);
		return -1;
	}
	if (guest_call(f.name, "roost-shutdown", args, &reply, err) < 0)
		return -1;
	if (wait)
		guest_settle(&f);
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	tell_agent(reply);
	if (wait)
		printf("Guest '%s' is %s: %s\n", f.name, json_get_str(reply, "state", "off"),
			json_get_str(reply, "reason", ""));
	else
		printf("Guest '%s' is being shut down: asked by the %s\n", f.name,
			json_get_str(reply, "rung", ""));
	json_decref(reply);
	return 0;
}

static int run_reboot(const struct cli *cli, struct err *err)
{
	json_t *reply = NULL, *args = ladder_args(cli, err);
	struct found f;
	bool wait = !cli_flag(cli, "no-wait");
	if (!args)
		return -1;
	json_object_set_new(args, "wait", json_boolean(wait));
	if (guest_find(cli->operands[0], &f, err) < 0) {
		json_decref(args);
		return -1;
	}
	if (guest_call(f.name, "roost-reboot", args, &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	tell_agent(reply);
	printf("Guest '%s' %s: asked by the %s\n", f.name, wait ? "reboots" : "is being rebooted",
		json_get_str(reply, "rung", ""));
	json_decref(reply);
	return 0;
}

#define LADDER_OPTIONS                                                                             \
	{"mode", "agent|acpi", 0, "ask by this only; default by both"},                            \
		{"timeout", "TIME", 0, "how long the guest may take, such as 60s"},                \
	{                                                                                          \
		"no-wait", NULL, 0, "ask, and return at once"                                      \
	}

const struct verb verb_wait = {"wait", "NAME", "Waits until a guest is really up.", 1, 1, false,
	{CLIMB_OPTIONS}, run_wait, "roost wait web1 --for login --timeout 3m", GROUP_LIFE,
	GUESTS_RUNNING};
const struct verb verb_timeline = {"timeline", "NAME",
	"Tells when a guest reached each rung of readiness.", 1, 1, false, {{0}}, run_timeline,
	"roost timeline web1", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_shutdown = {"shutdown", "NAME",
	"Asks a guest to power off, and waits until it has.", 1, 1, false, {LADDER_OPTIONS},
	run_shutdown, "roost shutdown web1 --timeout 60s", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_reboot = {"reboot", "NAME", "Asks a guest to reboot.", 1, 1, false,
	{LADDER_OPTIONS}, run_reboot, "roost reboot web1", GROUP_LIFE, GUESTS_RUNNING};
