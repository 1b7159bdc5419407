#include "orchestrator/quiesce.h"

#include "orchestrator/journal.h"
#include "qmp/agent.h"

enum { PING_MS = 5000, FREEZE_MS = 10000, THAW_MS = 30000 };

int quiesce_thaw(struct guest *g, struct err *err)
{
	bool was = g->undoing;
	unsigned count;
	g->undoing = true;
	struct agent *a = guest_agent(g, err);
	int result = a ? agent_fsthaw(a, deadline_in(THAW_MS), &count, err) : -1;
	agent_close(a);
	g->undoing = was;
	return result;
}

int quiesce_freeze(struct guest *g, struct err *err)
{
	struct err ignored = ERR_INIT;
	unsigned count;
	struct agent *a = guest_agent(g, err);
	if (!a)
		return -1;
	/* one that answers nothing is not waited for twice: what it was not told needs no thawing */
	if (agent_ping(a, deadline_in(PING_MS), err) < 0) {
		agent_close(a);
		return -1;
	}
	int result = journal_note(g, "frozen", json_true(), err);
	failpoint("quiesce-before-freeze");
	if (result == 0)
		result = agent_fsfreeze(a, deadline_in(FREEZE_MS), &count, err);
	agent_close(a);
	if (result < 0)
		quiesce_thaw(g, &ignored);
	return result;
}

void quiesce_recover(struct guest *g, const json_t *journal)
{
	struct err ignored = ERR_INIT;
	if (json_get_bool(journal, "frozen", false))
		quiesce_thaw(g, &ignored);
}
