#include "orchestrator/long_call.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/signals.h"
#include "base/str.h"

enum { TELL_MS = 1000, LOOK_MS = 60000 };

struct call {
	struct qmp *q;
	const char *about; /* roostd tells of many guests; NULL: a keeper of one */
	uint64_t call, cancel;
	int signals;
	bool quiet, terminal, told;
	int64_t tell_at;
};

void long_call_hold_signals(void)
{
	sigset_t set = signals_that_end();
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void take_signal(struct call *c)
{
	struct err ignored = ERR_INIT;
	sigset_t set = signals_that_end();
	if (c->cancel || !signals_take(c->signals))
		return;
	c->cancel = qmp_send(c->q, "roost-cancel",
		c->about ? json_pack("{s:s}", "name", c->about) : NULL, NULL, 0, &ignored);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* the next one is not ours */
}

static void tell(struct call *c, const json_t *data)
{
	int64_t done = json_get_int(data, "done", 0), total = json_get_int(data, "total", 0);
	if (c->quiet || clock_ms() < c->tell_at)
		return;
	fprintf(stderr, "%s%s: %lld %%%s", c->terminal ? "\r" : "", json_get_str(data, "step", ""),
		(long long)(total ? done * 100 / total : 0), c->terminal ? "\033[K" : "\n");
	c->told = true;
	c->tell_at = deadline_in(TELL_MS);
}

static void take_events(struct call *c)
{
	json_t *event;
	while ((event = qmp_next_event(c->q))) {
		const json_t *data = json_object_get(event, "data");
		if (str_eq(json_get_str(event, "event", ""), "ROOST_PROGRESS") &&
			(!c->about || str_eq(json_get_str(data, "guest", ""), c->about)))
			tell(c, data);
		json_decref(event);
	}
}

static int await(struct call *c, json_t **reply, struct err *err)
{
	for (int got = 0;;) {
		struct pollfd fds[] = {{.fd = c->cancel ? -1 : c->signals, .events = POLLIN},
			{.fd = qmp_fd(c->q), .events = qmp_events(c->q)}};
		if (poll(fds, ARRAY_SIZE(fds), LOOK_MS) > 0 && fds[0].revents)
			take_signal(c);
		qmp_pump(c->q, err);
		take_events(c);
		if ((got = qmp_take_reply(c->q, c->call, reply, err)))
			return got > 0 ? 0 : -1;
	}
}

static int call_on(struct qmp *q, const char *about, const char *command, json_t *args,
	const int *fds, size_t fd_count, bool quiet, json_t **reply, struct err *err)
{
	_cleanup_close_ int signals = q ? signals_catch(NULL, err) : -1;
	if (signals < 0) {
		json_decref(args);
		return -1;
	}
	struct call c = {.q = q,
		.about = about,
		.call = qmp_send(q, command, args, fds, fd_count, err),
		.signals = signals,
		.quiet = quiet,
		.terminal = isatty(STDERR_FILENO),
		.tell_at = deadline_in(TELL_MS)};
	int result = c.call ? await(&c, reply, err) : -1;
	if (c.told && c.terminal)
		fputs("\r\033[K", stderr);
	return result;
}

int long_call(const struct found *f, const char *command, json_t *args, const int *fds,
	size_t fd_count, bool quiet, json_t **reply, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = guest_connect(f, err);
	return call_on(q, NULL, command, args, fds, fd_count, quiet, reply, err);
}

int long_call_supervisor(const char *about, const char *command, json_t *args, bool quiet,
	json_t **reply, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	return call_on(q, about, command, args, NULL, 0, quiet, reply, err);
}
