/*
 * The one function that sleeps.
 *
 * Whatever a keeper waits for, it waits here, so at every moment of every operation: QEMU's events
 * are sorted, quick requests are answered, other changing ones hear `busy`, QEMU's death is
 * seen, the status file is stamped. One pass looks at everything that may have happened, then
 * sleeps in poll() until something does. There is no callback: the operation that called simply
 * goes on when its turn has come.
 */
#include "orchestrator/guest.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/event_log.h"
#include "orchestrator/guest_ask.h"
#include "orchestrator/paths.h"
#include "orchestrator/policy.h"
#include "orchestrator/tpm.h"
#include "orchestrator/vnc.h"

enum {
	HEARTBEAT_MS = 1000,
	RESETTING_MS = 50,      /* while a reset goes on, after which the CPUs shall run */
	PASS_MS = QMP_HEAVY_MS, /* the longest a passed-through command may take */
	FIXED_FDS = 5,
	LAST_WORDS = 256, /* reads of what a dead QEMU left in its socket */
};

struct pass {
	struct pass *next;
	struct request *request;
	uint64_t call;
	int64_t deadline;
};

bool any_event(const json_t *event, const void *unused)
{
	(void)event, (void)unused;
	return true;
}

bool event_matches(const json_t *event, const void *match)
{
	const struct event_match *m = match;
	if (!str_eq(json_get_str(event, "event", ""), m->name))
		return false;
	return !m->key ||
	       str_eq(json_get_str(json_object_get(event, "data"), m->key, NULL), m->value);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void pass_through(struct guest *g, struct request *r)
{
	struct err err = ERR_INIT;
	if (!g->qmp || qmp_gone(g->qmp)) {
		err_set(&err, ERR_GONE, "guest '%s': its QEMU is not there", g->def->name);
		server_error(g->server, r, &err);
		return;
	}
	if (policy_check(r->command, r->args, &err) < 0) {
		server_error(g->server, r, &err);
		return;
	}
	if (policy_changes(r->command))
		guest_tell_command(g, r->command, event_who(&r->peer));
	json_t *args = json_object_size(r->args) ? json_incref(r->args) : NULL;
	uint64_t call = qmp_send(g->qmp, r->command, args, r->fds, r->fd_count, &err);
	if (!call) {
		server_error(g->server, r, &err);
		return;
	}
	struct pass *p = xcalloc(1, sizeof(*p));
	*p = (struct pass){
		.next = g->passes, .request = r, .call = call, .deadline = deadline_in(PASS_MS)};
	g->passes = p;
}

static void answer_passes(struct guest *g)
{
	for (struct pass **at = &g->passes; *at;) {
		struct pass *p = *at;
		struct err err = ERR_INIT;
		json_t *reply = NULL;
		int got = qmp_take_raw_reply(g->qmp, p->call, &reply, &err);
		if (got == 0 && deadline_left(p->deadline)) {
			at = &p->next;
			continue;
		}
		if (got == 0) {
			qmp_forget(g->qmp, p->call);
			err_set(&err, ERR_TIMEOUT, "%s: QEMU has not answered for %d s",
				p->request->command, PASS_MS / 1000);
		}
		if (got > 0)
			server_raw(g->server, p->request, reply);
		else
			server_error(g->server, p->request, &err);
		*at = p->next;
		free(p);
	}
}

int guest_answer_at_end(struct guest *g, struct request *request)
{
	if (g->ender_count == ARRAY_SIZE(g->enders)) {
		server_return(g->server, request, NULL);
		return DEFERRED;
	}
	g->enders[g->ender_count++] = request;
	return DEFERRED;
}

void guest_run(struct guest *g, struct request *r)
{
	const struct command *c = command_find(keeper_commands, r->command);
	struct err err = ERR_INIT;
	json_t *value = NULL;
	bool changing = c->flags & CMD_CHANGING;
	if (c->flags & (CMD_CHANGING | CMD_KILLING) && !(c->flags & CMD_UNTOLD))
		guest_tell_command(g, c->name, event_who(&r->peer));
	if (changing) {
		g->operation = c;
		g->operation_client = r->client;
		g->cancelled = g->undoing = false;
		snprintf(g->status.busy, sizeof(g->status.busy), "%s", c->name);
	}
	int result = c->handler(g, r->args, r, &value, &err);
	if (changing) {
		g->operation = NULL;
		g->status.busy[0] = '\0';
	}
	if (result == 0)
		server_return(g->server, r, value);
	else if (result < 0)
		server_error(g->server, r, &err);
}

/*
 * Until a guest is taken over, who wants something of it waits: nobody needs to know of it. Before
 * the adoption only roostd is heard; while it is at work, who looks and who kills, too.
 */
static bool too_early(const struct guest *g, const struct command *c)
{
	static const char *const first[] = {"roost-supervise", "roost-start", "roost-adopt"};
	if (g->operation)
		return str_eq(g->operation->name, "roost-adopt") &&
		       !(c && c->flags & (CMD_QUICK | CMD_KILLING));
	if (g->qemu.pidfd >= 0 || g->qemu_ended)
		return false;
	for (size_t i = 0; c && i < ARRAY_SIZE(first); i++)
		if (str_eq(c->name, first[i]))
			return false;
	return true;
}

static bool hold(struct guest *g, struct request *r, const struct command *c)
{
	if (!too_early(g, c) || g->held_count == ARRAY_SIZE(g->held))
		return false;
	g->held[g->held_count++] = r;
	return true;
}

static struct request *take_held(struct guest *g)
{
	struct request *r = g->held[0];
	memmove(g->held, g->held + 1, --g->held_count * sizeof(r));
	return r;
}

static struct request *next_request(struct guest *g, const struct wait *w)
{
	bool idle = w->requests && (g->qemu.pidfd >= 0 || g->qemu_ended);
	return idle && g->held_count ? take_held(g) : server_next(g->server);
}

/* True when a changing request waits for the caller, who takes such. */
static bool serve(struct guest *g, struct wait *w)
{
	struct request *r;
	server_pump(g->server);
	while (!w->request && (r = next_request(g, w))) {
		const struct command *c = command_find(keeper_commands, r->command);
		struct err err = ERR_INIT;
		if (hold(g, r, c)) {
			continue;
		} else if (!c) {
			pass_through(g, r);
		} else if (command_check_args(c, r->args, &err) < 0) {
			server_error(g->server, r, &err);
		} else if (c->flags & (CMD_QUICK | CMD_KILLING)) {
			guest_run(g, r);
		} else if (w->requests) {
			w->request = r;
		} else {
			err_set(&err, ERR_BUSY, "guest '%s' is busy: %s", g->def->name,
				g->status.busy);
			err_hint(&err, "try again when it is done");
			server_error(g->server, r, &err);
		}
	}
	return w->request;
}

/* ---- QEMU ------------------------------------------------------------------------------------ */

static void take_events(struct guest *g, struct wait *w)
{
	json_t *event;
	while (!w->event && (event = qmp_next_event(g->qmp))) {
		guest_on_qemu_event(g, event);
		if (w->wants && w->wants(event, w->about))
			w->event = event;
		else
			json_decref(event);
	}
}

/* The connection broke, QEMU lives: another one. Calls on the old one have failed already. */
static void reconnect(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = guest_own_path(g, "qmp.sock");
	int fd = sock_connect(path, deadline_in(0), &ignored);
	if (fd < 0)
		return;
	qmp_close(g->qmp);
	g->qmp = qmp_start(fd);
	g->heartbeat_call = 0;
}

static void heartbeat(struct guest *g)
{
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	if (g->heartbeat_call) {
		int got = qmp_take_reply(g->qmp, g->heartbeat_call, &reply, &err);
		if (got > 0)
			guest_on_qemu_status(g, reply);
		json_decref(reply);
		if (got != 0)
			g->heartbeat_call = 0;
	}
	if (clock_ms() < g->heartbeat_due || g->qemu_ended)
		return;
	g->heartbeat_due = deadline_in(g->run_after_reset ? RESETTING_MS : HEARTBEAT_MS);
	if (qmp_gone(g->qmp))
		reconnect(g);
	if (!g->heartbeat_call && qmp_ready(g->qmp))
		g->heartbeat_call = qmp_send(g->qmp, "query-status", NULL, NULL, 0, &err);
	else if (clock_ms() - g->status.stamp > STATUS_STALE_MS &&
		 g->status.state != GUEST_STARTING)
		guest_tell(g, GUEST_UNRESPONSIVE, "QEMU has not answered for %lld s",
			(long long)(clock_ms() - g->status.stamp) / 1000);
	guest_try_resume(g);
	guest_press_again(g);
	guest_bound_logs(g);
	if (deadline_left(g->oom.due) == 0)
		guest_look_for_oom(g);
}

void guest_forget_status(struct guest *g)
{
	if (g->heartbeat_call)
		qmp_forget(g->qmp, g->heartbeat_call);
	g->heartbeat_call = 0;
	g->heartbeat_due = 0;
}

static bool qemu_has_ended(struct guest *g)
{
	if (!g->qemu_ended && g->qemu.pidfd >= 0 && !proc_alive(&g->qemu)) {
		struct err err = ERR_INIT;
		/* what it said before it died is still in the socket */
		for (int i = 0; g->qmp && !qmp_gone(g->qmp) && i < LAST_WORDS; i++)
			qmp_pump(g->qmp, &err);
		g->qemu_ended = true;
	}
	return g->qemu_ended;
}

/* Who began the operation is gone, by ^C for example. What roostd began, the next one goes on with. */
static bool is_abandoned(const struct guest *g)
{
	return g->operation_client != g->supervisor &&
	       !server_client_alive(g->server, g->operation_client);
}

/* Not while a reply is due: only that tells what there is to undo. And an end is not cancelled. */
static bool is_cancelled(struct guest *g, const struct wait *w)
{
	if (!g->operation || w->call || g->destroying || g->undoing)
		return false;
	g->cancelled = g->cancelled || is_abandoned(g);
	return g->cancelled;
}

int guest_cancelled(const struct guest *g, struct err *err)
{
	return err_set(err, ERR_REFUSED, "guest '%s': %s was cancelled", g->def->name,
		g->operation ? g->operation->name : "the operation");
}

/* roostd has died before it said what is to be done; the next one spawns another keeper for it. */
static bool is_orphaned(const struct guest *g)
{
	return !g->operation && g->qemu.pidfd < 0 && !g->qemu_ended &&
	       !server_client_alive(g->server, g->supervisor);
}

/* Everything that may have happened; true when the caller's turn has come. */
static bool look(struct guest *g, struct wait *w, enum wake *wake)
{
	struct err err = ERR_INIT;
	bool ended = qemu_has_ended(g);
	vnc_look(g);
	tpm_look(g);
	if (g->qmp) {
		qmp_pump(g->qmp, &err);
		take_events(g, w);
		answer_passes(g);
		asks_look(g);
		/* before the heartbeat, which may put a new connection in the place of a broken one */
		if (w->call && (w->result = qmp_take_reply(g->qmp, w->call, &w->reply, &w->err))) {
			*wake = WAKE_REPLY;
			return true;
		}
		heartbeat(g);
		guest_look_home(g);
	}
	if (w->event)
		*wake = WAKE_EVENT;
	else if (ended)
		*wake = WAKE_GONE;
	else if (w->requests && g->installed)
		*wake = WAKE_INSTALLED;
	else if (serve(g, w))
		*wake = WAKE_REQUEST;
	else if (is_cancelled(g, w) || is_orphaned(g))
		*wake = WAKE_CANCEL;
	else if (w->fd >= 0 && fd_wait(w->fd, w->fd_events, 0) > 0)
		*wake = WAKE_FD;
	else if (!deadline_left(w->deadline))
		*wake = WAKE_DEADLINE;
	else
		return false;
	return true;
}

static void doze(struct guest *g, const struct wait *w)
{
	struct pollfd fds[FIXED_FDS + SERVER_CLIENTS_MAX + 1];
	size_t n = 0;
	int64_t until = w->deadline;
	if (g->qmp && !qmp_gone(g->qmp))
		fds[n++] = (struct pollfd){.fd = qmp_fd(g->qmp), .events = qmp_events(g->qmp)};
	if (g->qmp && g->heartbeat_due < until)
		until = g->heartbeat_due;
	if (g->qmp && g->home_due < until)
		until = g->home_due;
	if (asks_deadline(g) < until)
		until = asks_deadline(g);
	n += asks_poll_fds(g, fds + n);
	if (g->qemu.pidfd >= 0)
		fds[n++] = (struct pollfd){.fd = g->qemu.pidfd, .events = POLLIN};
	if (g->tpm.pidfd >= 0)
		fds[n++] = (struct pollfd){.fd = g->tpm.pidfd, .events = POLLIN};
	if (g->vnc_fd >= 0)
		fds[n++] = (struct pollfd){.fd = g->vnc_fd, .events = POLLIN};
	if (w->fd >= 0)
		fds[n++] = (struct pollfd){.fd = w->fd, .events = w->fd_events};
	n += server_poll_fds(g->server, fds + n, ARRAY_SIZE(fds) - n);
	poll(fds, n, deadline_left(until));
}

enum wake guest_wait(struct guest *g, struct wait *w)
{
	enum wake wake;
	while (!look(g, w, &wake))
		doze(g, w);
	return wake;
}

int guest_qmp_fds(struct guest *g, const char *command, json_t *args, const int *fds,
	size_t fd_count, int64_t timeout_ms, json_t **reply, struct err *err)
{
	struct wait w = WAIT_FOR(.deadline = deadline_in(timeout_ms));
	if (!g->qmp) {
		json_decref(args);
		return err_set(err, ERR_GONE, "guest '%s': its QEMU is not there", g->def->name);
	}
	w.call = qmp_send(g->qmp, command, args, fds, fd_count, err);
	if (!w.call)
		return -1;
	switch (guest_wait(g, &w)) {
	case WAKE_REPLY:
		if (w.result < 0) {
			*err = w.err;
			return -1;
		}
		if (reply)
			*reply = w.reply;
		else
			json_decref(w.reply);
		return 0;
	case WAKE_GONE:
		return err_set(err, ERR_GONE, "%s: QEMU has ended", command);
	default:
		qmp_forget(g->qmp, w.call);
		return err_set(err, ERR_TIMEOUT, "%s: QEMU has not answered for %lld ms", command,
			(long long)timeout_ms);
	}
}

int guest_qmp(struct guest *g, const char *command, json_t *args, int64_t timeout_ms,
	json_t **reply, struct err *err)
{
	return guest_qmp_fds(g, command, args, NULL, 0, timeout_ms, reply, err);
}
