/*
 * Networks that are active, seen from the supervisor. It does not serve them (roost-net.c does): it knows their
 * two processes by pidfd, and when those were killed it has a worker start the network anew, around the
 * guests that are still in it (network_up.h). It is not idle while a network is active.
 *
 * All it knows it reads in $RUN/n, when something has ended and about every second: keepers start networks, too, and
 * a former supervisor has. A network whose file `holder` is there and not locked was killed; one without
 * that file has ended.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_up.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

enum {
	LOOK_MS = 1000,
	END_MS = 500,   /* one half ends within some ms of the other; then it is killed */
	AGAIN_MS = 200, /* after it could not be started anew */
	AGAIN_MOST_MS = 30000,
};

struct watched {
	struct watched *next;
	char id[9], name[64];
	struct proc inner, outer;
	int64_t kill_at; /* the half that lives on; 0: both live */
	bool killed;     /* to be started anew, at `again_at` */
	bool working;    /* a worker is at it */
	int64_t again_at, pause;
	json_int_t up; /* the holder that had come up and was killed, as a pid */
	bool seen;     /* is in $RUN/n */
};

static struct watched *find(struct supervisor *s, const char *id, const char *name)
{
	for (struct watched *w = s->networks; w; w = w->next)
		if (str_eq(w->id, id))
			return w;
	struct watched *w = xcalloc(1, sizeof(*w));
	*w = (struct watched){.inner = PROC_NONE, .outer = PROC_NONE, .next = s->networks};
	snprintf(w->id, sizeof(w->id), "%s", id);
	snprintf(w->name, sizeof(w->name), "%s", name);
	return s->networks = w;
}

static void forget_unseen(struct supervisor *s)
{
	for (struct watched **at = &s->networks, *w; (w = *at);) {
		if (w->seen || w->working) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		proc_close(&w->inner);
		proc_close(&w->outer);
		free(w);
	}
}

/* ---- what was plugged ----------------------------------------------------------------------------- */

/* A request of our own, whose answer nobody waits for. */
static void have_done(
	struct supervisor *s, worker_fn *work, const char *command, json_t *args, bool *working)
{
	struct err ignored = ERR_INIT;
	struct request *r = xcalloc(1, sizeof(*r));
	r->command = xstrdup(command);
	r->args = args;
	*working = worker_start(s, work, r, &ignored) == 0;
	if (!*working)
		request_free(r);
}

static bool is_in(const json_t *nics, const json_t *nic)
{
	size_t i;
	json_t *one;
	json_array_foreach (nics, i, one)
		if (str_eq(json_get_str(one, "network", NULL), json_get_str(nic, "network", "")) &&
			str_eq(json_get_str(one, "mac", NULL), json_get_str(nic, "mac", "")) &&
			str_eq(json_get_str(one, "address", NULL),
				json_get_str(nic, "address", "")))
			return true;
	return false;
}

/* Those of `nics` that have an address which `others` do not have: into `out`. */
static void add_others(json_t *out, const json_t *nics, const json_t *others)
{
	size_t i;
	json_t *nic;
	json_array_foreach (nics, i, nic)
		if (json_get_str(nic, "network", NULL) && json_get_str(nic, "address", NULL) &&
			!is_in(others, nic))
			json_array_append_new(out, json_pack("{s:O, s:O, s:O}", "network",
							   json_object_get(nic, "network"), "mac",
							   json_object_get(nic, "mac"), "address",
							   json_object_get(nic, "address")));
}

/* What it ran with and has no more, and is it other than what it has now? */
static bool add_former(json_t *out, const char *guest, int run)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(guest, &ignored);
	_cleanup_json_ json_t *was = run < 0 ? NULL : json_file_read(run, RECORD_RAN, &ignored),
			      *now = dir < 0 ? NULL : record_look(dir, &ignored),
			      *added = json_array();
	const json_t *had = json_object_get(was, "interfaces"),
		     *has = json_object_get(now, "interfaces");
	if (!was || !now)
		return false;
	size_t before = json_array_size(out);
	add_others(out, had, has);
	add_others(added, has, had);
	return json_array_size(out) > before || json_array_size(added);
}

json_t *networks_plugged(const char *guest, int runs, const char *id)
{
	static const char *const told[] = {"attached", "guest.json", RECORD_RAN};
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = dir_open(runs, id, &ignored);
	_cleanup_json_ json_t *o = run < 0 ? NULL : json_file_read(run, "attached", &ignored);
	json_t *nics = json_array(), *entry;
	size_t i;
	json_array_foreach (json_object_get(o, "attached"), i, entry) {
		const json_t *nic = json_object_get(entry, "interface");
		if (json_get_str(nic, "network", NULL))
			json_array_append_new(nics,
				json_pack("{s:s, s:s}", "network", json_get_str(nic, "network", ""),
					"mac", json_get_str(nic, "mac", "")));
	}
	bool changed = add_former(nics, guest, run);
	for (size_t k = 0; run >= 0 && k < ARRAY_SIZE(told); k++)
		unlinkat(run, told[k], 0);
	return json_pack("{s:s, s:o, s:b}", "name", guest, "interfaces", nics, "changed", changed);
}

void networks_release(struct supervisor *s, json_t *plugged)
{
	bool working;
	if (json_array_size(json_object_get(plugged, "interfaces")) ||
		json_get_bool(plugged, "changed", false))
		have_done(s, op_nic_release, "roost-nic-release", plugged, &working);
	else
		json_decref(plugged);
}

/* ---- starting it anew ----------------------------------------------------------------------------- */

static int start_again(const json_t *args, json_t **ret, struct err *err)
{
	struct network n;
	(void)ret;
	if (network_load(json_get_str(args, "name", ""), &n, err) < 0)
		return -1;
	return network_up_again(&n, err);
}

/* What has become of it $RUN/n tells. */
static void have_started(struct supervisor *s, struct watched *w)
{
	have_done(s, start_again, "roost-network-again", json_pack("{s:s}", "name", w->name),
		&w->working);
	w->pause = w->pause ? w->pause * 2 : AGAIN_MS;
	w->pause = w->pause < AGAIN_MOST_MS ? w->pause : AGAIN_MOST_MS;
	w->again_at = deadline_in(w->pause);
}

static bool works(const struct supervisor *s, const struct watched *w)
{
	for (const struct worker *k = s->workers; k; k = k->next)
		if (str_eq(k->request->command, "roost-network-again") &&
			str_eq(json_get_str(k->request->args, "name", ""), w->name))
			return true;
	return false;
}

/* ---- what $RUN/n tells ---------------------------------------------------------------------------- */

/* Those that hold the lock. One that has ended before it was known is seen to have ended. */
static void hold(struct watched *w, const json_t *who)
{
	struct err ignored = ERR_INIT;
	w->killed = false;
	if (w->inner.pidfd >= 0 || w->outer.pidfd >= 0)
		return;
	proc_open_known((pid_t)json_get_int(who, "pid", 0), (uint64_t)json_get_int(who, "start", 0),
		&w->inner, &ignored);
	proc_open_known((pid_t)json_get_int(who, "outer", 0),
		(uint64_t)json_get_int(who, "outer_start", 0), &w->outer, &ignored);
	if (w->inner.pidfd >= 0)
		w->pause = 0;
}

/* One that had come up may have lived too shortly to be seen; its death is a new one. */
static void find_killed(struct watched *w, const json_t *who)
{
	json_int_t pid = json_get_int(who, "pid", 0);
	bool was_up = json_get_bool(who, "up", false) && pid != w->up;
	if (w->killed && !was_up)
		return;
	if (was_up) {
		w->up = pid;
		w->pause = 0;
	}
	int64_t soon = w->killed ? deadline_in(AGAIN_MS) : clock_ms();
	w->again_at = w->pause || w->again_at < soon ? w->again_at : soon;
	w->killed = true;
}

static void look_at(struct supervisor *s, int nets, const char *id)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = dir_open(nets, id, &ignored);
	if (run < 0)
		return;
	bool locked = file_locked(run, "holder");
	_cleanup_json_ json_t *who = json_file_read(run, "holder", &ignored);
	const char *name = json_get_str(who, "name", NULL);
	bool ours = name && str_eq(json_get_str(who, "boot", ""), boot_id());
	if (!locked && !ours) {
		network_sweep(id);
		return;
	}
	if (!ours)
		return; /* it is just being started */
	struct watched *w = find(s, id, name);
	w->seen = true;
	if (locked) {
		hold(w, who);
	} else {
		find_killed(w, who);
	}
}

static void look_at_all(struct supervisor *s)
{
	struct err ignored = ERR_INIT;
	const char *run = paths_run(&ignored);
	_cleanup_names_ char **ids = NULL;
	_cleanup_free_ char *path = str_fmt("%s/n", run);
	_cleanup_close_ int nets = dir_open(AT_FDCWD, path, &ignored);
	for (struct watched *w = s->networks; w; w = w->next)
		w->seen = false;
	if (nets >= 0 && dir_names(nets, &ids, NULL, &ignored) == 0)
		for (char **id = ids; *id; id++)
			look_at(s, nets, *id);
	forget_unseen(s);
	s->networks_due = deadline_in(LOOK_MS);
}

/* ---- looking -------------------------------------------------------------------------------------- */

/* Has it ended? Then that is known from now on, and looked after. */
static bool take_end(struct proc *p)
{
	if (p->pidfd < 0 || proc_alive(p))
		return false;
	proc_close(p);
	return true;
}

static void look_after(struct supervisor *s, struct watched *w)
{
	struct err ignored = ERR_INIT;
	bool had = w->inner.pidfd >= 0 || w->outer.pidfd >= 0;
	bool inner_ended = take_end(&w->inner), outer_ended = take_end(&w->outer);
	struct proc *left = w->inner.pidfd >= 0 ? &w->inner : &w->outer;
	if (inner_ended || outer_ended)
		w->kill_at = left->pidfd >= 0 ? deadline_in(END_MS) : 0;
	if (w->kill_at && !deadline_left(w->kill_at)) {
		proc_signal(left, SIGKILL, &ignored);
		w->kill_at = 0;
	}
	if (had && left->pidfd < 0)
		s->networks_due = 0;
	if (w->working && !works(s, w)) {
		w->working = false;
		s->networks_due = 0;
	}
}

void networks_look(struct supervisor *s)
{
	for (struct watched *w = s->networks; w; w = w->next)
		look_after(s, w);
	if (!deadline_left(s->networks_due))
		look_at_all(s);
	for (struct watched *w = s->networks; w; w = w->next)
		if (w->killed && !w->working && !deadline_left(w->again_at))
			have_started(s, w);
}

size_t networks_poll_fds(const struct supervisor *s, struct pollfd *fds, size_t max)
{
	size_t n = 0;
	for (const struct watched *w = s->networks; w && n + 2 <= max; w = w->next) {
		if (w->inner.pidfd >= 0)
			fds[n++] = (struct pollfd){.fd = w->inner.pidfd, .events = POLLIN};
		if (w->outer.pidfd >= 0)
			fds[n++] = (struct pollfd){.fd = w->outer.pidfd, .events = POLLIN};
	}
	return n;
}

int64_t networks_deadline(const struct supervisor *s)
{
	int64_t first = s->networks_due;
	for (const struct watched *w = s->networks; w; w = w->next) {
		if (w->kill_at && w->kill_at < first)
			first = w->kill_at;
		if (w->killed && !w->working && w->again_at < first)
			first = w->again_at;
	}
	return first;
}
