/* Suspend, resume, reset, destroy: one QMP command each, and what follows from it. */
#include "orchestrator/guest.h"

#include <stdio.h>

#include "orchestrator/install.h"
#include "orchestrator/tpm.h"

enum {
	QUIT_MS = 2000, /* for QEMU to flush its caches; a disk that hangs may make it longer */
	GRACEFUL_MS = 30000,
	KILL_MS = 10000,
};

/* Does that state permit the wish? The enum in status.h says what does. */
static int permit(const struct guest *g, unsigned long states, const char *wish, struct err *err)
{
	if (states & (1UL << g->status.state))
		return 0;
	return err_set(err, ERR_REFUSED, "guest '%s' cannot be %s: it is %s", g->def->name, wish,
		guest_state_name(g->status.state));
}
#define IN(state) (1UL << (state))

int op_suspend(struct guest *g, struct err *err)
{
	if (permit(g,
		    IN(GUEST_RUNNING) | IN(GUEST_PAUSED) | IN(GUEST_IN_SHUTDOWN) |
			    IN(GUEST_IO_ERROR),
		    "suspended", err) < 0 ||
		guest_qmp(g, "stop", NULL, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	g->paused_by_user = true;
	g->run_after_reset = false;
	guest_forget_status(g);
	guest_tell(g, GUEST_PAUSED, "user");
	return 0;
}

int op_resume(struct guest *g, struct err *err)
{
	if (permit(g, IN(GUEST_RUNNING) | IN(GUEST_PAUSED) | IN(GUEST_IO_ERROR), "resumed", err) <
			0 ||
		guest_qmp(g, "cont", NULL, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	g->paused_by_user = false;
	g->status.paused_start = false;
	guest_forget_status(g);
	guest_tell(g, GUEST_RUNNING, "unpaused");
	return 0;
}

int op_reset(struct guest *g, struct err *err)
{
	unsigned boots = g->boots;
	int64_t deadline = deadline_in(QMP_BLOCK_MS);
	if (permit(g,
		    IN(GUEST_RUNNING) | IN(GUEST_PAUSED) | IN(GUEST_IN_SHUTDOWN) |
			    IN(GUEST_CRASHED) | IN(GUEST_IO_ERROR),
		    "reset", err) < 0 ||
		tpm_may_reset(g, err) < 0 || install_refuse(g, "reset", err) < 0)
		return -1;
	/* after a panic the CPUs are stopped, and a reset alone does not start them */
	g->run_after_reset = g->status.state == GUEST_CRASHED;
	if (guest_qmp(g, "system_reset", NULL, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	/* not by the event: it may have come with the reply */
	while (g->boots == boots) {
		struct wait w = WAIT_FOR(.deadline = deadline, .wants = any_event);
		enum wake wake = guest_wait(g, &w);
		json_decref(w.event);
		if (wake != WAKE_EVENT)
			return err_set(err, ERR_TIMEOUT, "guest '%s': QEMU does not reset it",
				g->def->name);
	}
	if (g->status.state == GUEST_CRASHED || g->status.state == GUEST_IN_SHUTDOWN)
		guest_tell(g, GUEST_RUNNING, "reset");
	return 0;
}

static enum wake wait_for_end(struct guest *g, int64_t ms)
{
	struct wait w = WAIT_FOR(.deadline = deadline_in(ms));
	return guest_wait(g, &w);
}

/*
 * `quit` first: it flushes what QEMU caches of the guest's disks. A QEMU that does not answer, or
 * that a dead disk keeps from ending, is killed; with `graceful` it is left as it is.
 */
int op_destroy(struct guest *g, const char *reason, bool graceful, struct err *err)
{
	struct err ignored = ERR_INIT;
	g->destroying = true;
	snprintf(g->destroyed_by, sizeof(g->destroyed_by), "%s", reason);
	bool deaf = g->status.state == GUEST_UNRESPONSIVE || !g->qmp || qmp_gone(g->qmp);
	failpoint("destroy-before-quit");
	if (!deaf) {
		uint64_t call = qmp_send(g->qmp, "quit", NULL, NULL, 0, &ignored);
		if (call)
			qmp_forget(g->qmp, call);
		failpoint("destroy-after-quit");
		if (wait_for_end(g, graceful ? GRACEFUL_MS : QUIT_MS) == WAKE_GONE)
			return 0;
	}
	if (graceful) {
		g->destroying = false;
		return err_set(err, ERR_TIMEOUT, "guest '%s': QEMU has not ended within %d s",
			       g->def->name, GRACEFUL_MS / 1000),
		       err_hint(
			       err, "`roost destroy %s` without --graceful kills it", g->def->name);
	}
	if (guest_kill(g, err) < 0)
		return -1;
	if (wait_for_end(g, KILL_MS) != WAKE_GONE)
		return err_set(err, ERR_TIMEOUT,
			"guest '%s': QEMU does not die within %d s of SIGKILL", g->def->name,
			KILL_MS / 1000);
	return 0;
}
