#include "orchestrator/guest_ask.h"

#include <stdlib.h>

#include "base/str.h"
#include "orchestrator/paths.h"
#include "qmp/agent.h"

struct ask {
	struct ask *next;
	struct request *request;
	const char *command;
	ask_tell_fn *tell;
	int64_t deadline;
	uint64_t call;       /* query-chardev: does anybody listen in the guest? 0: not asked yet */
	struct agent *agent; /* then we are connected */
};

int guest_ask(struct guest *g, struct request *request, const char *command, ask_tell_fn *tell,
	int64_t timeout_ms, struct err *err)
{
	struct ask **at = &g->asks;
	if (agent_check_channel(g, err) < 0)
		return -1;
	while (*at)
		at = &(*at)->next;
	*at = xcalloc(1, sizeof(**at));
	**at = (struct ask){.request = request,
		.command = command,
		.tell = tell,
		.deadline = deadline_in(timeout_ms)};
	return DEFERRED;
}

static int connect_agent(struct guest *g, struct ask *a, struct err *err)
{
	_cleanup_free_ char *path = guest_own_path(g, "ga.sock");
	a->agent = agent_connect(path, err);
	return a->agent ? agent_ask(a->agent, a->command, NULL, err) : -1;
}

/* 1: *answer is there; 0: not yet; -1: there will be none. */
static int go_on(struct guest *g, struct ask *a, json_t **answer, struct err *err)
{
	_cleanup_json_ json_t *chardevs = NULL;
	if (!a->call)
		a->call = qmp_send(g->qmp, "query-chardev", NULL, NULL, 0, err);
	if (!a->call)
		return -1;
	if (!a->agent) {
		int got = qmp_take_reply(g->qmp, a->call, &chardevs, err);
		if (got <= 0)
			return got;
		if (agent_check_listens(g, chardevs, err) < 0 || connect_agent(g, a, err) < 0)
			return -1;
	}
	return agent_take(a->agent, answer, err);
}

static void finish(struct guest *g, json_t *value, const struct err *err)
{
	struct ask *a = g->asks;
	if (value)
		server_return(g->server, a->request, value);
	else
		server_error(g->server, a->request, err);
	if (a->call && !a->agent)
		qmp_forget(g->qmp, a->call);
	agent_close(a->agent);
	g->asks = a->next;
	free(a);
}

void asks_look(struct guest *g)
{
	while (g->asks) {
		struct ask *a = g->asks;
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *answer = NULL;
		int got = go_on(g, a, &answer, &err);
		if (got == 0 && deadline_left(a->deadline))
			return;
		if (got == 0) {
			err_set(&err, ERR_TIMEOUT, "the agent of guest '%s' did not answer in time",
				g->def->name);
			err_hint(&err, "try again when the guest has started, or is less busy");
		}
		finish(g, got > 0 ? a->tell(answer, &err) : NULL, &err);
	}
}

size_t asks_poll_fds(const struct guest *g, struct pollfd *fds)
{
	if (!g->asks || !g->asks->agent)
		return 0;
	*fds = (struct pollfd){
		.fd = agent_fd(g->asks->agent), .events = agent_events(g->asks->agent)};
	return 1;
}

int64_t asks_deadline(const struct guest *g)
{
	return g->asks ? g->asks->deadline : DEADLINE_NONE;
}
