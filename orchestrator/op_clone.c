/*
 * Cloning a guest that does not run: another guest with the same hardware and copies of its disks. Runs in
 * a worker of roostd.
 *
 * The disks in the guest's folder are copied, their blocks shared where the file system can; what they
 * stand on is read-only and serves both. The original is only read. The new guest is built in a folder of
 * another name and appears by one rename (op_define.c): it is wholly there or not at all.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "orchestrator/access.h"
#include "orchestrator/another.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/firmware.h"
#include "orchestrator/lineage.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

struct cloning {
	const struct definition *from;
	int dir; /* its folder */
};

/* Two guests that write to one file would spoil it. */
static int check_disk(const struct definition *d, const struct disk_def *disk, struct err *err)
{
	if (disk->source == DISK_PATH) {
		if (!disk->path || disk->cdrom || disk->readonly)
			return 0;
		err_set(err, ERR_REFUSED,
			"guest '%s' cannot be cloned: its disk '%s' is the file '%s', which two guests cannot share",
			d->name, disk->target, disk->path);
		return err_hint(
			err, "`roost image import` the file, and name the image in `disks`");
	}
	for (size_t i = 0; i < disk->lineage_count; i++)
		if (disk->lineage[i].path[0] != '/')
			return err_set(err, ERR_REFUSED,
				"guest '%s' cannot be cloned: its disk '%s' stands on '%s' in its own folder",
				d->name, disk->target, disk->lineage[i].path);
	return 0;
}

/* What a guest with snapshots writes to is another file than its definition names. */
static int check_no_snapshots(int dir, const char *name, struct err *err)
{
	_cleanup_json_ json_t *record =
		snapshots_commit(dir, err) == 0 ? snapshots_read(dir, err) : NULL;
	if (!record)
		return -1;
	if (json_object_size(json_object_get(record, "layers")) == 0 &&
		json_array_size(json_object_get(record, "snapshots")) == 0)
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' cannot be cloned: it has snapshots", name);
	return err_hint(err, "`roost snapshot-list %s`, and `roost snapshot-delete` those", name);
}

static int copy_file(
	int dir, const struct definition *d, const char *file, int from, struct err *err)
{
	_cleanup_close_ int to =
		openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_errno(err, "cannot make '%s'", file);
	if (image_copy(from, to, NULL, NULL, err) < 0)
		return err_prefix(err, "'%s'", file);
	if (fsync(to) < 0)
		return err_errno(err, "cannot write '%s'", file);
	return access_give_at(dir, file, d->issued.keeper_uid, err);
}

static int open_of(const struct cloning *c, const char *file, struct err *err)
{
	return file_open_owned(c->dir, file, O_RDONLY, c->from->issued.keeper_uid, err);
}

static int copy_disk(int dir, const struct cloning *c, const struct definition *d,
	const struct disk_def *disk, struct err *err)
{
	if (disk->source == DISK_PATH)
		return 0;
	_cleanup_close_ int from = open_of(c, disk->file, err);
	if (from < 0 || lineage_check_top(disk, from, err) < 0)
		return err_prefix(err, "disk '%s'", disk->target);
	return copy_file(dir, d, disk->file, from, err);
}

static int copy_vars(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	const char *file = firmware_vars_name(d->secure_boot);
	if (d->firmware != FIRMWARE_UEFI)
		return 0;
	_cleanup_close_ int from = open_of(c, file, err);
	return from < 0 ? err_prefix(err, "UEFI variables") : copy_file(dir, d, file, from, err);
}

static int copy_files(int dir, const struct definition *d, const void *about, struct err *err)
{
	const struct cloning *c = about;
	failpoint("clone-folder");
	for (size_t i = 0; i < c->from->disk_count; i++)
		if (copy_disk(dir, c, d, &c->from->disks[i], err) < 0)
			return -1;
	failpoint("clone-copied");
	return copy_vars(dir, c, d, err);
}

static struct definition *definition_of_clone(
	const struct definition *from, const char *name, struct err *err)
{
	for (size_t i = 0; i < from->disk_count; i++)
		if (check_disk(from, &from->disks[i], err) < 0)
			return NULL;
	_cleanup_json_ json_t *json = definition_to_json(from);
	definition_make_another(json, name);
	return definition_from_json(json, err);
}

static int check_new_name(const char *name, struct err *err)
{
	struct err none = ERR_INIT;
	if (name_check(name, "guest", err) < 0)
		return -1;
	_cleanup_definition_ struct definition *there = record_read(name, &none);
	if (there || none.kind != ERR_NOT_FOUND)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", name);
	return name_check_free(name, NULL, err);
}

int op_clone(const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", ""), *to = json_get_str(args, "new-name", "");
	if (check_new_name(to, err) < 0)
		return -1;
	_cleanup_definition_ struct definition *from = record_read(name, err);
	_cleanup_definition_ struct definition *d =
		from ? definition_of_clone(from, to, err) : NULL;
	_cleanup_close_ int dir = d ? guest_dir_open(name, err) : -1;
	struct cloning c = {.from = from, .dir = dir};
	if (dir < 0 || check_no_snapshots(dir, name, err) < 0 ||
		define_another(d, from, copy_files, &c, err) < 0)
		return -1;
	failpoint("clone-done");
	struct err ignored = ERR_INIT;
	_cleanup_close_ int made = guest_dir_open(to, &ignored);
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND",
		event_command(to, "roost-clone", json_incref(json_object_get(args, "by"))));
	event_log_append_as(made, d->issued.keeper_uid, event);
	*ret = json_pack("{s:s, s:s, s:s}", "name", to, "uuid", d->uuid, "original", name);
	return 0;
}
