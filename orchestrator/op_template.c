/*
 * A template: a guest that never runs, whose disks are bases (bases.h) from the start, and of which others are
 * cloned without touching it. And back: what nobody stands on is its own again, over the rest it gets new tops.
 * Runs in a worker of roostd.
 *
 * The record is written before a disk is frozen, and after the new tops are there: a guest that may run never
 * has a frozen top.
 */
#include "orchestrator/roostd.h"

#include <unistd.h>

#include "base/mem.h"
#include "orchestrator/bases.h"
#include "orchestrator/clone_source.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/record.h"

static int become(struct cloning *c, struct err *err)
{
	c->from->issued.template = true;
	if (record_write(c->dir, c->from, err) < 0)
		return -1;
	failpoint("template-recorded");
	return cloning_freeze(c, err);
}

static int run_again(struct cloning *c, struct err *err)
{
	struct err ignored = ERR_INIT;
	c->from->issued.template = false;
	if (cloning_put_on_frozen(c, err) < 0)
		return -1;
	failpoint("template-tops");
	if (record_write(c->dir, c->from, err) < 0)
		return -1;
	bases_sweep(SWEEP_LOCKED, NULL, NULL, &ignored);
	return 0;
}

int op_template(const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	bool undo = json_get_bool(args, "undo", false);
	_cleanup_(cloning_end) struct cloning c = {.dir = -1};
	_cleanup_close_ int lock = bases_lock(err);
	if (lock < 0 || cloning_begin(&c, name, err) < 0)
		return -1;
	if (c.from->issued.template != undo)
		return err_set(err, ERR_REFUSED, "guest '%s' is %s template", name,
			undo ? "no" : "already a");
	if ((undo ? run_again(&c, err) : become(&c, err)) < 0)
		return -1;
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND",
		event_command(name, "roost-template", json_incref(json_object_get(args, "by"))));
	event_log_append_as(c.dir, c.from->issued.keeper_uid, event);
	*ret = json_pack("{s:s, s:b}", "name", name, "template", !undo);
	return 0;
}
