#include "orchestrator/unrecorded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/chain.h"
#include "images/image.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/store_open.h"

struct folder {
	int dir;
	const char *path;
	const json_t *record; /* NULL: of kept disks */
	json_t *disks;        /* out */
};

static void add(json_t *disks, const char *path, json_t *below, const struct err *why)
{
	json_t *disk = json_pack("{s:s, s:O}", "disk", path, "below", below);
	if (why->kind)
		json_object_set_new(disk, "why", json_string(why->message));
	json_array_append_new(disks, disk);
}

static void add_unknown(json_t *disks, const char *path, const struct err *why)
{
	_cleanup_json_ json_t *none = json_array();
	add(disks, path, none, why);
}

static bool is_of_store(const char *path)
{
	_cleanup_store_ struct store s = STORE_NONE;
	struct err none = ERR_INIT;
	char name[64];
	return store_open(&s, &none) == 0 && store_name_of_path(&s, path, name);
}

/* *next: the backing file of `path`; NULL: none. */
static int add_backing(int fd, const char *path, json_t *below, char **next, struct err *err)
{
	struct qcow2_info info;
	int is_qcow2 = qcow2_probe(fd, err);
	*next = NULL;
	if (is_qcow2 < 0 || (is_qcow2 && qcow2_read(fd, &info, err) < 0))
		return err_prefix(err, "'%s'", path);
	if (!is_qcow2 || !info.has_backing)
		return 0;
	*next = chain_backing_path(path, info.backing);
	if (!*next)
		return err_errno(
			err, "'%s': cannot open its backing file '%s'", path, info.backing);
	json_array_append_new(below, json_string(*next));
	/* the same by the name that records have, which may lead over a symbolic link */
	if (info.backing[0] == '/' && !str_eq(info.backing, *next))
		json_array_append_new(below, json_string(info.backing));
	return 0;
}

static int follow(int top, const char *path, json_t *below, struct err *err)
{
	_cleanup_close_ int fd = top;
	_cleanup_free_ char *at = xstrdup(path);
	for (int depth = 0; depth < CHAIN_MAX; depth++) {
		struct stat st;
		char *next;
		if (add_backing(fd, at, below, &next, err) < 0)
			return -1;
		if (!next ||
			is_of_store(next)) { /* whose images say themselves what they stand on */
			free(next);
			return 0;
		}
		free(at);
		at = next;
		cleanup_close(&fd);
		fd = image_open(at, &st, err);
		if (fd < 0)
			return err_prefix(err, "backing file of '%s'", path);
	}
	return err_set(err, ERR_REFUSED,
		"the backing chain of '%s' loops, or has more than %d files", path, CHAIN_MAX);
}

/* Does the record tell that file, or is it another one of this folder, which has its own turn? */
static bool is_told(const struct folder *f, const char *path)
{
	_cleanup_free_ char *real = realpath(f->path, NULL);
	size_t len = real ? strlen(real) : 0, i;
	const json_t *disk;
	if (len && str_starts(path, real) && path[len] == '/' && !strchr(path + len + 1, '/'))
		return true;
	json_array_foreach (json_object_get(f->record, "disks"), i, disk)
		if (str_eq(json_get_str(disk, "path", NULL), path))
			return true;
	return false;
}

static bool has_file(const json_t *record, const char *file)
{
	const json_t *disk;
	size_t i;
	json_array_foreach (json_object_get(record, "disks"), i, disk)
		if (str_eq(json_get_str(disk, "file", NULL), file))
			return true;
	return false;
}

static void add_file(const struct folder *f, const char *file)
{
	struct err why = ERR_INIT;
	struct stat st;
	_cleanup_json_ json_t *below = json_array();
	_cleanup_free_ char *path = str_fmt("%s/%s", f->path, file);
	if (has_file(f->record, file) ||
		(fstatat(f->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)))
		return;
	/* whoever's it is: a header that is looked at can but claim something */
	int fd = openat(f->dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) /* just removed */
		return;
	if (fd < 0)
		err_errno(&why, "cannot open '%s'", path);
	else
		follow(fd, path, below, &why);
	const char *first = json_string_value(json_array_get(below, 0));
	if ((first || why.kind) && !(first && is_told(f, first)))
		add(f->disks, path, below, &why);
}

/* `guests`: with records; one that cannot be read tells nothing. */
static void add_folder(json_t *disks, int all, const char *root, const char *name, bool guests)
{
	struct err why = ERR_INIT, ignored = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	_cleanup_free_ char *path = str_fmt("%s/%s", root, name);
	_cleanup_close_ int dir = dir_open(all, name, &why);
	_cleanup_json_ json_t *record = dir >= 0 && guests ? record_look(dir, &ignored) : NULL;
	struct folder f = {.dir = dir, .path = path, .record = record, .disks = disks};
	if (dir < 0 || dir_names(dir, &files, NULL, &why) < 0) {
		if (why.kind != ERR_NOT_FOUND) /* else just removed */
			add_unknown(disks, path, &why);
		return;
	}
	for (char **file = files; *file; file++)
		add_file(&f, *file);
}

static void add_folders(json_t *disks, const char *which, bool guests)
{
	struct err why = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_free_ char *path = str_fmt("%s/%s", paths_state(&why), which);
	_cleanup_close_ int all = dir_open(AT_FDCWD, path, &why);
	if (all < 0 || dir_names(all, &names, NULL, &why) < 0) {
		if (why.kind != ERR_NOT_FOUND) /* else there are none */
			add_unknown(disks, path, &why);
		return;
	}
	for (char **name = names; *name; name++)
		add_folder(disks, all, path, *name, guests);
}

json_t *unrecorded_disks(void)
{
	json_t *disks = json_array();
	add_folders(disks, "guests", true);
	add_folders(
		disks, "kept", false); /* after: a disk that is just being kept comes from there */
	return disks;
}
