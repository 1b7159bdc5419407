#include "orchestrator/disk_holder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

static bool is_file(const char *path, const struct stat *wanted)
{
	struct stat st;
	return path && stat(path, &st) == 0 && st.st_dev == wanted->st_dev &&
	       st.st_ino == wanted->st_ino;
}

/* An overlay's own file lies in the guest's folder; `path` is then the image below it. */
static bool defines(const struct definition *d, const struct stat *wanted)
{
	struct err ignored = ERR_INIT;
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct disk_def *disk = &d->disks[i];
		_cleanup_free_ char *own = str_fmt("%s/guests/%s/%s", paths_state(&ignored),
			d->name, disk->file ? disk->file : "");
		if (is_file(disk->path, wanted) || (disk->file && is_file(own, wanted)))
			return true;
	}
	return false;
}

/* A layer of its snapshots, in its folder. */
static bool stands_on(const struct definition *d, const struct stat *wanted)
{
	struct err ignored = ERR_INIT;
	const char *name;
	json_t *layer;
	_cleanup_close_ int dir = guest_dir_open(d->name, &ignored);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, &ignored);
	json_object_foreach (json_object_get(record, "layers"), name, layer) {
		struct stat st;
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino)
			return true;
	}
	return false;
}

static bool has_plugged(int run, const struct stat *wanted)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *o = json_file_read(run, "attached", &ignored);
	size_t i;
	json_t *entry;
	json_array_foreach (json_object_get(o, "attached"), i, entry)
		if (is_file(json_get_str(entry, "path", NULL), wanted))
			return true;
	return false;
}

bool disk_holder(int fd, char name[64])
{
	struct err ignored = ERR_INIT;
	struct stat wanted;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&ignored);
	bool found = false;
	if (fstat(fd, &wanted) < 0 || runs < 0 || dir_names(runs, &ids, NULL, &ignored) < 0)
		return false;
	for (char **id = ids; *id && !found; id++) {
		_cleanup_close_ int run = dir_open(runs, *id, &ignored);
		_cleanup_definition_ struct definition *d =
			run < 0 ? NULL : record_read_running(run, &ignored);
		found = d &&
			(defines(d, &wanted) || has_plugged(run, &wanted) || stands_on(d, &wanted));
		if (found)
			snprintf(name, 64, "%s", d->name);
	}
	return found;
}
