/*
 * boot: starts what is marked autostart, networks, then guests, one after the other, so that order and delays mean something.
 * roost-guests.service runs it when the host boots; without systemd anything may. A guest that fails,
 * or that takes too long, keeps none of the others from starting.
 */
#include "orchestrator/verbs.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/connect.h"
#include "orchestrator/network.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

enum { START_MS = 60000, SOME_FAILED = 1 };

enum outcome { STARTED, ALREADY, FAILED };
static const char *const outcome_names[] = {
	[STARTED] = "started", [ALREADY] = "already", [FAILED] = "failed"};

struct entry {
	char *name;
	struct autostart_def how;
	struct err broken; /* its record: whether it is marked cannot be known */
};

struct entries {
	struct entry *list;
	size_t count;
};

static void entries_free(struct entries *e)
{
	for (size_t i = 0; i < e->count; i++)
		free(e->list[i].name);
	free(e->list);
}

static int by_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->how.order != y->how.order)
		return x->how.order < y->how.order ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* In the order in which they start; broken ones last. */
static int find_marked(struct entries *out, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	size_t count;
	if (guests_names(&names, &count, err) < 0)
		return -1;
	out->list = xcalloc(count + 1, sizeof(*out->list));
	for (char **name = names; *name; name++) {
		struct entry e = {.how.order = AUTOSTART_ORDER_MAX + 1};
		_cleanup_definition_ struct definition *d = record_read(*name, &e.broken);
		if (d)
			e.how = d->autostart_how;
		if (d ? !d->autostart : e.broken.kind == ERR_NOT_FOUND)
			continue;
		e.name = xstrdup(*name);
		out->list[out->count++] = e;
	}
	if (out->count)
		qsort(out->list, out->count, sizeof(*out->list), by_order);
	return 0;
}

/* What a guest is that runs, or is being started by another; false: it does not run. */
static bool runs(const char *name, struct status *s)
{
	struct err ignored = ERR_INIT;
	struct found f;
	*s = (struct status){0};
	return guest_find(name, &f, &ignored) == 0 && guest_look(&f, s, &ignored) == 0 && s->number;
}

/* Another boot at the same time, or somebody: it may not have come further than to be refused to us. */
static bool others_have_started(const char *name, int64_t timeout_ms, struct status *s)
{
	struct err ignored = ERR_INIT;
	struct found f;
	return guest_find(name, &f, &ignored) == 0 && guest_attend(&f, timeout_ms, &ignored) == 0 &&
	       runs(name, s);
}

static enum outcome start_one(
	const struct entry *e, int64_t timeout_ms, struct status *s, struct err *err)
{
	json_t *reply = NULL;
	if (e->broken.kind) {
		*err = e->broken;
		return FAILED;
	}
	if (runs(e->name, s))
		return ALREADY;
	if (supervisor_start_within(timeout_ms, e->name, false, &reply, err) == 0) {
		json_decref(reply);
		return runs(e->name, s) ? STARTED : FAILED;
	}
	status_free(s);
	if (err->kind == ERR_TIMEOUT)
		err_set(err, ERR_TIMEOUT, "guest '%s' has not started within %.3g s", e->name,
			(double)timeout_ms / 1000);
	return err->kind == ERR_REFUSED && others_have_started(e->name, timeout_ms, s) ? ALREADY
										       : FAILED;
}

static void tell(const struct cli *cli, json_t *list, const struct entry *e, enum outcome outcome,
	const struct status *s, const struct err *err)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "name", e->name, "result", outcome_names[outcome],
		"state", guest_state_name(outcome == FAILED ? GUEST_SHUT_OFF : s->state));
	if (outcome == FAILED)
		json_object_set_new(o, "error", json_from_err(err));
	json_array_append_new(list, o);
	if (cli->json)
		return;
	if (outcome == FAILED)
		printf("Guest '%s' failed: %s\n", e->name, cli_said_of(e->name, err));
	else if (outcome == ALREADY)
		printf("Guest '%s' is %s already\n", e->name, guest_state_name(s->state));
	else
		printf("Guest '%s' started\n", e->name);
	fflush(stdout); /* a log shows it when it happens */
}

static void wait_for(int64_t ms)
{
	for (int64_t deadline = deadline_in(ms); deadline_left(deadline);)
		poll(NULL, 0, deadline_left(deadline));
}

/* How many have failed. */
static size_t start_all(
	const struct cli *cli, const struct entries *marked, int64_t timeout_ms, json_t *list)
{
	size_t failed = 0;
	for (size_t i = 0; i < marked->count; i++) {
		const struct entry *e = &marked->list[i];
		struct err err = ERR_INIT;
		struct status s = {0};
		enum outcome outcome = start_one(e, timeout_ms, &s, &err);
		tell(cli, list, e, outcome, &s, &err);
		status_free(&s);
		failed += outcome == FAILED;
		if (outcome == STARTED && i + 1 < marked->count)
			wait_for(e->how.delay_ms);
	}
	return failed;
}

/* ---- networks ------------------------------------------------------------------------------------- */

static void tell_network(const struct cli *cli, json_t *list, const char *name,
	enum outcome outcome, const struct err *err)
{
	json_t *o = json_pack("{s:s, s:s}", "name", name, "result", outcome_names[outcome]);
	if (outcome == FAILED)
		json_object_set_new(o, "error", json_from_err(err));
	json_array_append_new(list, o);
	if (cli->json)
		return;
	if (outcome == FAILED)
		printf("Network '%s' failed: %s\n", name, err->message);
	else
		printf("Network '%s' %s\n", name,
			outcome == ALREADY ? "is active already" : "started");
	fflush(stdout);
}

/* False: it is not marked. */
static bool start_network(const char *name, enum outcome *outcome, struct err *err)
{
	struct network n;
	*outcome = FAILED;
	if (network_load(name, &n, err) < 0)
		return err->kind != ERR_NOT_FOUND;
	if (!n.autostart)
		return false;
	if (network_active(&n))
		*outcome = ALREADY;
	else if (supervisor_call(
			 "roost-net-start", json_pack("{s:s}", "network", name), NULL, err) == 0)
		*outcome = STARTED;
	return true;
}

/* Before the guests: one that needs such a network would start it as well, and be told of what is wrong with it. */
static int start_networks(const struct cli *cli, json_t *list, size_t *failed, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (network_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct err why = ERR_INIT;
		enum outcome outcome;
		if (!start_network(*name, &outcome, &why))
			continue;
		tell_network(cli, list, *name, outcome, &why);
		*failed += outcome == FAILED;
	}
	return 0;
}

static int run_boot(const struct cli *cli, struct err *err)
{
	int64_t timeout_ms = START_MS;
	const char *timeout = cli_value(cli, "timeout", NULL);
	_cleanup_(entries_free) struct entries marked = {0};
	if ((timeout && str_parse_duration(timeout, "--timeout", &timeout_ms, err) < 0) ||
		supervisor_call("roost-stay", NULL, NULL, err) < 0 || find_marked(&marked, err) < 0)
		return -1;
	size_t failed = 0;
	_cleanup_json_ json_t *list = json_array(), *networks = json_array();
	if (start_networks(cli, networks, &failed, err) < 0)
		return -1;
	failed += start_all(cli, &marked, timeout_ms, list);
	if (cli->json)
		cli_print_json(json_pack("{s:O, s:O}", "guests", list, "networks", networks));
	if (!cli->json && !marked.count && !json_array_size(networks))
		puts("No guest is marked as autostarted");
	return failed ? SOME_FAILED : 0;
}

const struct verb verb_boot = {"boot", "",
	"Starts the networks and the guests that are marked as autostarted, in their order.", 0, 0,
	false, {{"timeout", "TIME", 0, "how long one guest's start may take; default 60s"}},
	run_boot, "roost boot", GROUP_HOST, GUESTS_ALL};
