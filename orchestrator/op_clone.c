/*
 * Cloning a guest: another guest with the same hardware, which goes on from what this one has written, and
 * with an identity of its own. Runs in a worker of roostd.
 *
 * No disk is copied: the clone's own overlays stand on bases, which the original's disks have become
 * (clone_source.h). Whoever is killed in between leaves the original an empty layer, which the next clone finds
 * to be empty and takes for nothing, and bases without users. The new guest is built in a folder of another
 * name and appears by one rename (op_define.c): it is wholly there or not at all.
 *
 * Small things are copied: UEFI variables, the TPM's state, and disks that the guest only reads.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "orchestrator/access.h"
#include "orchestrator/another.h"
#include "orchestrator/bases.h"
#include "orchestrator/clone_source.h"
#include "orchestrator/disk_tool.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/firmware.h"
#include "orchestrator/lineage.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

/* ---- the clone's folder ------------------------------------------------------------------------------ */

static int copy_file(int dir, const char *file, int from, uid_t owner, struct err *err)
{
	_cleanup_close_ int to =
		openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_errno(err, "cannot make '%s'", file);
	if (image_copy(from, to, NULL, NULL, err) < 0)
		return err_prefix(err, "'%s'", file);
	return access_give_at(dir, file, owner, err);
}

static int open_of(const struct cloning *c, const char *file, struct err *err)
{
	return base_open_own(c->dir, file, O_RDONLY, c->from->issued.keeper_uid, err);
}

static int copy_disk(int dir, const struct cloning *c, const struct definition *d,
	const struct disk_def *disk, struct err *err)
{
	_cleanup_close_ int from = open_of(c, disk->file, err);
	if (from < 0 || lineage_check_top(disk, c->dir, from, err) < 0)
		return -1;
	return copy_file(dir, disk->file, from, d->issued.keeper_uid, err);
}

static int make_overlay(int dir, const struct definition *d, const struct disk_def *disk,
	const struct part *p, struct err *err)
{
	struct qcow2_new new = {.size = p->size}; /* flushed with all others: op_define.c */
	if (disk->lineage_count) {
		new.backing = disk->lineage[0].path;
		new.backing_format = disk_format_name(disk->lineage[0].format);
	}
	if (qcow2_create(dir, disk->file, &new, err) < 0)
		return -1;
	return access_give_at(dir, disk->file, d->issued.keeper_uid, err);
}

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	(void)step;
	worker_progress("guest", about, "copying", done, total);
	failpoint("clone-copying");
}

/* A disk with all that it stands on becomes one file, by qemu-img, which is handed what we have opened. */
static int merge_part(int dir, const struct part *p, const struct definition *d, const char *file,
	struct err *err)
{
	char folder[PATH_MAX] = "";
	int fds[CHAIN_MAX];
	_cleanup_free_ char *self = str_fmt("/proc/self/fd/%d", dir);
	if (readlink(self, folder, sizeof(folder) - 1) < 0)
		return err_errno(err, "cannot tell the clone's folder");
	_cleanup_free_ char *to = str_fmt("%s/%s", folder, file);
	_cleanup_free_ char *node = disk_tool_node(&p->files, fds, err);
	const char *argv[] = {"convert", "-p", "-O", "qcow2", node, to, NULL};
	struct tool_run run = {.argv = argv,
		.fds = fds,
		.fd_count = p->files.count,
		.told = tell,
		.about = d->name};
	if (!node || tool_run(&run, NULL, err) < 0)
		return -1;
	return access_give_at(dir, file, d->issued.keeper_uid, err);
}

/* Both share their blocks until one of them writes. */
static int reflink_into(const struct part *p, int into, struct err *err)
{
	if (p->files.count > 1)
		return err_set(err, ERR_REFUSED,
			"it stands on other files, which a reflink would not bring together");
	if (ioctl(into, FICLONE, p->files.layers[0].fd) == 0)
		return 0;
	err_errno(err, "cannot reflink it");
	return err_hint(err,
		"that takes one file system, such as btrfs or xfs; without it the disk is copied");
}

/* The same into a file of the caller's. */
static int merge_into(const struct cloning *c, const struct part *p, const struct definition *d,
	bool qcow2, int into, struct err *err)
{
	int fds[CHAIN_MAX + 1];
	if (c->as_is)
		return 0;
	if (c->reflink)
		return reflink_into(p, into, err);
	_cleanup_free_ char *node = disk_tool_node(&p->files, fds, err);
	size_t n = p->files.count;
	_cleanup_free_ char *to = str_fmt("/proc/self/fd/%zu", TOOL_FD_FIRST + n);
	const char *argv[] = {"convert", "-p", "-O", qcow2 ? "qcow2" : "raw", "-o",
		c->preallocate ? "preallocation=falloc" : "preallocation=off", node, to, NULL};
	struct tool_run run = {
		.argv = argv, .fds = fds, .fd_count = n + 1, .told = tell, .about = d->name};
	fds[n] = into;
	failpoint("clone-into");
	if (!node || tool_run(&run, NULL, err) < 0)
		return -1;
	return fsync(into) < 0 ? err_errno(err, "cannot write the copy") : 0;
}

static int make_disks(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	size_t copied = 0;
	for (size_t i = 0; i < c->from->disk_count; i++) {
		const struct disk_def *disk = &c->from->disks[i];
		const struct part *p = &c->parts[i];
		int result = p->linked && c->into_count
				     ? merge_into(c, p, d, disk->format == FORMAT_QCOW2,
					       c->into[copied++], err)
			     : p->linked && c->full ? merge_part(dir, p, d, d->disks[i].file, err)
			     : p->linked            ? make_overlay(dir, d, disk, p, err)
			     : disk->source == DISK_PATH ? 0
							 : copy_disk(dir, c, d, disk, err);
		if (result < 0)
			return err_prefix(err, "disk '%s'", disk->target);
	}
	return 0;
}

static int copy_vars(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	const char *file = firmware_vars_name(d->secure_boot);
	if (d->firmware != FIRMWARE_UEFI)
		return 0;
	if (c->vars.own)
		return merge_part(dir, &c->vars, d, file, err);
	_cleanup_close_ int from = open_of(c, file, err);
	return from < 0 ? err_prefix(err, "UEFI variables")
			: copy_file(dir, file, from, d->issued.keeper_uid, err);
}

/* What is sealed to it would be lost; the files are small, and QEMU's uid owns them: tpm.c. */
static int copy_tpm(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	_cleanup_names_ char **files = NULL;
	struct err none = ERR_INIT;
	_cleanup_close_ int from = dir_open(c->dir, "tpm", &none);
	if (!d->tpm.enabled || from < 0)
		return 0;
	if (dir_names(from, &files, NULL, err) < 0)
		return -1;
	if (mkdirat(dir, "tpm", 0700) < 0)
		return err_errno(err, "cannot make the folder 'tpm'");
	_cleanup_close_ int to = dir_open(dir, "tpm", err);
	if (to < 0 || fchmod(to, 0700) < 0)
		return to < 0 ? -1 : err_errno(err, "cannot close the folder 'tpm' to others");
	for (char **file = files; *file; file++) {
		if (!str_ends(*file, ".permall"))
			continue;
		_cleanup_close_ int fd =
			file_open_owned(from, *file, O_RDONLY, c->from->issued.qemu_uid, err);
		if (fd < 0 || copy_file(to, *file, fd, d->issued.qemu_uid, err) < 0)
			return err_prefix(err, "its TPM's state");
	}
	return files_flush(to, err) < 0 ? -1 : access_give(to, d->issued.qemu_uid, err);
}

static int make_files(int dir, const struct definition *d, const void *about, struct err *err)
{
	const struct cloning *c = about;
	failpoint("clone-folder");
	if (make_disks(dir, c, d, err) < 0)
		return -1;
	failpoint("clone-disks");
	return copy_vars(dir, c, d, err) < 0 ? -1 : copy_tpm(dir, c, d, err);
}

/* ---- the operation ----------------------------------------------------------------------------------- */

/* What the caller chose of its identity. */
static int take_identity(json_t *json, const json_t *args, struct err *err)
{
	const json_t *macs = json_object_get(args, "macs");
	json_t *nics = json_object_get(json, "interfaces");
	if (json_object_get(args, "uuid"))
		json_object_set(json, "uuid", json_object_get(args, "uuid"));
	if (json_array_size(macs) > json_array_size(nics))
		return err_set(err, ERR_USAGE, "%zu MAC addresses for %zu interfaces",
			json_array_size(macs), json_array_size(nics));
	for (size_t i = 0; i < json_array_size(macs); i++)
		json_object_set(json_array_get(nics, i), "mac", json_array_get(macs, i));
	return 0;
}

static struct definition *definition_of_clone(
	const struct definition *from, const char *name, const json_t *args, struct err *err)
{
	_cleanup_json_ json_t *json = definition_to_json(from);
	definition_make_another(json, name);
	return take_identity(json, args, err) < 0 ? NULL : definition_from_json(json, err);
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

/* No system fits into less. */
#define SYSTEM_MIN ((uint64_t)8 << 20)

/* On which of its own disks there may be a system, which is to get an identity of its own: op_renew.c. */
static void mark(struct definition *d, const struct cloning *c)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		char *end = d->issued.renew + strlen(d->issued.renew);
		if (c->parts[i].linked && c->parts[i].size >= SYSTEM_MIN)
			snprintf(end, (size_t)(d->issued.renew + sizeof(d->issued.renew) - end),
				"%s%s", d->issued.renew[0] ? " " : "", d->disks[i].target);
	}
}

/* One with a seed of roost's has it by that; files that stay as they are keep theirs. */
static void see_to_identity(struct definition *d, const struct cloning *c, bool keep)
{
	if (keep)
		d->issued.host_key = xstrdup(c->from->issued.host_key);
	else if (!d->cloud_init.enabled && !c->as_is)
		mark(d, c);
}

/* `lock` is closed by who copies. */
static int make(
	struct cloning *c, const json_t *args, int *lock, struct definition **out, struct err *err)
{
	const char *to = json_get_str(args, "new-name", "");
	const json_t *files = json_object_get(args, "files");
	struct err ignored = ERR_INIT;
	failpoint("clone-begin");
	if (c->full ? cloning_stand_alone(c, err) < 0
		    : cloning_put_on_tops(c, err) < 0 || cloning_freeze(c, err) < 0)
		return -1;
	if (files && cloning_put_into(c, files, json_object_get(args, "fds"), err) < 0)
		return -1;
	if (c->full) /* others need not wait for that */
		cleanup_close(lock);
	struct definition *d = definition_of_clone(c->from, to, args, err);
	if (d)
		see_to_identity(d, c, json_get_bool(args, "keep-identity", false));
	if (!d || define_another(d, c->from, make_files, c, err) < 0) {
		definition_free(d);
		return -1;
	}
	failpoint("clone-done");
	*out = d;
	if (c->layers && (c->vars.own || c->full)) /* the clone has copies of them */
		bases_sweep(*lock >= 0 ? SWEEP_LOCKED : SWEEP, NULL, NULL, &ignored);
	return 0;
}

int op_clone(const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", ""), *to = json_get_str(args, "new-name", "");
	struct err ignored = ERR_INIT;
	_cleanup_(cloning_end) struct cloning c = {.dir = -1,
		.layers = json_object_get(args, "layers"),
		.full = json_get_bool(args, "full", false) || json_object_get(args, "files"),
		.as_is = json_get_bool(args, "as-is", false),
		.reflink = json_get_bool(args, "reflink", false),
		.preallocate = json_get_bool(args, "preallocate", false),
		.shared = json_object_get(args, "shared")};
	_cleanup_definition_ struct definition *d = NULL;
	if (check_new_name(to, err) < 0)
		return -1;
	_cleanup_close_ int lock = bases_lock(err);
	if (lock < 0 || cloning_begin(&c, name, err) < 0)
		return -1;
	if (make(&c, args, &lock, &d, err) < 0) {
		cloning_undo(&c, lock >= 0);
		return -1;
	}
	_cleanup_close_ int made = guest_dir_open(to, &ignored);
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND",
		event_command(to, "roost-clone", json_incref(json_object_get(args, "by"))));
	event_log_append_as(made, d->issued.keeper_uid, event);
	*ret = json_pack("{s:s, s:s, s:s}", "name", to, "uuid", d->uuid, "original", name);
	return 0;
}
