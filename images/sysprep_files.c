#include "images/sysprep_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "images/ext_file.h"
#include "images/ext_write.h"
#include "images/sysprep_stream.h"

static int put(struct ext_volume *v, ext2_ino_t dirs[], struct sysprep_stream *s,
	const json_t *header, struct err *err)
{
	const char *name = json_get_str(header, "name", "");
	int64_t depth = json_get_int(header, "depth", 0);
	const char *link = json_get_str(header, "link", NULL);
	mode_t mode = (mode_t)json_get_int(header, "mode", 0600);
	if (!dirs[depth])
		return err_set(err, ERR_USAGE, "'%.80s' cannot be copied: its depth", name);
	if (json_get_bool(header, "folder", false))
		return ext_put_folder(v, dirs[depth], name, mode, &dirs[depth + 1], err);
	if (link)
		return ext_put_link(v, dirs[depth], name, link, err);
	return ext_put_file(v, dirs[depth], name, mode, sysprep_stream_read, s, err);
}

static int enter(struct ext_tree *t, const char *folder, struct ext_volume **v,
	ext2_ino_t dirs[SYSPREP_FILES_DEPTH + 1], struct err *err)
{
	struct ext2_inode inode;
	memset(dirs, 0, (SYSPREP_FILES_DEPTH + 1) * sizeof(*dirs));
	dirs[0] = tree_find(t, folder, v);
	if (!dirs[0] || ext2fs_read_inode((*v)->fs, dirs[0], &inode) ||
		!LINUX_S_ISDIR(inode.i_mode))
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%.200s' in it", folder);
	return 0;
}

/* "root:HASH:19700:0:99999:7:::", in a file that keeps its owner and its mode. */
static int set_password(struct ext_tree *t, const json_t *header, struct err *err)
{
	static const char file[] = "/etc/shadow";
	struct ext_volume *v = NULL;
	const char *user = json_get_str(header, "user", "");
	ext2_ino_t ino = tree_find(t, file, &v);
	_cleanup_free_ char *start = str_fmt("%s:", user);
	_cleanup_free_ char *now = str_fmt("%s:%s:", user, json_get_str(header, "hash", ""));
	int changed = ino ? ext_change_field(v, ino, start, now, err) : 0;
	return changed > 0 ? 0
	       : changed
		       ? err_prefix(err, "%s", file)
		       : err_set(err, ERR_NOT_FOUND, "there is no user '%s' in its %s", user, file);
}

int sysprep_files_put(struct ext_tree *t, int stream, uint64_t *count, struct err *err)
{
	struct ext_volume *v = NULL;
	struct sysprep_stream s = {.fd = stream};
	ext2_ino_t dirs[SYSPREP_FILES_DEPTH + 1] = {0};
	_cleanup_free_ char *folder = xstrdup("");
	json_t *header;
	int got;
	while ((got = sysprep_stream_next(&s, &header, err)) > 0) {
		_cleanup_json_ json_t *owned = header;
		const char *into = json_get_str(header, "into", NULL);
		if (json_object_get(header, "user")) {
			if (set_password(t, header, err) < 0)
				return -1;
			continue;
		}
		if (into) {
			free(folder);
			folder = xstrdup(into);
		}
		if (into ? enter(t, into, &v, dirs, err) < 0 : put(v, dirs, &s, header, err) < 0)
			return into ? -1 : err_prefix(err, "copying into '%.200s'", folder);
		*count += !into;
	}
	return got;
}
