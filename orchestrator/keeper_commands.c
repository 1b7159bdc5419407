/*
 * What a keeper's socket understands besides QEMU's own commands: one row each. Operations that
 * need more than a line have a file of their own.
 */
#include "orchestrator/guest.h"

#include <unistd.h>

static int look_status(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)r, (void)err;
	*ret = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "name", g->def->name, "state",
		guest_state_name(g->status.state), "reason", g->status.reason, "busy", g->status.busy,
		"number", (json_int_t)g->status.number, "memory", (json_int_t)g->status.memory, "vcpus",
		(json_int_t)g->status.vcpus);
	return 0;
}

static int look_commands(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)self, (void)args, (void)r, (void)err;
	*ret = command_list(keeper_commands);
	return 0;
}

/* The first client that says so is roostd: only it holds the other end before guest.sock is served. */
static int be_supervised(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)ret;
	if (r->peer.uid != 0 && r->peer.uid != geteuid())
		return err_set(err, ERR_REFUSED, "only the supervisor may say so");
	g->supervisor = r->client;
	return 0;
}

static int start(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)r;
	if (g->qemu.pidfd >= 0)
		return err_set(err, ERR_REFUSED, "guest '%s' is running already", g->def->name);
	if (op_start(g, json_get_bool(args, "paused", false), json_get_int(args, "number", 0), err) < 0) {
		g->failed_to_start = true;
		return -1;
	}
	*ret = json_pack("{s:s, s:I, s:s, s:s}", "name", g->def->name, "number",
		(json_int_t)g->status.number, "accel", g->status.accel, "accel-said",
		g->status.accel_said);
	return 0;
}

static int adopt(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_adopt(self, err);
}

static int suspend(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_suspend(self, err);
}

static int resume(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_resume(self, err);
}

static int reset(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_reset(self, err);
}

static int destroy(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	if (op_destroy(self, "destroyed", json_get_bool(args, "graceful", false), err) < 0)
		return -1;
	return guest_answer_at_end(self, r);
}

static int cancel(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)r, (void)ret;
	if (!g->operation)
		return err_set(err, ERR_REFUSED, "guest '%s': no operation is at work", g->def->name);
	g->cancelled = true;
	return 0;
}

const struct command keeper_commands[] = {
	{"query-commands", "Lists what this socket understands besides QEMU's own commands.", {{0}},
		CMD_QUICK, look_commands},
	{"roost-status", "Tells the guest's state, the reason, and the operation at work.", {{0}},
		CMD_QUICK, look_status},
	{"roost-cancel", "Asks the operation at work to stop and undo itself.", {{0}}, CMD_KILLING, cancel},
	{"roost-supervise", "Says that this client is the supervisor, which may be asked for help.", {{0}},
		CMD_QUICK, be_supervised},
	{"roost-start", "Forks the guest's QEMU and lets its CPUs go.",
		{{"paused", ARG_BOOL, true, "leave the CPUs stopped"},
			{"number", ARG_INT, true, "the small Id of this run"}},
		CMD_CHANGING, start},
	{"roost-adopt", "Takes over a QEMU whose keeper has died.", {{0}}, CMD_CHANGING, adopt},
	{"stop", "Stops the guest's CPUs.", {{0}}, CMD_CHANGING, suspend},
	{"cont", "Lets the guest's CPUs go on.", {{0}}, CMD_CHANGING, resume},
	{"system_reset", "Resets the guest as its reset button would.", {{0}}, CMD_CHANGING, reset},
	{"roost-destroy", "Ends QEMU at once; the answer comes when it has ended.",
		{{"graceful", ARG_BOOL, true, "never kill a QEMU that does not end by itself"}},
		CMD_KILLING, destroy},
	{0},
};
