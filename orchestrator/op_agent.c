/* A raw command to the guest's agent, as the caller wrote it, and the agent's raw answer. */
#include "orchestrator/guest.h"

#include "base/str.h"
#include "qmp/agent.h"

enum { SILENT_MS = 3000 }; /* how long one that answers nothing on success may take to refuse */

/* On success they answer nothing: qemu-ga's own documentation marks them so. */
static bool answers_nothing(const char *command)
{
	static const char *const silent[] = {"guest-shutdown", "guest-suspend-disk",
		"guest-suspend-ram", "guest-suspend-hybrid"};
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		if (str_eq(command, silent[i]))
			return true;
	return false;
}

int op_agent(struct guest *g, const char *command, const json_t *args, int64_t timeout_ms,
	json_t **ret, struct err *err)
{
	struct agent *a = guest_agent(g, err);
	json_t *given = args ? json_deep_copy(args) : NULL;
	int result;
	if (!a) {
		json_decref(given);
		return err_prefix(err, "agent");
	}
	if (answers_nothing(command))
		result = agent_call_silent(a, command, given,
			deadline_in(timeout_ms < SILENT_MS ? timeout_ms : SILENT_MS), err);
	else
		result = agent_call(a, command, given, deadline_in(timeout_ms), ret, err);
	agent_close(a);
	return result < 0 ? err_prefix(err, "guest '%s'", g->def->name) : 0;
}
