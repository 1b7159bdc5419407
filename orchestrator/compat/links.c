#include "orchestrator/compat/links.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"

#define RECORD "compat.json"

static char *own_program(struct err *err)
{
	char *path = realpath("/proc/self/exe", NULL);
	if (!path)
		err_errno(err, "cannot tell where roost is");
	return path;
}

/* Does that lead to us, by whatever links? */
static bool is_ours(const char *path, const char *program)
{
	char *real = realpath(path, NULL);
	bool ours = str_eq(real, program);
	free(real);
	return ours;
}

/* A link to another roost, or to where one was: of an older installation. */
static bool is_older(const char *path)
{
	char target[PATH_MAX] = "";
	if (readlink(path, target, sizeof(target) - 1) < 0)
		return false;
	const char *slash = strrchr(target, '/');
	return str_eq(slash ? slash + 1 : target, "roost");
}

/* ---- what is there already ------------------------------------------------------------------------------ */

/* The first program of that name that is not ours; freed by the caller, NULL for none. */
static char *real_tool(const char *name, const char *program)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *folders =
		str_fmt("%s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			path ? path : "");
	char *save = NULL;
	for (char *folder = strtok_r(folders, ":", &save); folder;
		folder = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *file = str_fmt("%s/%s", folder, name);
		if (access(file, X_OK) == 0 && !is_ours(file, program) && !is_older(file))
			return TAKE(file);
	}
	return NULL;
}

static int check_free(bool force, const char *program, struct err *err)
{
	struct stat st;
	for (const struct old_name *o = old_names; o->name; o++) {
		_cleanup_free_ char *link = str_fmt(OLD_NAMES_FOLDER "/%s", o->name);
		if (lstat(link, &st) == 0 && !is_ours(link, program) && !is_older(link)) {
			err_set(err, ERR_REFUSED, "'%s' is there, and is not roost", link);
			return err_hint(err, "move it away, if you do not need it");
		}
		_cleanup_free_ char *tool = force ? NULL : real_tool(o->name, program);
		if (!tool)
			continue;
		err_set(err, ERR_REFUSED, "the real '%s' is installed: '%s'", o->name, tool);
		return err_hint(
			err, "`roost compat --install --force` puts roost's names before it");
	}
	return 0;
}

/* ---- the record ----------------------------------------------------------------------------------------- */

static int record_folder(struct err *err)
{
	const char *state = paths_state(err);
	return state ? dir_make(state, 0711, err) : -1;
}

/* Those that are missing of /var, /var/lib and so on, the outermost first. */
static json_t *missing_folders(void)
{
	json_t *list = json_array();
	for (const char *at = OLD_IMAGES_FOLDER; at;) {
		const char *slash = strchr(at + 1, '/');
		_cleanup_free_ char *folder =
			slash ? strndup(OLD_IMAGES_FOLDER, (size_t)(slash - OLD_IMAGES_FOLDER))
			      : xstrdup(OLD_IMAGES_FOLDER);
		if (access(folder, F_OK) < 0)
			json_array_append_new(list, json_string(folder));
		at = slash;
	}
	return list;
}

/* What an earlier --install has made counts on. */
static json_t *new_record(int dir, const char *program)
{
	struct err none = ERR_INIT;
	_cleanup_json_ json_t *old = json_file_read(dir, RECORD, &none);
	json_t *record = json_pack("{s:{}, s:o}", "links", "folders", missing_folders());
	json_array_extend(json_object_get(record, "folders"), json_object_get(old, "folders"));
	for (const struct old_name *o = old_names; o->name; o++) {
		_cleanup_free_ char *link = str_fmt(OLD_NAMES_FOLDER "/%s", o->name);
		json_object_set_new(json_object_get(record, "links"), link, json_string(program));
	}
	return record;
}

/* ---- making ----------------------------------------------------------------------------------------------- */

/* A link that is there leads to us already, by the name that we had, perhaps, or to an older roost: it is made anew. */
static int make_link(const char *target, const char *path, struct err *err)
{
	_cleanup_free_ char *beside = str_fmt("%s.%d~", path, (int)getpid());
	if (symlink(target, beside) == 0 && rename(beside, path) == 0)
		return 0;
	err_errno(err, "cannot make the link '%s'", path);
	unlink(beside);
	return -1;
}

/* Its owner is root, as libvirt's is; members of the group put their disks there, and see those of others. */
static int make_images_folder(struct err *err)
{
	struct stat st;
	const struct group *group = getgrnam(ACCESS_GROUP);
	if (stat(OLD_IMAGES_FOLDER, &st) == 0)
		return 0; /* somebody's */
	mode_t mask = umask(022);
	_cleanup_close_ int above = dir_make("/var/lib/libvirt", 0755, err);
	umask(mask);
	if (above < 0)
		return -1;
	if (mkdirat(above, "images", 0711) < 0)
		return err_errno(err, "cannot make the folder '" OLD_IMAGES_FOLDER "'");
	if (group && (fchownat(above, "images", 0, group->gr_gid, 0) < 0 ||
			     fchmodat(above, "images", 02771, 0) < 0))
		return err_errno(
			err, "cannot give '" OLD_IMAGES_FOLDER "' to the group " ACCESS_GROUP);
	return group || fchmodat(above, "images", 0711, 0) == 0
		       ? 0
		       : err_errno(err, "cannot open '" OLD_IMAGES_FOLDER "' to others");
}

static int only_root(struct err *err)
{
	if (geteuid() == 0)
		return 0;
	err_set(err, ERR_REFUSED, "only root writes to " OLD_NAMES_FOLDER);
	return err_hint(
		err, "`sudo roost compat --install`; for one shell, `eval \"$(roost compat)\"`");
}

/* ---- undoing ---------------------------------------------------------------------------------------------- */

static void note(json_t *gone, bool removed, const char *path)
{
	json_array_append_new(
		json_object_get(gone, removed ? "removed" : "kept"), json_string(path));
}

static void remove_link(json_t *gone, const char *path, const char *target)
{
	char now[PATH_MAX] = "";
	if (readlink(path, now, sizeof(now) - 1) < 0 && errno == ENOENT)
		return;
	note(gone, str_eq(now, target) && unlink(path) == 0, path);
}

static int remove_all(int dir, const json_t *record, json_t **gone, struct err *err)
{
	const char *link;
	json_t *target;
	_cleanup_json_ json_t *told = json_pack("{s:[], s:[]}", "removed", "kept");
	json_object_foreach (json_object_get(record, "links"), link, target)
		remove_link(told, link, json_string_value(target));
	const json_t *folders = json_object_get(record, "folders");
	for (size_t i = json_array_size(folders); i-- > 0;) {
		const char *folder = json_string_value(json_array_get(folders, i));
		if (rmdir(folder) == 0 || errno != ENOENT)
			note(told, access(folder, F_OK) < 0, folder);
	}
	if (unlinkat(dir, RECORD, 0) < 0)
		return err_errno(err, "cannot remove '%s'", RECORD);
	*gone = TAKE(told);
	return 0;
}

int links_remove(json_t **gone, struct err *err)
{
	_cleanup_close_ int dir = only_root(err) < 0 ? -1 : record_folder(err);
	struct err none = ERR_INIT;
	if (dir < 0)
		return -1;
	_cleanup_json_ json_t *record = json_file_read(dir, RECORD, &none);
	if (record)
		return remove_all(dir, record, gone, err);
	if (none.kind != ERR_NOT_FOUND)
		return *err = none, -1;
	err_set(err, ERR_NOT_FOUND, "the old names are not installed");
	return err_hint(err, "`roost compat --install` would do that");
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int make_all(const json_t *record, struct err *err)
{
	const char *link;
	json_t *target;
	_cleanup_close_ int bin = dir_make(OLD_NAMES_FOLDER, 0755, err);
	if (bin < 0)
		return -1;
	json_object_foreach (json_object_get(record, "links"), link, target)
		if (make_link(json_string_value(target), link, err) < 0)
			return -1;
	return make_images_folder(err);
}

/* The first time it is made wholly or not at all. */
static int make_or_undo(int dir, const json_t *record, bool first, struct err *err)
{
	struct err ignored = ERR_INIT;
	json_t *gone = NULL;
	if (make_all(record, err) == 0)
		return 0;
	if (first && remove_all(dir, record, &gone, &ignored) == 0)
		json_decref(gone);
	return err_hint(err, "`eval \"$(roost compat)\"` has the names in one shell");
}

int links_install(bool force, json_t **made, struct err *err)
{
	_cleanup_free_ char *program = own_program(err);
	if (only_root(err) < 0 || !program || check_free(force, program, err) < 0)
		return -1;
	_cleanup_close_ int dir = record_folder(err);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : new_record(dir, program);
	bool first = dir >= 0 && faccessat(dir, RECORD, F_OK, 0) < 0;
	if (!record || json_file_write(dir, RECORD, record, true, err) < 0 ||
		make_or_undo(dir, record, first, err) < 0)
		return -1;
	*made = TAKE(record);
	return 0;
}

/* ---- for one shell ---------------------------------------------------------------------------------------- */

char *links_own_folder(struct err *err)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	_cleanup_free_ char *program = own_program(err);
	if (!program)
		return NULL;
	if ((!data || data[0] != '/') && (!home || home[0] != '/')) {
		err_set(err, ERR_USAGE, "there is no HOME in which the names could be");
		return NULL;
	}
	_cleanup_free_ char *folder = data && data[0] == '/'
					      ? str_fmt("%s/roost/compat", data)
					      : str_fmt("%s/.local/share/roost/compat", home);
	_cleanup_close_ int dir = dir_make(folder, 0755, err);
	if (dir < 0)
		return NULL;
	for (const struct old_name *o = old_names; o->name; o++) {
		_cleanup_free_ char *link = str_fmt("%s/%s", folder, o->name);
		if (make_link(program, link, err) < 0)
			return NULL;
	}
	return TAKE(folder);
}
