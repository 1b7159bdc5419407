#include "orchestrator/snapshot_alone.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/access.h"
#include "orchestrator/failpoint.h"

int snapshot_may_stand_alone(
	const json_t *record, const struct disk_def *d, const char *guest, struct err *err)
{
	if (json_array_size(json_object_get(record, "snapshots"))) {
		err_set(err, ERR_REFUSED, "guest '%s' has snapshots, which its disks stand on",
			guest);
		return err_hint(err, "`roost snapshot-delete` those first");
	}
	if (d->source != DISK_PATH || !snapshot_top(record, d->target)[0])
		return 0;
	err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' has layers over '%s'", d->target, guest,
		d->path);
	return err_hint(err, "`roost blockcommit %s %s` merges them into it", guest, d->target);
}

static int empty_bottom(
	int dir, uid_t keeper, const struct disk_def *d, uint64_t size, struct err *err)
{
	const struct qcow2_new new = {.size = size, .durable = true};
	/* a name that snapshots_sweep() takes for nobody's */
	_cleanup_free_ char *temporary = str_fmt("disk-%s", d->file);
	unlinkat(dir, temporary, 0);
	if (qcow2_create(dir, temporary, &new, err) < 0 ||
		access_give_at(dir, temporary, keeper, err) < 0)
		return -1;
	if (renameat(dir, temporary, dir, d->file) < 0)
		return err_errno(err, "cannot replace '%s'", d->file);
	return 0;
}

int snapshot_forget_below(
	int dir, uid_t keeper, json_t *record, const struct disk_def *d, struct err *err)
{
	json_t *layers = json_object_get(record, "layers"), *layer;
	_cleanup_free_ char *top = xstrdup(snapshot_top(record, d->target));
	const char *name;
	uint64_t size;
	void *next;
	if (!top[0])
		return 0;
	if (snapshot_layer_size(dir, keeper, top, &size, err) < 0 ||
		empty_bottom(dir, keeper, d, size, err) < 0)
		return -1;
	failpoint("pull-bottom");
	json_object_foreach_safe(layers, next, name, layer)
	{
		if (str_eq(json_get_str(layer, "disk", NULL), d->target) && !str_eq(name, top))
			json_object_del(layers, name);
	}
	json_object_set_new(layers, top,
		json_pack("{s:s, s:s, s:b}", "disk", d->target, "over", "", "alone", 1));
	if (snapshots_write(dir, keeper, record, err) < 0)
		return -1;
	failpoint("pull-forgotten");
	snapshots_sweep(dir, record);
	return 0;
}
