#include "orchestrator/long_call.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/signals.h"
#include "base/str.h"
#include "orchestrator/progress_bar.h"

enum { LOOK_MS = 60000 };

struct call {
	struct qmp *q;
	struct long_about about; /* roostd tells of many; without a name: a keeper of one */
	uint64_t call, cancel;
	int signals;
	struct progress bar;
	char step[32];
};

static json_t *what_to_cancel(const struct call *c)
{
	bool guest = str_eq(c->about.kind, "guest");
	return c->about.name ? json_pack("{s:s}", guest ? "name" : c->about.kind, c->about.name)
			     : NULL;
}

static void take_signal(struct call *c)
{
	struct err ignored = ERR_INIT;
	sigset_t set = signals_that_end();
	if (c->cancel || !signals_take(c->signals))
		return;
	c->cancel = qmp_send(c->q, "roost-cancel", what_to_cancel(c), NULL, 0, &ignored);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* the next one is not ours */
}

static void tell(struct call *c, const json_t *data)
{
	snprintf(c->step, sizeof(c->step), "%s", json_get_str(data, "step", ""));
	progress_show(&c->bar, json_get_int(data, "done", 0), json_get_int(data, "total", 0));
}

static void take_events(struct call *c)
{
	json_t *event;
	while ((event = qmp_next_event(c->q))) {
		const json_t *data = json_object_get(event, "data");
		if (str_eq(json_get_str(event, "event", ""), "ROOST_PROGRESS") &&
			(!c->about.name ||
				str_eq(json_get_str(data, c->about.kind, NULL), c->about.name)))
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

static int call_on(struct qmp *q, struct long_about about, const char *command, json_t *args,
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
		.signals = signals};
	progress_begin(&c.bar, c.step, quiet);
	c.bar.percent = true; /* clusters, bytes, hundredths: each operation counts its own */
	int result = c.call ? await(&c, reply, err) : -1;
	progress_end(&c.bar);
	return result;
}

int long_call(const struct found *f, const char *command, json_t *args, const int *fds,
	size_t fd_count, bool quiet, json_t **reply, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = guest_connect(f, err);
	return call_on(q, (struct long_about){0}, command, args, fds, fd_count, quiet, reply, err);
}

int long_call_supervisor(struct long_about about, const char *command, json_t *args, const int *fds,
	size_t fd_count, bool quiet, json_t **reply, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	return call_on(q, about, command, args, fds, fd_count, quiet, reply, err);
}

int long_call_speed(const struct cli *cli, uint64_t *speed, struct err *err)
{
	const char *bandwidth = cli_value(cli, "bandwidth", NULL);
	*speed = 0;
	return bandwidth ? str_parse_size(bandwidth, 0, "--bandwidth", speed, err) : 0;
}
