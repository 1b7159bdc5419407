/*
 * Defining a guest: its folder with its record and the disks that roost makes for it. Runs in a
 * worker of roostd.
 *
 * A new guest is built in a folder of another name and appears by one rename: it is wholly there or
 * not at all. A guest that exists keeps its identity and its disks; what is new is added, and
 * its record is replaced last. A change takes effect at the next start.
 */
#include "orchestrator/roostd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/access.h"
#include "orchestrator/bases.h"
#include "orchestrator/committed.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/firmware_vars.h"
#include "orchestrator/lineage.h"
#include "orchestrator/nic_issue.h"
#include "orchestrator/paths.h"
#include "orchestrator/qemu_caps.h"
#include "orchestrator/record.h"
#include "orchestrator/seed_make.h"
#include "orchestrator/snapshots.h"
#include "orchestrator/store_open.h"

/* A range of our own, above what distributions, containers and DynamicUser take. */
enum { FIRST_UID = 1900000000, LAST_UID = 1999999998 };

/* ---- identity ------------------------------------------------------------------------------------ */

/* Two uids per guest, never used again: files of a dead guest must not become a new one's. */
static int issue_uids(struct identity *id, struct err *err)
{
	if (geteuid() != 0) {
		id->keeper_uid = id->qemu_uid = geteuid();
		return 0;
	}
	_cleanup_free_ char *path = str_fmt("%s/uids", paths_state(err));
	_cleanup_free_ char *lock_path = str_fmt("%s.lock", path);
	_cleanup_close_ int lock = file_lock_wait(AT_FDCWD, lock_path, err);
	struct err ignored = ERR_INIT;
	if (lock < 0)
		return -1;
	_cleanup_json_ json_t *o = json_file_read(AT_FDCWD, path, &ignored);
	int64_t next = json_get_int(o, "next", FIRST_UID);
	if (next < FIRST_UID || next > LAST_UID)
		return err_set(err, ERR_SYSTEM, "the uids for guests are used up (%s)", path);
	_cleanup_json_ json_t *now = json_pack("{s:I}", "next", (json_int_t)next + 2);
	if (json_file_write(AT_FDCWD, path, now, false, err) < 0 ||
		file_flush(AT_FDCWD, path, err) < 0)
		return -1;
	id->keeper_uid = (uid_t)next;
	id->qemu_uid = (uid_t)next + 1;
	return 0;
}

static bool has_mac(const struct definition *d, const char *mac)
{
	for (size_t i = 0; i < d->nic_count; i++)
		if (str_eq(d->nics[i].mac, mac))
			return true;
	return false;
}

/* Without a word about it an interface keeps the address that was at its place, unless it has moved. */
static void issue_macs(struct definition *d, const struct definition *old)
{
	for (size_t i = 0; i < d->nic_count; i++) {
		if (d->nics[i].mac[0])
			continue;
		if (old && i < old->nic_count && !has_mac(d, old->nics[i].mac))
			memcpy(d->nics[i].mac, old->nics[i].mac, sizeof(d->nics[i].mac));
		else
			mac_new(d->nics[i].mac);
	}
}

static const struct disk_def *disk_of_target(const struct definition *d, const char *target)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].target, target))
			return &d->disks[i];
	return NULL;
}

static bool has_file(const struct definition *d, const char *file)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].file, file))
			return true;
	return false;
}

/*
 * A disk that roost made stays behind its target. What people write names no file, and the one that
 * was worked out from the order of the disks may be another disk's: after the first of two was taken
 * out, or for a new one before them.
 */
static void keep_files(struct definition *d, const struct definition *old)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct disk_def *was = disk_of_target(old, d->disks[i].target);
		if (d->disks[i].source == DISK_PATH)
			continue;
		free(d->disks[i].file);
		d->disks[i].file = xstrdup(was ? was->file : NULL);
	}
	for (size_t i = 0; i < d->disk_count; i++)
		for (unsigned n = 0; d->disks[i].source != DISK_PATH && !d->disks[i].file; n++) {
			_cleanup_free_ char *file = str_fmt("disk%u.qcow2", n);
			if (!has_file(d, file) && !has_file(old, file))
				d->disks[i].file = TAKE(file);
		}
}

/* Who is asked for by a UUID is one guest. */
static int check_uuid_free(const struct definition *d, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct err ignored = ERR_INIT;
		_cleanup_close_ int dir = guest_dir_open(*name, &ignored);
		_cleanup_json_ json_t *other = dir < 0 ? NULL : record_look(dir, &ignored);
		if (strcasecmp(json_get_str(other, "uuid", ""), d->uuid) != 0)
			continue;
		err_set(err, ERR_REFUSED, "guest '%s' exists already, and has the UUID %s", *name,
			d->uuid);
		return err_hint(err, "leave it out, and '%s' gets one of its own", d->name);
	}
	return 0;
}

/* What the guest is known by; an older definition's is kept. */
static int issue_identity(struct definition *d, const struct definition *old, struct err *err)
{
	if (old && d->uuid[0] && !str_eq(d->uuid, old->uuid)) {
		err_set(err, ERR_REFUSED, "guest '%s' exists already, with the UUID %s", d->name,
			old->uuid);
		return err_hint(
			err, "leave `uuid` out to change that guest, or choose another name");
	}
	issue_macs(d, old);
	if (old) {
		keep_files(d, old);
		memcpy(d->uuid, old->uuid, sizeof(d->uuid));
		free(d->issued.host_key);
		d->issued = old->issued;
		d->issued.host_key = xstrdup(old->issued.host_key);
		return 0;
	}
	if (!d->uuid[0])
		uuid_new(d->uuid);
	else if (check_uuid_free(d, err) < 0)
		return -1;
	id_new(d->issued.id);
	return issue_uids(&d->issued, err);
}

static int resolve_machine(struct definition *d, const struct definition *old, struct err *err)
{
	char real[64];
	bool keep = !d->machine && old && old->machine;
	if (keep) { /* the guest's hardware does not change under it when QEMU is upgraded */
		d->machine = xstrdup(old->machine);
		return 0;
	}
	if (qemu_machine(d->machine ? d->machine : "q35", real, err) < 0)
		return -1;
	free(d->machine);
	d->machine = xstrdup(real);
	return 0;
}

/* ---- the folder ----------------------------------------------------------------------------------- */

static int give_to_keeper(int dir, const char *file, const struct definition *d, struct err *err)
{
	return access_give_at(dir, file, d->issued.keeper_uid, err);
}

static uint64_t size_asked_before(const struct definition *old, const char *file)
{
	for (size_t i = 0; old && i < old->disk_count; i++)
		if (str_eq(old->disks[i].file, file))
			return old->disks[i].size;
	return 0;
}

/* A size that was not asked for before, of a disk that has another one: that would be for QEMU. */
static int check_size(int dir, const struct disk_def *disk, const struct definition *d,
	const struct definition *old, uint64_t has, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(dir, err);
	/* what its snapshots kept may be smaller than it has become */
	const char *layer = snapshot_written(record, disk);
	if (!record ||
		(layer && snapshot_layer_size(dir, d->issued.keeper_uid, layer, &has, err) < 0))
		return -1;
	if (!disk->size || disk->size == has || disk->size == size_asked_before(old, disk->file))
		return 0;
	err_set(err, ERR_REFUSED,
		"disk '%s': its file '%s' is there already, and is %s large, not %s", disk->target,
		disk->file, str_size(has), str_size(disk->size));
	return disk->size < has
		       ? err_hint(err, "a disk is never made smaller: leave its size as it was")
		       : err_hint(err,
				 "start the guest and `roost blockresize %s %s %lluB`, then define it so",
				 d->name, disk->target, (unsigned long long)disk->size);
}

/* The one that it was before, if it is still that one and not another of its name. */
static const struct disk_def *same_disk(const struct definition *old, const struct disk_def *disk)
{
	const struct disk_def *was = old ? disk_of_target(old, disk->target) : NULL;
	bool same = was && was->source == disk->source && was->format == disk->format &&
		    str_eq(was->path, disk->path) && str_eq(was->file, disk->file);
	return same ? was : NULL;
}

/*
 * A disk that is there already is never touched, and an overlay makes sense over its own base
 * alone: over another one it would be a file system of two halves.
 */
static int check_disk(int dir, const struct disk_def *disk, const struct definition *d,
	const struct definition *old, struct err *err)
{
	struct qcow2_info info;
	const char *wanted = disk->source == DISK_IMAGE ? disk->path : "";
	const struct disk_def *was = same_disk(old, disk);
	_cleanup_close_ int fd =
		base_open_own(dir, disk->file, O_RDONLY, d->issued.keeper_uid, err);
	if (fd < 0 || qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "disk '%s'", disk->target);
	/* what lies between it and its image was made since */
	if (str_eq(info.backing, wanted) ||
		(was && was->lineage_count && str_eq(info.backing, was->lineage[0].path)))
		return check_size(dir, disk, d, old, info.virtual_size, err);
	err_set(err, ERR_REFUSED, "disk '%s': its file '%s' is there already, %s%s, not %s%s",
		disk->target, disk->file, info.backing[0] ? "an overlay of " : "a blank disk",
		info.backing, wanted[0] ? "one of " : "a blank disk", wanted);
	return err_hint(err,
		"keep the disks in their order and add new ones at the end, or `roost undefine %s` first",
		d->name);
}

static int make_disk(int dir, struct disk_def *disk, const struct definition *d,
	const struct definition *old, struct image_holds *held, struct err *err)
{
	struct qcow2_new what = {.size = disk->size, .durable = old != NULL};
	struct image_look look;
	if (disk->source == DISK_PATH)
		return 0; /* the user's own */
	if (faccessat(dir, disk->file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return check_disk(dir, disk, d, old, err);
	if (disk->source == DISK_IMAGE) {
		if (image_hold(held, disk->path, err) < 0 ||
			store_image_look(disk->path, &look, err) < 0)
			return -1;
		if (disk->size && disk->size < look.virtual_size)
			return err_set(err, ERR_USAGE,
				"disk '%s': %s is less than the image's own %s", disk->target,
				str_size(disk->size), str_size(look.virtual_size));
		disk->format = look.qcow2 ? FORMAT_QCOW2 : FORMAT_RAW;
		what.size = disk->size ? disk->size : look.virtual_size;
		what.backing = disk->path;
		what.backing_format = disk_format_name(disk->format);
	}
	/* under its name only when it is whole: a disk that is there is never touched again */
	_cleanup_free_ char *temporary = str_fmt("%s.new", disk->file);
	unlinkat(dir, temporary, 0);
	if (qcow2_create(dir, temporary, &what, err) < 0)
		return err_prefix(err, "disk '%s'", disk->target);
	if (give_to_keeper(dir, temporary, d, err) < 0)
		return -1;
	if (renameat(dir, temporary, dir, disk->file) < 0)
		return err_errno(err, "cannot make the disk '%s'", disk->file);
	return 0;
}

/* A clone's disk goes on standing on its bases, which nobody has changed: what they stand on may be new. */
static int record_anew(int dir, struct disk_def *disk, const struct definition *d,
	const struct disk_def *was, struct err *err)
{
	struct qcow2_info info;
	struct disk_def bases = {.lineage_known = true}, above = *was;
	char id[13];
	const char *file;
	size_t count = 0;
	if (lineage_record(disk, err) < 0)
		return -1;
	if (disk->source == DISK_PATH)
		return 0;
	_cleanup_close_ int fd =
		base_open_own(dir, disk->file, O_RDONLY, d->issued.keeper_uid, err);
	if (fd < 0 || qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "disk '%s'", disk->target);
	if (!was->lineage_count || !str_eq(info.backing, was->lineage[0].path))
		return 0;
	while (count < was->lineage_count && base_of_path(was->lineage[count].path, id, &file))
		count++;
	above.lineage_count = count;
	lineage_add(&bases, &above);
	lineage_add(&bases, disk);
	lineage_take(disk, &bases);
	lineage_drop(&bases);
	return 0;
}

/*
 * What a disk stands on was recorded when it was first seen; headers are not asked again. What is seen for the
 * first time is held: an image that was removed since it was looked at is missed here.
 */
static int settle_lineage(int dir, struct disk_def *disk, const struct definition *d,
	const struct definition *old, bool rebased, struct image_holds *held, struct err *err)
{
	const struct disk_def *was = same_disk(old, disk);
	if (!was || !was->lineage_known || rebased) {
		bool known = was && was->lineage_known;
		if ((known ? record_anew(dir, disk, d, was, err) : lineage_record(disk, err)) < 0)
			return -1;
		if (was)
			committed_keep_marks(disk, was);
		return lineage_hold(disk, held, err);
	}
	lineage_take(disk, was);
	return 0;
}

static int fill_folder(int dir, struct definition *d, const struct definition *old, bool rebased,
	struct image_holds *held, struct err *err)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (make_disk(dir, &d->disks[i], d, old, held, err) < 0 ||
			settle_lineage(dir, &d->disks[i], d, old, rebased, held, err) < 0)
			return -1;
	failpoint("define-filled");
	if (firmware_make_vars(dir, d, err) < 0)
		return -1;
	if (d->cloud_init.enabled &&
		(seed_make(dir, d, err) < 0 || give_to_keeper(dir, "seed.iso", d, err) < 0))
		return -1;
	return 0;
}

/* Images are held until the record is there, which says that it stands on them. */
static int define_new(struct definition *d, const struct definition *like, define_first_fn *first,
	const void *about, struct err *err)
{
	_cleanup_image_holds_ struct image_holds held = {0};
	_cleanup_close_ int guests = guests_open(err);
	_cleanup_free_ char *temporary = str_fmt(".new-%s-%d", d->name, (int)getpid());
	if (guests < 0)
		return -1;
	if (mkdirat(guests, temporary, 0750) < 0) /* less the umask: access.h */
		return err_errno(err, "cannot make a folder for guest '%s'", d->name);
	_cleanup_close_ int dir = dir_open(guests, temporary, err);
	struct err ignored = ERR_INIT;
	flock(dir, LOCK_EX); /* while somebody lives who fills it: roostd_clean.c */
	int result = dir < 0 ? -1 : first(dir, d, about, err);
	if (result == 0)
		result = fill_folder(dir, d, like, false, &held, err);
	if (result == 0)
		result = record_write_new(dir, d, err);
	if (result == 0) /* what nobody sees yet becomes durable at one go */
		result = files_flush(dir, err);
	if (result == 0)
		result = give_to_keeper(dir, ".", d, err);
	if (result == 0 && renameat2(guests, temporary, guests, d->name, RENAME_NOREPLACE) < 0)
		result = err_errno(err, "cannot define guest '%s'", d->name);
	if (result < 0)
		dir_remove(guests, temporary, &ignored);
	else
		fsync(guests);
	return result;
}

int name_check_free(const char *name, const char *own, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return -1;
	for (char **n = names; *n; n++)
		if (strcasecmp(*n, name) == 0 && !str_eq(*n, name) && !str_eq(*n, own))
			return err_set(err, ERR_REFUSED,
				"guest '%s' exists already, and its name differs in case only", *n);
	return 0;
}

static void tell_command(const struct definition *d, json_t *by)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(d->name, &ignored);
	_cleanup_json_ json_t *event =
		event_new("ROOST_COMMAND", event_command(d->name, "roost-define", json_incref(by)));
	event_log_append_as(dir, d->issued.keeper_uid, event);
}

int define_another(struct definition *d, const struct definition *like, define_first_fn *first,
	const void *about, struct err *err)
{
	_cleanup_nic_hosts_ struct nic_hosts hosts = {0};
	if (issue_identity(d, NULL, err) < 0 || nics_issue(d, NULL, &hosts, err) < 0)
		return -1;
	int result = define_new(d, like, first, about, err);
	if (result < 0)
		nics_undo(d, NULL, &hosts);
	else
		worker_tell_definition("ROOST_DEFINED", d->name, "added");
	return result;
}

/* One that is there. */
static int define_anew(
	struct definition *d, const struct definition *old, bool rebased, struct err *err)
{
	_cleanup_image_holds_ struct image_holds held = {0};
	_cleanup_nic_hosts_ struct nic_hosts hosts = {0};
	_cleanup_close_ int dir = guest_dir_open(d->name, err);
	if (dir < 0 || nics_issue(d, old, &hosts, err) < 0)
		return -1;
	bool done = fill_folder(dir, d, old, rebased, &held, err) == 0 &&
		    record_write(dir, d, err) == 0;
	if (done) {
		nics_release(old, d);
		unlinkat(dir, RECORD_UNDEFINED, 0); /* it is to stay after all */
		worker_tell_definition("ROOST_DEFINED", d->name, "updated");
	} else {
		nics_undo(d, old, &hosts);
	}
	return done ? 0 : -1;
}

int op_define(const json_t *args, json_t **ret, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_definition_ struct definition *d =
		definition_from_json(json_object_get(args, "definition"), err);
	if (!d)
		return -1;
	d->install = (struct install_def){0}; /* it is of a run alone */
	_cleanup_definition_ struct definition *old = record_read(d->name, &none);
	if (!old && none.kind != ERR_NOT_FOUND) {
		*err = none;
		return -1;
	}
	if (!old && json_get_bool(args, "change", false))
		return err_set(err, ERR_NOT_FOUND,
			"there is no guest '%s' any more: it was renamed or undefined meanwhile",
			d->name);
	if (old && (json_object_get(args, "files") || json_get_bool(args, "new", false)))
		return err_set(err, ERR_REFUSED, "guest '%s' exists already, with the UUID %s",
			d->name, old->uuid);
	if ((!old && name_check_free(d->name, NULL, err) < 0) || resolve_machine(d, old, err) < 0)
		return -1;
	if (old ? issue_identity(d, old, err) < 0 ||
				define_anew(d, old, json_get_bool(args, "rebased", false), err) < 0
		: define_another(d, NULL, define_take_files, args, err) < 0)
		return -1;
	tell_command(d, json_object_get(args, "by"));
	*ret = json_pack(
		"{s:s, s:s, s:b}", "name", d->name, "uuid", d->uuid, "changed", old != NULL);
	return 0;
}
