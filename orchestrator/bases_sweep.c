/* Which bases does somebody stand on? The others go. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/bases.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/unrecorded.h"

struct sweep {
	json_t *used;   /* {PATH: true} */
	json_t *guests; /* {ID: {"name": ..., "keeper": UID, "template": ..., "runs": ...}} */
	bool look;      /* remove nothing */
	base_removed_fn *removed;
	void *about;
};

/* ---- who stands on them ---------------------------------------------------------------------------- */

/* `name`: the guest's, of its folder; NULL: of a running one, which has a folder, too. */
static void add_record(struct sweep *s, const char *name, const json_t *record)
{
	const json_t *disk, *link, *issued = json_object_get(record, "issued");
	size_t i, j;
	json_t *known = json_object_get(s->guests, json_get_str(issued, "id", ""));
	if (!name)
		json_object_set_new(known, "runs", json_true());
	else
		json_object_set_new(s->guests, json_get_str(issued, "id", ""),
			json_pack("{s:s, s:I, s:b}", "name", name, "keeper",
				(json_int_t)json_get_int(issued, "keeper_uid", 0), "template",
				json_get_bool(issued, "template", false)));
	json_array_foreach (json_object_get(record, "disks"), i, disk)
		json_array_foreach (json_object_get(disk, "lineage"), j, link)
			json_object_set_new(s->used, json_get_str(link, "path", ""), json_true());
}

/* False: some of them cannot be read. */
static bool add_records(struct sweep *s, int folders, bool running)
{
	bool all = true;
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (folders < 0 || dir_names(folders, &names, NULL, &ignored) < 0)
		return false;
	for (char **name = names; *name; name++) {
		struct err why = ERR_INIT;
		_cleanup_close_ int folder = dir_open(folders, *name, &why);
		_cleanup_json_ json_t *record = folder < 0 ? NULL : record_look(folder, &why);
		if (record)
			add_record(s, running ? NULL : *name, record);
		/* one that has just ended has none any more, one that was just undefined no folder */
		else if (why.kind != ERR_NOT_FOUND || (!running && folder >= 0))
			all = false;
	}
	return all;
}

/* The same for disks that no record tells. */
static bool add_unrecorded(struct sweep *s)
{
	bool all = true;
	_cleanup_json_ json_t *disks = unrecorded_disks();
	const json_t *disk, *path;
	size_t i, j;
	json_array_foreach (disks, i, disk) {
		json_array_foreach (json_object_get(disk, "below"), j, path)
			json_object_set_new(s->used, json_string_value(path), json_true());
		all = all && !json_object_get(disk, "why");
	}
	return all;
}

/* ---- the others ------------------------------------------------------------------------------------ */

/* The file is the guest's own again. Before its second name goes: a frozen one always has two. False: not now. */
static bool thaw(const json_t *guest, int base, const char *file)
{
	struct err ignored = ERR_INIT;
	struct stat st, its;
	_cleanup_close_ int dir = guest_dir_open(json_get_str(guest, "name", ""), &ignored);
	_cleanup_close_ int fd =
		dir < 0 ? -1
			: openat(dir, file,
				  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	uid_t keeper = (uid_t)json_get_int(guest, "keeper", 0);
	if (fd < 0 || fstat(fd, &its) < 0 || fstatat(base, file, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		st.st_ino != its.st_ino || st.st_dev != its.st_dev)
		return true;
	if (json_get_bool(guest, "runs", false)) /* its QEMU has it open for reading, for good */
		return false;
	return (geteuid() != 0 || fchown(fd, keeper, (gid_t)-1) == 0) && fchmod(fd, 0600) == 0;
}

static void sweep_folder(const struct sweep *s, int bases, const char *id)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	_cleanup_close_ int dir = dir_open(bases, id, &ignored);
	const json_t *guest = json_object_get(s->guests, id);
	if (dir < 0 || json_get_bool(guest, "template", false) ||
		dir_names(dir, &files, NULL, &ignored) < 0)
		return;
	for (char **file = files; *file; file++) {
		_cleanup_free_ char *path = base_path(id, *file, &ignored);
		if (json_object_get(s->used, path))
			continue;
		if (!s->look && (!thaw(guest, dir, *file) || unlinkat(dir, *file, 0) < 0))
			continue;
		if (s->removed)
			s->removed(s->about, path);
	}
	if (!s->look)
		unlinkat(bases, id, AT_REMOVEDIR);
}

static int sweep_all(struct sweep *s, int bases, struct err *err)
{
	_cleanup_names_ char **ids = NULL;
	struct err none = ERR_INIT;
	_cleanup_close_ int guests = guests_open(err), runs = runs_open(&none);
	if (guests < 0 || dir_names(bases, &ids, NULL, err) < 0)
		return -1;
	if (!ids[0] || !ids[1]) /* the lock alone: as nearly always */
		return 0;
	/* else who knows what that one stands on? */
	if (!add_records(s, guests, false) || (runs >= 0 && !add_records(s, runs, true)) ||
		(runs < 0 && none.kind != ERR_NOT_FOUND) || !add_unrecorded(s))
		return 0;
	for (char **id = ids; *id; id++)
		sweep_folder(s, bases, *id);
	return 0;
}

int bases_sweep(enum sweep_how how, base_removed_fn *removed, void *about, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/bases", paths_state(err));
	_cleanup_close_ int bases = dir_open(AT_FDCWD, path, &none);
	if (bases < 0) /* nothing was ever cloned here */
		return 0;
	_cleanup_close_ int lock = how == SWEEP_LOCKED ? -1 : bases_lock(err);
	if (how != SWEEP_LOCKED && lock < 0)
		return -1;
	_cleanup_json_ json_t *used = json_object(), *guests = json_object();
	struct sweep s = {.used = used,
		.guests = guests,
		.look = how == SWEEP_LOOK,
		.removed = removed,
		.about = about};
	return sweep_all(&s, bases, err);
}
