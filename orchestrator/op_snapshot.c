/*
 * Snapshots of a guest that does not run: made, gone back to, deleted. Runs in a worker of roostd.
 *
 * Each is one change of the record (snapshots.h), before which the new layers are made and after which what
 * is not needed any more is merged and removed. Who is killed in between leaves the record before or the
 * one after, and the rest of the work to the next of these. What a running guest's keeper has begun (op_revert.c,
 * op_snapshot_live.c) is finished here, too.
 */
#include <string.h>

#include "base/str.h"
#include "orchestrator/roostd.h"
#include "orchestrator/snapshot_off.h"

/* ---- create ------------------------------------------------------------------------------------------ */

static int check_disks(const struct off *o, struct err *err)
{
	if (!o->count)
		return err_set(
			err, ERR_REFUSED, "guest '%s' has no disk that it writes to", o->d->name);
	if (o->d->firmware == FIRMWARE_UEFI &&
		!str_eq(o->disks[o->count - 1].target, SNAPSHOT_VARS))
		return err_set(err, ERR_REFUSED,
			"guest '%s' has UEFI variables of roost 0.1, which snapshots cannot hold",
			o->d->name);
	return 0;
}

/*
 * A clone that has never run has still its original's identity, and would have that again after a revert: it gets its own
 * now. With a new key known, what `o` has read is old.
 */
static int renew_first(struct off *o, const json_t *args, json_t **ret, struct err *err)
{
	if (!o->d->issued.renew[0])
		return 0;
	off_end(o, 0);
	*o = (struct off){.dir = -1};
	return op_renew(args, ret, err) < 0 ? -1
					    : off_begin(o, json_get_str(args, "name", ""), err);
}

static int create(struct off *o, const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "snapshot", "");
	if (snapshots_check_name(o->record, o->d->name, name, err) < 0 || check_disks(o, err) < 0 ||
		renew_first(o, args, ret, err) < 0 || off_tidy(o, NULL, err) < 0)
		return -1;
	snapshot_add(o->record, o->disks, o->count, name, json_get_str(args, "description", NULL),
		"shutoff");
	for (size_t i = 0; i < o->count; i++)
		if (off_put_on_top(
			    o, &o->disks[i], snapshot_top(o->record, o->disks[i].target), err) < 0)
			return -1;
	snapshots_count_on(o->record);
	return off_change(o, err);
}

/* ---- revert ------------------------------------------------------------------------------------------ */

static int revert(struct off *o, const json_t *args, json_t **ret, struct err *err)
{
	const char *target, *name = json_get_str(args, "snapshot", "");
	json_t *s = snapshots_get(o->record, o->d->name, name, err), *layer;
	if (!s)
		return -1;
	json_object_foreach (json_object_get(s, "disks"), target, layer) {
		const struct disk_def *d = off_disk(o, target, err);
		if (!d || off_put_on_top(o, d, json_string_value(layer), err) < 0)
			return -1;
	}
	snapshots_count_on(o->record);
	json_object_set_new(o->record, "current", json_string(name));
	snapshots_resume_at(o->dir, o->record, s);
	*ret = json_pack("{s:O, s:s*}", "state", json_object_get(s, "state"), "memory",
		json_get_str(s, "memory", NULL));
	return off_change(o, err) < 0 ? -1 : off_tidy(o, NULL, err);
}

/* ---- delete ------------------------------------------------------------------------------------------ */

static int delete (struct off *o, const json_t *args, struct err *err)
{
	const char *name = json_get_str(args, "snapshot", "");
	if (!snapshots_get(o->record, o->d->name, name, err))
		return -1;
	snapshot_take_out_with(o->record, name, json_get_str(args, "children", ""));
	if (off_change(o, err) < 0)
		return -1;
	snapshots_sweep(o->dir, o->record);
	return off_tidy(o, NULL, err);
}

/* ---- as commands ------------------------------------------------------------------------------------- */

int op_snapshot_create(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1};
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = create(&o, args, ret, err);
	off_end(&o, result);
	return result;
}

int op_snapshot_revert(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1, .may_resume = true};
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = revert(&o, args, ret, err);
	off_end(&o, result);
	return result;
}

int op_snapshot_delete(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1};
	(void)ret;
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = delete (&o, args, err);
	off_end(&o, result);
	return result;
}

int op_snapshot_tidy(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1, .may_resume = true};
	(void)ret;
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = off_tidy(&o, json_get_str(args, "target", NULL), err);
	off_end(&o, result);
	return result;
}
