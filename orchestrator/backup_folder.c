#include "orchestrator/backup_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"

enum { VERSION = 1 };

static int exists(const char *path, struct err *err)
{
	err_set(err, ERR_REFUSED, "'%s' exists already", path);
	return err_hint(err, "a backup never overwrites anything: choose another name");
}

static int half_done(const char *part, struct err *err)
{
	err_set(err, ERR_REFUSED, "'%s' is there", part);
	return err_hint(err, "a backup is being written there, or one was cut off: then remove it");
}

int backup_make(const char *path, struct backup_folder *out, struct err *err)
{
	struct stat st;
	struct backup_folder b = {.path = xstrdup(path), .dir = -1};
	size_t len = strlen(b.path);
	while (len > 1 && b.path[len - 1] == '/')
		b.path[--len] = '\0';
	b.part = str_fmt("%s.part", b.path);
	int result = lstat(b.path, &st) == 0 ? exists(b.path, err) : 0;
	if (result == 0 && mkdir(b.part, 0700) < 0)
		result = errno == EEXIST ? half_done(b.part, err)
					 : err_errno(err, "cannot make the folder '%s'", b.part);
	if (result == 0)
		b.dir = dir_open(AT_FDCWD, b.part, err);
	if (b.dir >= 0) {
		*out = b;
		return 0;
	}
	free(b.path);
	free(b.part);
	return -1;
}

int backup_commit(struct backup_folder *b, const json_t *facts, struct err *err)
{
	if (json_file_write(b->dir, BACKUP_FACTS, facts, true, err) < 0)
		return -1;
	if (renameat2(AT_FDCWD, b->part, AT_FDCWD, b->path, RENAME_NOREPLACE) < 0)
		return errno == EEXIST ? exists(b->path, err)
				       : err_errno(err, "cannot make '%s'", b->path);
	cleanup_close(&b->dir);
	char *slash = strrchr(b->path, '/');
	_cleanup_free_ char *parent =
		slash ? strndup(b->path, (size_t)(slash - b->path) + 1) : xstrdup(".");
	_cleanup_close_ int above = dir_open(AT_FDCWD, parent, err);
	return above < 0 ? -1 : fsync(above);
}

void backup_end(struct backup_folder *b)
{
	struct err ignored = ERR_INIT;
	if (b->dir >= 0)
		dir_remove(AT_FDCWD, b->part, &ignored);
	cleanup_close(&b->dir);
	free(b->path);
	free(b->part);
}

bool backup_is(const char *path)
{
	_cleanup_free_ char *facts = str_fmt("%s/" BACKUP_FACTS, path);
	return access(facts, F_OK) == 0;
}

static int check_disk(const json_t *disk, const char *path, struct err *err)
{
	const char *file = json_get_str(disk, "file", "");
	if (!json_get_str(disk, "target", "")[0] || !file[0] || file[0] == '.' ||
		strchr(file, '/') || json_get_int(disk, "size", 0) <= 0)
		return err_set(
			err, ERR_REFUSED, "'%s': '" BACKUP_FACTS "' tells no good disk", path);
	if (json_is_null(json_object_get(disk, "bitmap")))
		return 0;
	return err_set(
		err, ERR_REFUSED, "'%s' is an increment, which this roost cannot restore", path);
}

json_t *backup_open(const char *path, int *dir, struct err *err)
{
	_cleanup_close_ int folder = dir_open(AT_FDCWD, path, err);
	_cleanup_json_ json_t *facts =
		folder < 0 ? NULL : json_file_read(folder, BACKUP_FACTS, err);
	const json_t *disks = json_object_get(facts, "disks");
	json_t *disk;
	size_t i;
	if (!facts)
		return NULL;
	if (json_get_int(facts, "roost-backup", 0) != VERSION || !json_is_array(disks) ||
		!json_is_object(json_object_get(facts, "definition"))) {
		err_set(err, ERR_REFUSED, "'%s' is not a backup that this roost understands", path);
		return NULL;
	}
	json_array_foreach (disks, i, disk)
		if (check_disk(disk, path, err) < 0)
			return NULL;
	*dir = TAKE_FD(folder);
	return TAKE(facts);
}
