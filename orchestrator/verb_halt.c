/*
 * halt: ends all guests, as roost-guests.service does before the host goes down. Each climbs its
 * shutdown ladder in a process of its own, all until one deadline; what is left then is destroyed.
 *
 * A paused guest is resumed, for only one that runs can put its disks in order. Two sorts wait for
 * nothing and are not asked: those that never ran (`start --paused`), and those that panicked. One
 * whose disk has no space is resumed by its keeper when there is some again; nobody forces it before.
 */
#include "orchestrator/verbs.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/children.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"

enum {
	LADDER_MS = 120000,
	DESTROY_MS = 30000, /* a keeper replaced, its QEMU asked to quit, then killed */
	ASK_AGAIN_MS = 250,
	SOME_LEFT = 1,
};

struct leaving {
	struct found f;
	struct err why; /* its ladder failed, or there was none to climb */
	json_t *ended;  /* {state, reason, rung}; NULL: it still runs */
	bool destroyed;
};

struct halting {
	const struct cli *cli;
	struct leaving *guests;
	size_t count;
	bool destroy;
};

/* ---- the ladder, in a child per guest ------------------------------------------------------------- */

/* Its CPUs can do nothing on our word any more, or have done nothing yet. */
static bool is_hopeless(const struct status *s)
{
	return s->state == GUEST_CRASHED || (s->state == GUEST_PAUSED && s->paused_start);
}

static json_t *how_it_ended(const struct status *s)
{
	return json_pack("{s:s, s:s, s:s}", "state", guest_state_name(s->state), "reason",
		s->reason, "rung", "");
}

/* One try. 1: it cannot be asked at all. */
static int ask(const struct found *f, int64_t deadline, json_t **reply, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	if (guest_look(f, &s, err) < 0)
		return -1;
	if (!s.number) {
		*reply = how_it_ended(&s);
		return 0;
	}
	if (is_hopeless(&s)) {
		err_set(err, ERR_REFUSED, "it is %s%s", guest_state_name(s.state),
			s.state == GUEST_PAUSED ? " and has never run" : "");
		return 1;
	}
	_cleanup_qmp_ struct qmp *q = guest_connect(f, err);
	if (!q || (s.state == GUEST_PAUSED && qmp_call(q, "cont", NULL, deadline, NULL, err) < 0))
		return -1;
	json_t *args = json_pack("{s:I}", "timeout-ms", (json_int_t)deadline_left(deadline));
	return qmp_call(q, "roost-shutdown", args, deadline + ASK_AGAIN_MS, reply, err);
}

/*
 * Again and again: it may be starting, or busy, or not answer for a moment; another may be shutting it
 * down, and its keeper may die and be replaced.
 */
static int climb(const void *about, int64_t deadline, json_t **reply, struct err *err)
{
	const struct leaving *l = about;
	for (;;) {
		int result = ask(&l->f, deadline, reply, err);
		if (result == 0)
			guest_settle(&l->f);
		if (result >= 0 || !deadline_left(deadline))
			return result == 0 ? 0 : -1;
		int64_t again = deadline_in(ASK_AGAIN_MS);
		poll(NULL, 0, deadline_left(again < deadline ? again : deadline));
	}
}

static int destroy(const void *about, int64_t deadline, json_t **reply, struct err *err)
{
	const struct leaving *l = about;
	struct err none = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	(void)deadline; /* who waits for us sees to it */
	int result = guest_destroy(&l->f, false, reply, err);
	if (result < 0 && guest_look(&l->f, &s, &none) == 0 && !s.number) {
		*reply = how_it_ended(&s); /* it went by itself meanwhile */
		result = 0;
	}
	if (result == 0)
		guest_settle(&l->f);
	return result;
}

/* ---- telling -------------------------------------------------------------------------------------- */

static void tell(const struct halting *h, const struct leaving *l)
{
	if (h->cli->json)
		return;
	if (!l->ended)
		printf("Guest '%s' still runs: %s\n", l->f.name, cli_said_of(l->f.name, &l->why));
	else if (l->destroyed)
		printf("Guest '%s' destroyed: %s\n", l->f.name, cli_said_of(l->f.name, &l->why));
	else
		printf("Guest '%s' is %s: %s\n", l->f.name,
			json_get_str(l->ended, "state", "shut off"),
			json_get_str(l->ended, "reason", ""));
	fflush(stdout); /* a log shows it when it happens */
}

static json_t *in_json(const struct leaving *l)
{
	const char *result =
		l->destroyed ? "destroyed" : json_get_str(l->ended, "state", "running");
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "name", l->f.name, "result", result, "reason",
		json_get_str(l->ended, "reason", ""), "rung", json_get_str(l->ended, "rung", ""));
	if (l->why.kind)
		json_object_set_new(o, "error", json_from_err(&l->why));
	return o;
}

static void has_climbed(struct work *w, void *context)
{
	const struct halting *h = context;
	struct leaving *l = (struct leaving *)w->about;
	l->ended = w->reply;
	if (!l->ended)
		l->why = w->err;
	if (l->ended || !h->destroy)
		tell(h, l);
}

static void is_destroyed(struct work *w, void *context)
{
	struct leaving *l = (struct leaving *)w->about;
	l->ended = w->reply;
	l->destroyed = l->ended && str_eq(json_get_str(l->ended, "reason", ""), "destroyed");
	if (!l->ended) {
		l->why = w->err;
		err_prefix(&l->why, "it cannot be destroyed");
	}
	tell(context, l);
}

/* ---- all of them ---------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct leaving *x = a, *y = b;
	return strcmp(x->f.name, y->f.name);
}

static int find_running(struct halting *h, struct err *err)
{
	_cleanup_names_ char **ids = NULL;
	size_t count;
	struct err none = ERR_INIT;
	_cleanup_close_ int runs = runs_open(err);
	if (runs < 0)
		return err->kind == ERR_NOT_FOUND ? 0 : -1; /* nothing has ever run here */
	if (dir_names(runs, &ids, &count, err) < 0)
		return -1;
	h->guests = xcalloc(count + 1, sizeof(*h->guests));
	for (char **id = ids; *id; id++) {
		_cleanup_status_ struct status s = {0};
		_cleanup_free_ char *file = str_fmt("%s/status", *id);
		if (status_read(runs, file, &s, &none) < 0 || !status_of_this_boot(&s))
			continue;
		struct found *f = &h->guests[h->count++].f;
		snprintf(f->name, sizeof(f->name), "%s", s.name);
		snprintf(f->id, sizeof(f->id), "%s", *id);
	}
	if (h->count)
		qsort(h->guests, h->count, sizeof(*h->guests), by_name);
	return 0;
}

static void for_those_left(struct halting *h, work_fn *work, int64_t deadline, work_done_fn *done)
{
	_cleanup_free_ struct work *all = xcalloc(h->count + 1, sizeof(*all));
	size_t n = 0;
	for (size_t i = 0; i < h->count; i++)
		if (!h->guests[i].ended)
			all[n++] = (struct work){.about = &h->guests[i]};
	work_all(all, n, work, deadline, done, h);
}

/* roostd, which is asked when a keeper has to be replaced, or a QEMU killed at a uid of its own. */
static void have_a_supervisor(void)
{
	struct err ignored = ERR_INIT;
	if (!supervisor_listens())
		qmp_close(supervisor_connect(&ignored));
}

/* What `boot` has asked of it is over. */
static void let_supervisor_go(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = supervisor_socket(&ignored);
	_cleanup_qmp_ struct qmp *q = qmp_connect(path, deadline_in(QMP_LOOK_MS), &ignored);
	if (q)
		qmp_call(q, "roost-stay", json_pack("{s:b}", "stay", 0), deadline_in(QMP_LOOK_MS),
			NULL, &ignored);
}

static void halt_all(struct halting *h, int64_t timeout_ms)
{
	int64_t deadline = deadline_in(timeout_ms);
	have_a_supervisor();
	for_those_left(h, climb, deadline, has_climbed);
	if (h->destroy)
		for_those_left(h, destroy, deadline_in(DESTROY_MS), is_destroyed);
}

static int report(const struct halting *h)
{
	size_t left = 0;
	json_t *list = json_array();
	for (size_t i = 0; i < h->count; i++) {
		left += !h->guests[i].ended;
		json_array_append_new(list, in_json(&h->guests[i]));
		json_decref(h->guests[i].ended);
	}
	if (h->cli->json)
		cli_print_json(json_pack("{s:o}", "guests", list));
	else
		json_decref(list);
	if (!h->cli->json && !h->count)
		puts("No guest runs");
	return left ? SOME_LEFT : 0;
}

static int run_halt(const struct cli *cli, struct err *err)
{
	struct halting h = {.cli = cli, .destroy = !cli_flag(cli, "no-destroy")};
	int64_t timeout_ms = LADDER_MS;
	const char *timeout = cli_value(cli, "timeout", NULL);
	if ((timeout && str_parse_duration(timeout, "--timeout", &timeout_ms, err) < 0) ||
		find_running(&h, err) < 0)
		return -1;
	if (h.count)
		halt_all(&h, timeout_ms);
	let_supervisor_go();
	int result = report(&h);
	free(h.guests);
	return result;
}

const struct verb verb_halt = {"halt", "",
	"Shuts all guests down at the same time, and destroys those that do not obey.", 0, 0, false,
	{{"timeout", "TIME", 0, "how long they may take, all together; default 120s"},
		{"no-destroy", NULL, 0, "leave those running that do not obey"}},
	run_halt, "roost halt --timeout 60s", GROUP_HOST, GUESTS_ALL};
