#include "orchestrator/image_stands.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "images/image.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/store_open.h"
#include "orchestrator/unrecorded.h"

static bool is_link(const char *path, const struct chain_link *link)
{
	struct stat st;
	return path && path[0] == '/' && stat(path, &st) == 0 && st.st_ino == link->inode &&
	       st.st_dev == link->device;
}

/* ---- whose it is -------------------------------------------------------------------------------------- */

/* The part of the path below that folder of $STATE; NULL: it is not there. */
static const char *below(const char *path, const char *folder)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *named = str_fmt("%s/%s", paths_state(&ignored), folder);
	_cleanup_free_ char *real = realpath(named, NULL);
	size_t len = real ? strlen(real) : 0;
	return len && str_starts(path, real) && path[len] == '/' ? path + len + 1 : NULL;
}

static int check_place(const struct chain_link *link, bool own, struct err *err)
{
	_cleanup_free_ char *path = realpath(link->path, NULL);
	const char *name = below(path ? path : link->path, "images");
	if (name) {
		int len = (int)strcspn(name, "/");
		err_set(err, ERR_REFUSED,
			"'%s' is the image '%.*s' of the store, which is never written to",
			link->path, len, name);
		return err_hint(err, "`roost image convert` makes a copy");
	}
	name = own ? NULL : below(path ? path : link->path, "guests");
	if (name) {
		int len = (int)strcspn(name, "/");
		err_set(err, ERR_REFUSED, "'%s' is the own disk of guest '%.*s'", link->path, len,
			name);
		return err_hint(err, "`roost blockpull` and `roost blockcommit` change those");
	}
	if (!below(path ? path : link->path, "bases"))
		return 0;
	return err_set(err, ERR_REFUSED, "'%s' is what clones stand on: it is never written to",
		link->path);
}

/* ---- guests ------------------------------------------------------------------------------------------- */

static bool is_own(const json_t *record, const json_t *disk, const struct image_own *own)
{
	return own && str_eq(json_get_str(record, "name", NULL), own->guest) &&
	       str_eq(json_get_str(disk, "target", NULL), own->target);
}

static bool stands_on(
	const json_t *record, const struct chain_link *link, const struct image_own *own)
{
	const json_t *disk, *below;
	size_t i, j;
	json_array_foreach (json_object_get(record, "disks"), i, disk) {
		if (is_own(record, disk, own))
			continue;
		if (is_link(json_get_str(disk, "image", NULL), link))
			return true;
		json_array_foreach (json_object_get(disk, "lineage"), j, below)
			if (is_link(json_get_str(below, "path", NULL), link))
				return true;
	}
	return false;
}

/* That disk; NULL: it has it not, but as its disk `own`. */
static const json_t *has_disk(
	const json_t *record, const struct chain_link *link, const struct image_own *own)
{
	const json_t *disk;
	size_t i;
	json_array_foreach (json_object_get(record, "disks"), i, disk)
		if (is_link(json_get_str(disk, "path", NULL), link) && !is_own(record, disk, own))
			return disk;
	return NULL;
}

/* What looks like qcow2 on a raw disk was written by the guest. */
static int check_format(
	const json_t *record, const char *name, const struct chain_link *link, struct err *err)
{
	const json_t *disk = link->qcow2 ? has_disk(record, link, NULL) : NULL;
	if (!disk || !str_eq(json_get_str(disk, "format", ""), "raw"))
		return 0;
	err_set(err, ERR_REFUSED,
		"'%s' is a raw disk of guest '%s', which may have written what looks like qcow2",
		link->path, name);
	return err_hint(
		err, "taken as what it is, by --format raw, it may be looked at and converted");
}

static int check_record(const json_t *record, const char *name, const struct chain_link *link,
	bool content, const struct image_own *own, struct err *err)
{
	if (stands_on(record, link, own))
		return err_set(err, ERR_REFUSED, "'%s' is in use: guest '%s' stands on it",
			link->path, name);
	if (check_format(record, name, link, err) < 0)
		return -1;
	if (content && has_disk(record, link, own))
		return err_set(err, ERR_REFUSED, "'%s' is a disk of guest '%s'", link->path, name);
	return 0;
}

/* As a record would tell it: a disk, or a medium. NULL with *err. */
static json_t *disk_of_entry(const json_t *entry, const char *path, struct err *err)
{
	_cleanup_(chain_free) struct chain c = {0};
	const char *format = json_get_str(entry, "format", "");
	if (str_eq(format, "qcow2") && chain_resolve(path, true, &c, err) < 0)
		return NULL;
	json_t *lineage = json_array();
	for (size_t i = 1; i < c.count; i++)
		json_array_append_new(lineage, json_pack("{s:s}", "path", c.links[i].path));
	return json_pack("{s:s, s:s, s:o}", "path", path, "format", format, "lineage", lineage);
}

/* What was plugged since the guest's start, which no record tells: attached.h. */
static int check_plugged(
	int folder, const char *name, const struct chain_link *link, bool content, struct err *err)
{
	struct err why = ERR_INIT;
	const json_t *entry;
	size_t i;
	_cleanup_json_ json_t *o = json_file_read(folder, "attached", &why);
	if (!o && why.kind != ERR_NOT_FOUND)
		return err_set(err, ERR_REFUSED,
			"whether what is plugged into guest '%s' stands on '%s' is not known: %s",
			name, link->path, why.message);
	json_array_foreach (json_object_get(o, "attached"), i, entry) {
		const char *path = json_get_str(entry, "path", json_get_str(entry, "medium", NULL));
		json_t *disk = path ? disk_of_entry(entry, path, &why) : NULL;
		if (path && !disk) {
			err_set(err, ERR_REFUSED,
				"whether '%s', plugged into guest '%s', stands on '%s' is not known: %s",
				path, name, link->path, why.message);
			return err_hint(err, "`roost detach-disk %s %s` first", name, path);
		}
		_cleanup_json_ json_t *told = json_pack("{s:[o*]}", "disks", disk);
		if (check_record(told, name, link, content, NULL, err) < 0)
			return -1;
	}
	return 0;
}

/* Of those that run and those that do not; there may be none of either. */
static int check_records(int folders, const struct chain_link *link, bool content,
	const struct image_own *own, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (dir_names(folders, &names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct err why = ERR_INIT;
		_cleanup_close_ int folder = dir_open(folders, *name, &why);
		_cleanup_json_ json_t *record = folder < 0 ? NULL : record_look(folder, &why);
		const char *guest = json_get_str(record, "name", *name);
		if (record && (check_record(record, guest, link, content, own, err) < 0 ||
				      check_plugged(folder, guest, link, content, err) < 0))
			return -1;
		if (record || why.kind == ERR_NOT_FOUND) /* just removed, or ended */
			continue;
		err_set(err, ERR_REFUSED,
			"guest '%s' is broken: whether it stands on '%s' is not known: %s", *name,
			link->path, why.message);
		return err_hint(err, "mend its record, or `roost undefine %s`", *name);
	}
	return 0;
}

static int check_guests(
	const struct chain_link *link, bool content, const struct image_own *own, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_close_ int guests = guests_open(&none), runs = runs_open(&none);
	if (guests >= 0 && check_records(guests, link, content, own, err) < 0)
		return -1;
	return runs >= 0 ? check_records(runs, link, content, own, err) : 0;
}

/* A member of the group may not open them all: root's roostd looks for him. */
static json_t *all_unrecorded(struct err *err)
{
	json_t *ret = NULL;
	if (store_is_ours())
		return unrecorded_disks();
	if (supervisor_call("roost-image-unrecorded", NULL, &ret, err) < 0)
		return NULL;
	json_t *disks = json_incref(json_object_get(ret, "disks"));
	json_decref(ret);
	return disks;
}

static int check_unrecorded(
	const struct chain_link *link, const struct chain_link *except, struct err *err)
{
	_cleanup_json_ json_t *disks = all_unrecorded(err);
	const json_t *disk, *path;
	size_t i, j;
	if (!disks)
		return -1;
	json_array_foreach (disks, i, disk) {
		const char *name = json_get_str(disk, "disk", ""),
			   *why = json_get_str(disk, "why", NULL);
		if (except && is_link(name, except))
			continue;
		json_array_foreach (json_object_get(disk, "below"), j, path)
			if (is_link(json_string_value(path), link))
				return err_set(err, ERR_REFUSED,
					"'%s' is in use: '%s' stands on it", link->path, name);
		if (why)
			return err_set(err, ERR_REFUSED,
				"whether '%s' stands on '%s' is not known: %s", name, link->path,
				why);
	}
	return 0;
}

/* ---- what a guest may have written --------------------------------------------------------------------- */

/* `name`: of its folder of guests. */
static bool in_folder_of(const char *name, const struct chain_link *link)
{
	const char *own = below(link->path, "guests");
	size_t len = strlen(name);
	return own && strncmp(own, name, len) == 0 && own[len] == '/';
}

/* All that it stands on is known to the guest that has its top. */
static int check_below(
	const json_t *record, const char *name, const struct chain *c, struct err *err)
{
	if (!has_disk(record, &c->links[0], NULL) && !in_folder_of(name, &c->links[0]))
		return 0;
	for (size_t i = 1; i < c->count; i++) {
		const struct chain_link *link = &c->links[i];
		if (stands_on(record, link, NULL) || has_disk(record, link, NULL) ||
			in_folder_of(name, link))
			continue;
		err_set(err, ERR_REFUSED,
			"'%s' names '%s' as its backing file now, of which the record of guest '%s' knows nothing",
			c->links[i - 1].path, link->path, name);
		return err_hint(err,
			"if that was you, and not the guest: `roost dumpyaml %s | roost define --rebased -` takes it as it is",
			name);
	}
	return 0;
}

int image_check_chain(const struct chain *c, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(&ignored);
	if (guests < 0 || dir_names(guests, &names, NULL, &ignored) < 0)
		return 0;
	for (char **name = names; *name; name++) {
		_cleanup_close_ int folder = dir_open(guests, *name, &ignored);
		_cleanup_json_ json_t *record = folder < 0 ? NULL : record_look(folder, &ignored);
		for (size_t i = 0; record && i < c->count; i++)
			if (check_format(record, *name, &c->links[i], err) < 0)
				return -1;
		if (record && check_below(record, *name, c, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- other images --------------------------------------------------------------------------------------- */

static bool names_it(int dir, const char *folder, const char *file, const struct chain_link *link)
{
	struct err ignored = ERR_INIT;
	struct stat st;
	struct qcow2_info info;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	_cleanup_close_ int fd =
		openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || qcow2_probe(fd, &ignored) != 1 || qcow2_read(fd, &info, &ignored) < 0 ||
		!info.has_backing)
		return false;
	_cleanup_free_ char *path = str_fmt("%s%s", folder, file);
	_cleanup_free_ char *backing = chain_backing_path(path, info.backing);
	return is_link(backing, link);
}

static int check_folder(
	const struct chain_link *link, const struct chain_link *except, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	size_t len = (size_t)(strrchr(link->path, '/') + 1 - link->path);
	_cleanup_free_ char *folder = strndup(link->path, len);
	_cleanup_close_ int dir = dir_open(AT_FDCWD, folder, err);
	if (dir < 0 || dir_names(dir, &names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		_cleanup_free_ char *path = str_fmt("%s%s", folder, *name);
		if (!names_it(dir, folder, *name, link) || (except && is_link(path, except)))
			continue;
		return err_set(
			err, ERR_REFUSED, "'%s' is in use: '%s' stands on it", link->path, path);
	}
	return 0;
}

/* ---- all --------------------------------------------------------------------------------------------------- */

int image_check_changeable(const struct chain_link *link, bool content,
	const struct chain_link *except, const struct image_own *own, struct err *err)
{
	if (check_place(link, false, err) < 0 || check_guests(link, content, own, err) < 0 ||
		check_unrecorded(link, except, err) < 0)
		return -1;
	return content ? check_folder(link, except, err) : 0;
}

int image_check_writable(const struct chain_link *link, struct err *err)
{
	return check_place(link, true, err) < 0 || check_guests(link, false, NULL, err) < 0 ||
			       check_unrecorded(link, NULL, err) < 0
		       ? -1
		       : check_folder(link, NULL, err);
}

char *image_disk_of(const struct chain_link *link, char **target)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(&ignored);
	if (guests < 0 || dir_names(guests, &names, NULL, &ignored) < 0)
		return NULL;
	for (char **name = names; *name; name++) {
		_cleanup_close_ int folder = dir_open(guests, *name, &ignored);
		_cleanup_json_ json_t *record = folder < 0 ? NULL : record_look(folder, &ignored);
		const json_t *disk = record ? has_disk(record, link, NULL) : NULL;
		if (!disk)
			continue;
		if (target)
			*target = xstrdup(json_get_str(disk, "target", ""));
		return xstrdup(*name);
	}
	return NULL;
}
