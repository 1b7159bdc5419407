/*
 * Snapshots of a guest that does not run: made, gone back to, deleted. Runs in a worker of roostd.
 *
 * Each is one change of the record (snapshots.h), before which the new layers are made and after which what
 * is not needed any more is merged and removed. Who is killed in between leaves the record before or the
 * one after, and the rest of the work to the next of these. What a running guest's keeper has begun (op_revert.c,
 * op_snapshot_live.c) is finished here, too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"
#include "orchestrator/snapshot_merge.h"
#include "orchestrator/snapshots.h"

enum { MERGE_MS = 890000 };

struct off {
	int dir;
	struct definition *d;
	json_t *record;
	struct disk_def disks[SNAPSHOT_DISKS_MAX]; /* borrowed from `d` */
	size_t count;
};

/* Of a change that was not made no file stays. */
static void off_end(struct off *o, int result)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *record = NULL;
	if (result < 0 && o->record && snapshots_commit(o->dir, &ignored) == 0 &&
		(record = snapshots_read(o->dir, &ignored)))
		snapshots_sweep(o->dir, record);
	cleanup_close(&o->dir);
	definition_free(o->d);
	json_decref(o->record);
}

static int off_begin(struct off *o, const char *name, struct err *err)
{
	o->dir = guest_dir_open(name, err);
	o->d = o->dir < 0 ? NULL : record_read(name, err);
	if (!o->d)
		return -1;
	if (faccessat(o->dir, SAVE_MANAGED, F_OK, 0) == 0) {
		err_set(err, ERR_REFUSED,
			"guest '%s' has been saved by managedsave: its RAM knows its disks as they are",
			name);
		return err_hint(err, "start it first, or `roost managedsave-remove %s`", name);
	}
	if (snapshots_commit(o->dir, err) < 0)
		return -1;
	o->record = snapshots_read(o->dir, err);
	o->count = snapshot_disks(o->dir, o->d, o->disks);
	if (o->record)
		snapshots_sweep(o->dir, o->record);
	return o->record ? 0 : -1;
}

static const struct disk_def *disk_of(const struct off *o, const char *target, struct err *err)
{
	return snapshot_disk(o->d, o->disks, o->count, target, err);
}

/* How many bytes a layer, or the bottom if "", shows. */
static int size_of(const struct off *o, const struct disk_def *d, const char *layer, uint64_t *out,
	struct err *err)
{
	struct stat st;
	struct qcow2_info info;
	if (layer[0] || d->source != DISK_PATH)
		return snapshot_layer_size(o->dir, o->d->issued.keeper_uid,
			layer[0] ? layer : snapshot_bottom(d), out, err);
	_cleanup_close_ int fd = image_open(d->path, &st, err);
	if (fd < 0)
		return -1;
	if (d->format == FORMAT_RAW) {
		*out = raw_virtual_size(&st);
		return 0;
	}
	if (qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", d->path);
	*out = info.virtual_size;
	return 0;
}

static int put_on_top(struct off *o, const struct disk_def *d, const char *over, struct err *err)
{
	uint64_t size = 0;
	return size_of(o, d, over, &size, err) < 0
		       ? -1
		       : snapshot_put_on_top(
				 o->dir, o->d->issued.keeper_uid, o->record, d, over, size, err);
}

/* The change is made, or was planned and is believed: there is no way back. */
static int change(struct off *o, struct err *err)
{
	failpoint("snapshot-before-plan");
	if (snapshots_plan(o->dir, o->d->issued.keeper_uid, o->record, err) < 0)
		return -1;
	failpoint("snapshot-planned");
	return snapshots_commit(o->dir, err);
}

static int merge(struct off *o, const struct loose_layer *l, struct err *err)
{
	struct child child = CHILD_NONE;
	const struct disk_def *d = disk_of(o, l->disk, err);
	if (!d || snapshot_merge_start(
			  o->dir, d, o->record, l, o->d->issued.keeper_uid, &child, err) < 0)
		return -1;
	if (snapshot_merge_end(&child, deadline_in(MERGE_MS), err) < 0)
		return -1;
	const char *name;
	json_t *other;
	json_object_foreach (json_object_get(o->record, "layers"), name, other)
		if (str_eq(json_get_str(other, "over", NULL), l->name) &&
			snapshot_rename_backing(
				o->dir, d, name, l->into, o->d->issued.keeper_uid, err) < 0)
			return -1;
	return 0;
}

/* Merges and removes what the record does not need. */
static int tidy(struct off *o, struct err *err)
{
	struct loose_layer l;
	while (snapshots_loose(o->dir, o->record, &l)) {
		failpoint("snapshot-before-merge");
		if (l.into && merge(o, &l, err) < 0)
			return err_prefix(err, "merging '%s'", l.name);
		failpoint("snapshot-merged");
		snapshots_forget_layer(o->record, &l);
		if (snapshots_write(o->dir, o->d->issued.keeper_uid, o->record, err) < 0)
			return -1;
		failpoint("snapshot-forgotten");
		snapshots_sweep(o->dir, o->record);
	}
	return 0;
}

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

static int create(struct off *o, const json_t *args, struct err *err)
{
	const char *name = json_get_str(args, "snapshot", "");
	if (snapshots_check_name(o->record, o->d->name, name, err) < 0 || check_disks(o, err) < 0 ||
		tidy(o, err) < 0)
		return -1;
	snapshot_add(o->record, o->disks, o->count, name, json_get_str(args, "description", NULL),
		"shutoff");
	for (size_t i = 0; i < o->count; i++)
		if (put_on_top(o, &o->disks[i], snapshot_top(o->record, o->disks[i].target), err) <
			0)
			return -1;
	snapshots_count_on(o->record);
	return change(o, err);
}

/* ---- revert ------------------------------------------------------------------------------------------ */

static int revert(struct off *o, const json_t *args, json_t **ret, struct err *err)
{
	const char *target, *name = json_get_str(args, "snapshot", "");
	json_t *s = snapshots_get(o->record, o->d->name, name, err), *layer;
	if (!s)
		return -1;
	json_object_foreach (json_object_get(s, "disks"), target, layer) {
		const struct disk_def *d = disk_of(o, target, err);
		if (!d || put_on_top(o, d, json_string_value(layer), err) < 0)
			return -1;
	}
	snapshots_count_on(o->record);
	json_object_set_new(o->record, "current", json_string(name));
	*ret = json_pack("{s:O, s:s*}", "state", json_object_get(s, "state"), "memory",
		json_get_str(s, "memory", NULL));
	return change(o, err) < 0 ? -1 : tidy(o, err);
}

/* ---- delete ------------------------------------------------------------------------------------------ */

static int delete (struct off *o, const json_t *args, struct err *err)
{
	const char *name = json_get_str(args, "snapshot", "");
	if (!snapshots_get(o->record, o->d->name, name, err))
		return -1;
	snapshot_take_out_with(o->record, name, json_get_str(args, "children", ""));
	if (change(o, err) < 0)
		return -1;
	snapshots_sweep(o->dir, o->record);
	return tidy(o, err);
}

/* ---- as commands ------------------------------------------------------------------------------------- */

int op_snapshot_create(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1};
	(void)ret;
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = create(&o, args, err);
	off_end(&o, result);
	return result;
}

int op_snapshot_revert(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1};
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
	struct off o = {.dir = -1};
	(void)ret;
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = tidy(&o, err);
	off_end(&o, result);
	return result;
}
