#include "orchestrator/compat/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/compat/links.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/paths.h"

char *storage_folder(struct err *err)
{
	const char *told = getenv("ROOST_LIBVIRT_IMAGES"), *home = getenv("HOME");
	if (told && told[0])
		return xstrdup(told);
	if (paths_are_system())
		return xstrdup(OLD_IMAGES_FOLDER);
	_cleanup_free_ char *folder =
		home && home[0] == '/' ? str_fmt("%s/.local/share/libvirt/images", home) : NULL;
	_cleanup_close_ int dir = folder ? dir_make(folder, 0700, err) : -1;
	return dir < 0 ? NULL : TAKE(folder);
}

static bool is_in(const char *folder, const char *path)
{
	size_t len = strlen(folder);
	return str_starts(path, folder) && path[len] == '/' && !strchr(path + len + 1, '/');
}

/* A file of its own, not a link to somewhere else, which nobody would miss. */
static int remove_image(const char *path, struct err *err)
{
	struct stat st;
	char magic[4] = "";
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || pread(fd, magic, sizeof(magic), 0) < 0)
		return err_errno(err, "cannot open it");
	if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
		return err_set(err, ERR_REFUSED, "it is no file of one name");
	_cleanup_free_ char *copy = xstrdup(path);
	const struct chain_link link = {.path = copy,
		.qcow2 = memcmp(magic, "QFI\xfb", sizeof(magic)) == 0,
		.inode = st.st_ino,
		.device = st.st_dev};
	if (image_check_changeable(&link, true, NULL, NULL, err) < 0)
		return -1;
	return unlink(path) < 0 ? err_errno(err, "cannot remove it") : 0;
}

json_t *storage_remove(const json_t *disks)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *folder = storage_folder(&ignored);
	json_t *list = json_array(), *disk;
	size_t i;
	json_array_foreach (disks, i, disk) {
		struct err err = ERR_INIT;
		const char *path = json_get_str(disk, "below", json_get_str(disk, "source", NULL));
		if (!path || !str_eq(json_get_str(disk, "device", "disk"), "disk"))
			continue;
		json_t *told = json_pack(
			"{s:s, s:s}", "target", json_get_str(disk, "target", ""), "path", path);
		if (access(path, F_OK) == 0 && folder && is_in(folder, path) &&
			remove_image(path, &err) < 0)
			json_object_set_new(told, "why", json_string(err.message));
		else if (access(path, F_OK) == 0)
			json_object_set_new(told, "why",
				json_sprintf(
					"it is not in %s", folder ? folder : "a folder of images"));
		json_array_append_new(list, told);
	}
	return list;
}

json_t *storage_users_own(const json_t *disks)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *ours = str_fmt("%s/", paths_state(&ignored));
	json_t *paths = json_array(), *disk;
	size_t i;
	json_array_foreach (disks, i, disk) {
		const char *path = json_get_str(disk, "below", json_get_str(disk, "source", NULL));
		if (path && str_eq(json_get_str(disk, "device", "disk"), "disk") &&
			!str_starts(path, ours))
			json_array_append_new(paths, json_string(path));
	}
	return paths;
}
