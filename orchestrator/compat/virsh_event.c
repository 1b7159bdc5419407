/* virsh's event: what becomes of guests, as roostd hears it from their keepers. */
#include "orchestrator/compat/virsh.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

struct watch {
	const char *only; /* of that guest alone; NULL: all */
	json_t *states;   /* what was heard last, by name */
	bool loop, stamp;
	int64_t received;
};

/* What begins so, coming from a state that is running (or not, or either), is these two words. */
static const struct {
	const char *state, *reason;
	enum { FROM_ANY, FROM_OFF, FROM_ON } from;
	const char *event, *detail;
} meanings[] = {
	{"running", "restored", FROM_ANY, "Started", "Restored"},
	{"running", "booted", FROM_ANY, "Started", "Booted"},
	{"running", "unpaused", FROM_ON, "Resumed", "Unpaused"},
	{"running", "there is space again", FROM_ON, "Resumed", "Unpaused"},
	{"paused", "", FROM_OFF, "Started", "Booted"},
	{"paused", "watchdog", FROM_ON, "Suspended", "Watchdog"},
	{"paused", "asleep", FROM_ON, "PMSuspended", "Memory"},
	{"paused", "", FROM_ANY, "Suspended", "Paused"},
	{"io-error", "", FROM_ANY, "Suspended", "I/O Error"},
	{"crashed", "", FROM_ANY, "Crashed", "Panicked"},
	{"shut off", "destroyed", FROM_ANY, "Stopped", "Destroyed"},
	{"shut off", "saved", FROM_ANY, "Stopped", "Saved"},
	{"shut off", "guest poweroff", FROM_ON, "Shutdown", "Finished after guest request"},
	{"shut off", "guest-shutdown", FROM_ON, "Shutdown", "Finished after guest request"},
	{"shut off", "guest", FROM_ANY, "Stopped", "Shutdown"},
	{"shut off", "", FROM_ANY, "Stopped", "Failed"},
};

static bool is_on(const char *state)
{
	return !str_eq(state, "shut off") && !str_eq(state, "starting");
}

static void print(struct watch *w, const char *guest, const char *event, const char *detail)
{
	struct timespec now;
	struct tm parts;
	char text[32];
	clock_gettime(CLOCK_REALTIME, &now);
	if (w->stamp && gmtime_r(&now.tv_sec, &parts) &&
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts))
		printf("%s.%03ld+0000: ", text, now.tv_nsec / 1000000);
	printf("event 'lifecycle' for domain '%s': %s %s\n", guest, event, detail);
	fflush(stdout);
	w->received++;
}

static bool is_two(const char *event)
{
	return str_eq(event, "Started") || str_eq(event, "Shutdown");
}

/* One state may mean two events: it was started, and is paused; the guest is off, and QEMU has ended. */
static void take_state(struct watch *w, const json_t *data)
{
	const char *guest = json_get_str(data, "guest", ""),
		   *state = json_get_str(data, "state", ""),
		   *reason = json_get_str(data, "reason", "");
	if (w->only && !str_eq(w->only, guest))
		return;
	bool on = is_on(json_get_str(w->states, guest, "shut off")),
	     paused = str_eq(state, "paused");
	json_object_set_new(w->states, guest, json_string(state));
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
		if (!str_eq(meanings[i].state, state) || !str_starts(reason, meanings[i].reason) ||
			(meanings[i].from == FROM_OFF && on) ||
			(meanings[i].from == FROM_ON && !on))
			continue;
		if (w->received && !w->loop)
			return;
		print(w, guest, meanings[i].event, meanings[i].detail);
		if (!is_two(meanings[i].event) || (str_eq(meanings[i].event, "Started") && !paused))
			return;
	}
}

/* Of a definition. */
static void take_definition(struct watch *w, const json_t *data, const char *event)
{
	static const char *const details[][2] = {{"added", "Added"}, {"updated", "Updated"},
		{"renamed", "Renamed"}, {"removed", "Removed"}};
	const char *guest = json_get_str(data, "guest", ""), *how = json_get_str(data, "how", "");
	if ((w->only && !str_eq(w->only, guest)) || (w->received && !w->loop))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(details); i++)
		if (str_eq(details[i][0], how))
			print(w, guest, event, details[i][1]);
}

static void take(struct watch *w, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	const char *name = json_get_str(event, "event", "");
	if (str_eq(name, "ROOST_STATE"))
		take_state(w, data);
	else if (str_eq(name, "ROOST_DEFINED"))
		take_definition(w, data, "Defined");
	else if (str_eq(name, "ROOST_UNDEFINED"))
		take_definition(w, data, "Undefined");
}

/* As they are before anything is heard. */
static json_t *states_now(struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	json_t *states = json_object(), *guest;
	size_t i;
	if (compat_ask("list", NULL, &list, err) < 0) {
		json_decref(states);
		return NULL;
	}
	json_array_foreach (list, i, guest)
		json_object_set(
			states, json_get_str(guest, "name", ""), json_object_get(guest, "state"));
	return states;
}

/* ^C ends the wait, and not all of virsh: what is waited for breaks off. */
static volatile sig_atomic_t interrupted;
static int heard_from;

static void on_interrupt(int number)
{
	int saved = errno;
	(void)number;
	interrupted = 1;
	shutdown(heard_from, SHUT_RDWR);
	errno = saved;
}

/* Until there was one, or for ever; -1: roostd has gone. */
static int hear(struct watch *w, struct qmp *q, int64_t deadline, struct err *err)
{
	while (!w->received || w->loop) {
		_cleanup_json_ json_t *event = qmp_wait_event(q, NULL, deadline, err);
		if (event)
			take(w, event);
		else
			return interrupted || !deadline_left(deadline) ? 0 : -1;
	}
	return 0;
}

static int watch(struct watch *w, int64_t deadline)
{
	struct err err = ERR_INIT;
	struct sigaction action = {.sa_handler = on_interrupt}, before;
	_cleanup_qmp_ struct qmp *q = supervisor_connect(&err);
	if (!q || !(w->states = states_now(&err)))
		return virsh_reason(&err);
	heard_from = qmp_fd(q);
	interrupted = 0;
	sigaction(SIGINT, &action, &before);
	int result = hear(w, q, deadline, &err);
	sigaction(SIGINT, &before, NULL);
	if (result < 0)
		return virsh_reason(&err);
	if (interrupted)
		puts("event loop interrupted");
	else if (!deadline_left(deadline))
		puts("event loop timed out");
	printf("events received: %" PRId64 "\n", w->received);
	return w->received ? 0 : -1;
}

static int run_event(struct virsh *v)
{
	struct found f;
	int64_t seconds = 0;
	const char *type = virsh_text(v, "event");
	bool all = virsh_flag(v, "all");
	if (virsh_flag(v, "list")) {
		puts("lifecycle");
		return 0;
	}
	if (all && type)
		return virsh_error("Options --event and --all are mutually exclusive");
	if (!all && !type)
		return virsh_error("one of --list, --all, or --event <type> is required");
	if (type && !str_eq(type, "lifecycle"))
		return virsh_error(
			"unknown event type %s; `roost events` tells of what else happens", type);
	if (virsh_number(v, "timeout", 1, 1 << 30, &seconds) < 0 ||
		(virsh_text(v, "domain") && virsh_domain(v, &f) < 0))
		return -1;
	struct watch w = {.only = virsh_text(v, "domain") ? f.name : NULL,
		.loop = virsh_flag(v, "loop"),
		.stamp = virsh_flag(v, "timestamp")};
	int result = watch(&w, seconds ? deadline_in(seconds * 1000) : DEADLINE_NONE);
	json_decref(w.states);
	return result;
}

const struct virsh_command virsh_events[] = {
	{"event",
		{{"domain", V_TEXT}, {"event", V_TEXT}, {"all", V_FLAG}, {"loop", V_FLAG},
			{"timeout", V_INT}, {"list", V_FLAG}, {"timestamp", V_FLAG}},
		run_event, "Domain Events", NULL, false},
	{0},
};
