/*
 * Asking a guest to power off or to reboot: a ladder.
 *
 * First the agent, which answers at once whether it is there. Then the ACPI button, pressed again
 * until it is heard: a guest that is still booting does not listen yet. Whoever does not wait has it
 * pressed again, too, until the time is over. Each rung is told to who asked; the one that worked is
 * part of the reason that is recorded.
 */
#include "orchestrator/guest.h"

#include <stdio.h>

#include "base/str.h"
#include "orchestrator/tpm.h"
#include "orchestrator/paths.h"
#include "qmp/agent.h"

enum {
	AGENT_ANSWER_MS = 6000, /* to a ping; a busy guest under TCG takes seconds */
	AGENT_REFUSE_MS = 500,  /* guest-shutdown answers nothing but an error */
	AGENT_ACT_MS = 20000,   /* from guest-shutdown to power-off, before the button is tried */
	PRESS_AGAIN_MS = 3000,
};

/* ---- the agent, waiting as everything waits here --------------------------------------------------- */

static int wait_for_agent(void *self, int fd, short events, int64_t deadline, struct err *err)
{
	struct guest *g = self;
	struct wait w = WAIT_FOR(.deadline = deadline, .fd_events = events);
	w.fd = fd;
	switch (guest_wait(g, &w)) {
	case WAKE_FD:
		return 1;
	case WAKE_GONE:
		return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
	case WAKE_CANCEL:
		return guest_cancelled(g, err);
	default:
		return 0;
	}
}

int agent_check_channel(const struct guest *g, struct err *err)
{
	if (g->def->agent)
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' has no agent channel", g->def->name);
	return err_hint(err, "set `agent: true` in its definition");
}

/* QEMU knows whether anybody has opened the port, and that spares waiting for none. */
int agent_check_listens(const struct guest *g, const json_t *chardevs, struct err *err)
{
	size_t i;
	json_t *c;
	json_array_foreach (chardevs, i, c)
		if (str_eq(json_get_str(c, "label", ""), "agent0") &&
			json_get_bool(c, "frontend-open", false))
			return 0;
	return err_set(err, ERR_REFUSED, "no agent runs in guest '%s'", g->def->name);
}

struct agent *guest_agent(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *chardevs = NULL;
	if (agent_check_channel(g, err) < 0 ||
		guest_qmp(g, "query-chardev", NULL, QMP_BLOCK_MS, &chardevs, err) < 0 ||
		agent_check_listens(g, chardevs, err) < 0)
		return NULL;
	_cleanup_free_ char *path = guest_own_path(g, "ga.sock");
	struct agent *a = agent_connect(path, err);
	if (a)
		agent_set_wait(a, wait_for_agent, g);
	return a;
}

/* ---- the ladder ------------------------------------------------------------------------------------- */

enum { ANY_BOOT = -1 };

/*
 * What shows that the guest has acted: it is off, or, if a reboot is wanted, another boot has begun
 * since `boots`. (A firmware that starts resets the machine, too: no sign of a shutdown.)
 */
static bool has_acted(const struct guest *g, int64_t boots)
{
	return g->qemu_ended || g->ending[0] ||
	       (boots != ANY_BOOT && g->boots != boots && !g->run_after_reset);
}

static bool acted_until(struct guest *g, int64_t boots, int64_t deadline)
{
	while (!has_acted(g, boots)) {
		struct wait w = WAIT_FOR(.deadline = deadline, .wants = any_event);
		enum wake wake = guest_wait(g, &w);
		json_decref(w.event);
		if (wake == WAKE_DEADLINE || wake == WAKE_CANCEL)
			return has_acted(g, boots);
	}
	return true;
}

static void say(struct guest *g, const char *rung)
{
	snprintf(g->shutdown_by, sizeof(g->shutdown_by), "%s", rung);
	guest_progress(g, rung, 0, 0);
	guest_event(g, "ROOST_RUNG", json_pack("{s:s}", "rung", rung));
}

/* A guest that acts on it at once takes its agent with it: only its own "no" is a failure. */
static int ask_agent(struct guest *g, enum agent_shutdown_mode mode, int64_t boots,
	int64_t answer_until, struct err *err)
{
	struct agent *a = guest_agent(g, err);
	int result = a ? agent_ping(a, answer_until, err) : -1;
	if (result == 0) {
		say(g, "agent");
		result = agent_shutdown(a, mode, deadline_in(AGENT_REFUSE_MS), err);
	}
	agent_close(a);
	return result < 0 && has_acted(g, boots) ? 0 : result;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* `ms` from now, but where the button comes after the agent not more than half of what is left. */
static int64_t agents_share(unsigned rungs, int64_t deadline, int64_t ms)
{
	int64_t left = deadline - clock_ms();
	return sooner(deadline_in(ms), deadline_in(rungs & ASK_ACPI ? left / 2 : left));
}

/* ---- nobody waits, and the button is pressed again all the same ------------------------------------- */

static int press_later(struct guest *g, int64_t boots)
{
	g->press_due = deadline_in(PRESS_AGAIN_MS);
	g->press_boots = boots;
	return 0;
}

void guest_press_again(struct guest *g)
{
	struct err ignored = ERR_INIT;
	bool off = g->press_boots == ANY_BOOT;
	bool wanted = off ? g->status.state == GUEST_IN_SHUTDOWN && deadline_left(g->shutdown_until)
			  : g->status.state == GUEST_RUNNING && g->reboot_until &&
				      deadline_left(g->reboot_until);
	if (!g->press_due ||
		(wanted && !has_acted(g, g->press_boots) && deadline_left(g->press_due)))
		return;
	bool press = wanted && !has_acted(g, g->press_boots);
	g->press_due = press ? deadline_in(PRESS_AGAIN_MS) : 0;
	uint64_t call = press ? qmp_send(g->qmp, "system_powerdown", NULL, NULL, 0, &ignored) : 0;
	if (call)
		qmp_forget(g->qmp, call);
}

/* ---- the ladder, climbed ------------------------------------------------------------------------------ */

static int climb(struct guest *g, unsigned rungs, enum agent_shutdown_mode mode, int64_t deadline,
	bool wait, struct err *err)
{
	struct err agent_said = ERR_INIT;
	g->agent_said[0] = '\0';
	g->press_due = 0;
	int64_t boots = mode == AGENT_REBOOT ? (int64_t)g->boots : ANY_BOOT;
	int64_t answer_until = agents_share(rungs, deadline, AGENT_ANSWER_MS);
	if ((rungs & ASK_AGENT) && ask_agent(g, mode, boots, answer_until, &agent_said) == 0) {
		failpoint("shutdown-after-agent");
		if (!wait)
			return 0;
		int64_t until =
			rungs & ASK_ACPI ? agents_share(rungs, deadline, AGENT_ACT_MS) : deadline;
		if (acted_until(g, boots, until))
			return 0;
		err_set(&agent_said, ERR_TIMEOUT, "the guest has not acted on its word");
	} else if (rungs == ASK_AGENT) {
		*err = agent_said;
		return err_prefix(err, "guest '%s': its agent", g->def->name);
	}
	snprintf(g->agent_said, sizeof(g->agent_said), "%.*s", (int)sizeof(g->agent_said) - 1,
		g->def->agent ? agent_said.message : "");
	if ((rungs & ASK_ACPI) && !g->cancelled)
		say(g, "ACPI button");
	while ((rungs & ASK_ACPI) && !g->cancelled && deadline_left(deadline)) {
		if (guest_qmp(g, "system_powerdown", NULL, QMP_BLOCK_MS, NULL, err) < 0)
			return g->qemu_ended ? 0 : -1;
		failpoint("shutdown-after-button");
		if (!wait)
			return press_later(g, boots);
		if (acted_until(g, boots, sooner(deadline, deadline_in(PRESS_AGAIN_MS))))
			return 0;
	}
	if (g->cancelled)
		return guest_cancelled(g, err),
		       err_hint(err, "the guest may act on it all the same, later");
	err_set(err, ERR_TIMEOUT, "guest '%s' has not acted on %s in time%s%s", g->def->name,
		rungs == ASK_AGENT ? "its agent's word" : "the ACPI button",
		rungs == (ASK_AGENT | ASK_ACPI) ? "; its agent: " : "",
		rungs == (ASK_AGENT | ASK_ACPI) ? agent_said.message : "");
	return err_hint(err, "`roost console %s` shows what it does, `roost destroy %s` ends it",
		g->def->name, g->def->name);
}

int op_shutdown(struct guest *g, unsigned rungs, int64_t timeout_ms, bool wait, struct err *err)
{
	if (g->status.state != GUEST_RUNNING && g->status.state != GUEST_IN_SHUTDOWN) {
		err_set(err, ERR_REFUSED, "guest '%s' cannot be shut down: it is %s", g->def->name,
			guest_state_name(g->status.state));
		return err_hint(err, g->status.state == GUEST_PAUSED
					     ? "`roost resume` lets it act on it"
					     : "`roost destroy` ends it");
	}
	g->reboot_until = 0;
	guest_tell(g, GUEST_IN_SHUTDOWN, "%s", "");
	failpoint("shutdown-begin");
	int64_t deadline = deadline_in(timeout_ms);
	g->shutdown_until = wait ? DEADLINE_NONE : deadline;
	if (climb(g, rungs, AGENT_POWERDOWN, deadline, wait, err) == 0)
		return 0;
	if (!g->qemu_ended) {
		g->shutdown_by[0] = '\0';
		guest_tell(g, GUEST_RUNNING, "did not shut down");
	}
	return -1;
}

int op_reboot(struct guest *g, unsigned rungs, int64_t timeout_ms, bool wait, struct err *err)
{
	if (g->status.state != GUEST_RUNNING)
		return err_set(err, ERR_REFUSED, "guest '%s' cannot be rebooted: it is %s",
			g->def->name, guest_state_name(g->status.state));
	if (tpm_may_reset(g, err) < 0)
		return -1;
	g->reboot_until = deadline_in(timeout_ms);
	int result = climb(g, rungs, AGENT_REBOOT, g->reboot_until, wait, err);
	if (result < 0)
		g->reboot_until = 0;
	return result;
}
