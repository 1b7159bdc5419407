/*
 * Flattening a disk of a guest that does not run, in a worker of roostd: what its top lacks is copied up from the files
 * below, until it stands alone; then the records of its snapshots and of the guest forget those.
 *
 * The top is made anew beside itself (image_remake.h). Whoever is killed leaves a disk that shows the same, over files that
 * may add nothing to it any more; once more finishes it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/disk_tool.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/bases.h"
#include "orchestrator/image_remake.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/lineage.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"
#include "orchestrator/snapshot_alone.h"
#include "orchestrator/snapshot_off.h"

static void told(void *about, const char *step, int64_t done, int64_t total)
{
	(void)step;
	worker_progress("guest", about, "pulling", done, total);
}

/* A file of the user's that stands alone by its header: there is nothing to copy, but perhaps to forget. */
static bool is_alone(const struct disk_def *d)
{
	struct err ignored = ERR_INIT;
	struct stat st;
	struct qcow2_info info;
	_cleanup_close_ int fd = d->source == DISK_PATH ? image_open(d->path, &st, &ignored) : -1;
	return fd >= 0 && (d->format != FORMAT_QCOW2 ||
				  (qcow2_read(fd, &info, &ignored) == 0 && !info.has_backing));
}

static int begin(struct remake *r, const struct off *o, const struct disk_def *d,
	const struct disk_files *f, struct err *err)
{
	const char *top = snapshot_top(o->record, d->target);
	struct stat st;
	if (d->source == DISK_PATH) {
		if (fstat(f->layers[0].fd, &st) < 0)
			return err_errno(err, "cannot look at '%s'", d->path);
		const struct chain_link link = {
			.path = d->path, .inode = st.st_ino, .device = st.st_dev};
		return image_check_changeable(&link, false, NULL, NULL, err) < 0
			       ? -1
			       : remake_begin(r, d->path, err);
	}
	return remake_begin_own(r, o->dir, top[0] ? top : d->file, f->layers[0].fd, err);
}

static int flatten(const struct off *o, const struct disk_def *d, struct err *err)
{
	int fds[CHAIN_MAX];
	_cleanup_disk_files_ struct disk_files f = {0};
	_cleanup_remake_ struct remake r = REMAKE_NONE;
	if (disk_open(d, o->dir, &f, err) < 0)
		return -1;
	if (f.count < 2)
		return 0;
	if (begin(&r, o, d, &f, err) < 0 || remake_copy(&r, told, o->d->name, err) < 0)
		return -1;
	close(f.layers[0].fd);
	f.layers[0].fd = dup(r.fresh);
	_cleanup_free_ char *node = disk_tool_node(&f, fds, err);
	const char *argv[] = {"rebase", "-p", "-b", "", node, NULL};
	const struct tool_run run = {
		.argv = argv, .fds = fds, .fd_count = f.count, .told = told, .about = o->d->name};
	if (!node || tool_run(&run, NULL, err) < 0)
		return -1;
	return remake_settle(&r, err);
}

static int size_of(const struct off *o, const struct disk_def *d, uint64_t *out, struct err *err)
{
	const char *top = snapshot_top(o->record, d->target);
	if (d->source == DISK_PATH) /* it stays what it is */
		return 0;
	return snapshot_layer_size(
		o->dir, o->d->issued.keeper_uid, top[0] ? top : d->file, out, err);
}

static int pull(struct off *o, const char *target, struct err *err)
{
	struct disk_def *d = definition_disk(o->d, target);
	uint64_t size = 0;
	if (!d)
		return err_set(
			err, ERR_NOT_FOUND, "guest '%s' has no disk '%s'", o->d->name, target);
	if (d->readonly || d->cdrom)
		return err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' is read-only", target,
			o->d->name);
	if (o->d->issued.template)
		return err_set(err, ERR_REFUSED, "guest '%s' is a template, which stays as it is",
			o->d->name);
	if (snapshot_may_stand_alone(o->record, d, o->d->name, err) < 0 ||
		(!is_alone(d) && flatten(o, d, err) < 0) || size_of(o, d, &size, err) < 0 ||
		snapshot_forget_below(o->dir, o->d->issued.keeper_uid, o->record, d, err) < 0)
		return err_prefix(err, "disk '%s'", target);
	lineage_stand_alone(d, size);
	if (record_write(o->dir, o->d, err) < 0)
		return -1;
	failpoint("pull-recorded");
	return 0;
}

int op_blockpull_off(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1};
	struct err ignored = ERR_INIT;
	(void)ret;
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = pull(&o, json_get_str(args, "target", ""), err);
	off_end(&o, result);
	if (result == 0)
		bases_sweep(SWEEP, NULL, NULL, &ignored);
	return result;
}
