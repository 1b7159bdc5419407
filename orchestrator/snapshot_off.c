#include "orchestrator/snapshot_off.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/bases.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"
#include "orchestrator/snapshot_merge.h"

void off_end(struct off *o, int result)
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

int off_begin(struct off *o, const char *name, struct err *err)
{
	o->dir = guest_dir_open(name, err);
	o->d = o->dir < 0 ? NULL : record_read(name, err);
	if (!o->d || snapshots_commit(o->dir, err) < 0)
		return -1;
	o->record = snapshots_read(o->dir, err);
	if (!o->record)
		return -1;
	if (snapshots_saved(o->dir) && !(o->may_resume && snapshots_resume(o->record))) {
		err_set(err, ERR_REFUSED,
			"guest '%s' has been saved: its RAM knows its disks as they are", name);
		return err_hint(err, "start it first, or `roost managedsave-remove %s`", name);
	}
	o->count = snapshot_disks(o->dir, o->d, o->disks);
	snapshots_sweep(o->dir, o->record);
	return 0;
}

const struct disk_def *off_disk(const struct off *o, const char *target, struct err *err)
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

int off_put_on_top(struct off *o, const struct disk_def *d, const char *over, struct err *err)
{
	uint64_t size = 0;
	return size_of(o, d, over, &size, err) < 0
		       ? -1
		       : snapshot_put_on_top(
				 o->dir, o->d->issued.keeper_uid, o->record, d, over, size, err);
}

int off_change(struct off *o, struct err *err)
{
	failpoint("snapshot-before-plan");
	if (snapshots_plan(o->dir, o->d->issued.keeper_uid, o->record, err) < 0)
		return -1;
	failpoint("snapshot-planned");
	return snapshots_commit(o->dir, err);
}

static void told(void *about, const char *step, int64_t done, int64_t total)
{
	(void)step;
	worker_progress("guest", about, "merging", done, total);
	failpoint("snapshot-merging");
}

static int merge(struct off *o, const struct loose_layer *l, struct err *err)
{
	const struct disk_def *d = off_disk(o, l->disk, err);
	if (!d || snapshot_merge(o->dir, d, o->record, l, o->d->issued.keeper_uid, told, o->d->name,
			  err) < 0)
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

static bool has_frozen(const struct off *o)
{
	const char *name;
	json_t *value;
	json_object_foreach (json_object_get(o->record, "layers"), name, value)
		if (base_is_frozen(o->dir, name))
			return true;
	json_object_foreach (json_object_get(o->record, "bottoms"), name, value)
		if (base_is_frozen(o->dir, json_string_value(value)))
			return true;
	return false;
}

/* What clones stood on is its own again when they are gone: while it ran, its QEMU had that open. */
static void thaw(struct off *o)
{
	struct err ignored = ERR_INIT;
	if (has_frozen(o))
		bases_sweep(SWEEP, NULL, NULL, &ignored);
}

int off_tidy(struct off *o, const char *target, struct err *err)
{
	struct loose_layer l;
	struct err changed = ERR_INIT;
	thaw(o);
	/* to merge what is below a top may be to write its header */
	bool resumes = snapshots_resume(o->record) &&
		       snapshots_check_resume(o->dir, o->record, &changed) == 0;
	while (snapshots_loose(o->dir, o->record, target, &l)) {
		failpoint("snapshot-before-merge");
		if (l.into && merge(o, &l, err) < 0)
			return err_prefix(err, "merging '%s'", l.name);
		failpoint("snapshot-merged");
		snapshots_forget_layer(o->record, &l);
		if (resumes)
			snapshots_resume_anew(o->dir, o->record);
		if (snapshots_write(o->dir, o->d->issued.keeper_uid, o->record, err) < 0)
			return -1;
		failpoint("snapshot-forgotten");
		snapshots_sweep(o->dir, o->record);
	}
	return 0;
}
