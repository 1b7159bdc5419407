#include "orchestrator/image_users.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/bases.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

static void add(
	json_t *users, const char *kind, const char *name, const char *image, const char *through)
{
	json_t *user = json_pack("{s:s, s:s}", "kind", kind, "name", name);
	if (image)
		json_object_set_new(user, "image", json_string(image));
	if (through)
		json_object_set_new(user, "through", json_string(through));
	json_array_append_new(users, user);
}

/* The image of the store that a disk of a record stands on, the first one on its way down. */
static bool image_of_disk(const struct store *s, const json_t *disk, char image[64])
{
	const json_t *lineage = json_object_get(disk, "lineage"), *link;
	size_t i;
	json_array_foreach (lineage, i, link)
		if (store_name_of_path(s, json_get_str(link, "path", ""), image))
			return true;
	return store_name_of_path(s, json_get_str(disk, "image", ""), image) ||
	       store_name_of_path(s, json_get_str(disk, "path", ""), image);
}

/* "ID/FILE" of a base, or NULL; freed by the caller. */
static char *base_name(const char *path)
{
	char id[13];
	const char *file;
	return path && base_of_path(path, id, &file) ? str_fmt("%s/%s", id, file) : NULL;
}

/* The bases that a disk stands on, each on the next, and the last perhaps on an image; *first is freed. */
static void add_bases(json_t *users, const json_t *disk, const char *image, char **first)
{
	const json_t *lineage = json_object_get(disk, "lineage");
	size_t count = json_array_size(lineage);
	*first = NULL;
	for (size_t i = count; i-- > 0;) {
		_cleanup_free_ char *name =
			base_name(json_get_str(json_array_get(lineage, i), "path", NULL));
		if (!name)
			continue;
		json_t *user = json_pack("{s:s, s:s, s:s, s:s*}", "kind", "base", "name", name,
			"image", image, "base", *first);
		json_array_append_new(users, user);
		free(*first);
		*first = TAKE(name);
	}
}

/* By the record in a folder: a guest's, or what a running one was started with. */
static void add_guest(const struct store *s, int folder, const char *name, json_t *users)
{
	struct err ignored = ERR_INIT;
	const json_t *disk;
	size_t i;
	char image[64];
	_cleanup_json_ json_t *record = record_look(folder, &ignored);
	const json_t *disks = json_object_get(record, "disks");
	if (!record && name)
		add(users, "guest", name, NULL, NULL);
	json_array_foreach (disks, i, disk) {
		_cleanup_free_ char *base = NULL;
		bool stands = image_of_disk(s, disk, image);
		add_bases(users, disk, stands ? image : "", &base);
		if (!stands && !base)
			continue;
		add(users, "guest", name ? name : json_get_str(record, "name", ""),
			stands ? image : "", json_get_str(disk, "target", ""));
		if (base)
			json_object_set_new(json_array_get(users, json_array_size(users) - 1),
				"base", json_string(base));
	}
}

static void add_guests(const struct store *s, int folders, bool running, json_t *users)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (folders < 0 || dir_names(folders, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++) {
		_cleanup_close_ int folder = dir_open(folders, *name, &ignored);
		if (folder >= 0)
			add_guest(s, folder, running ? NULL : *name, users);
	}
}

/* Disks that `undefine` has kept are overlays still, by their headers: nobody runs on them. */
static void add_kept(const struct store *s, json_t *users)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **folders = NULL;
	_cleanup_free_ char *path = str_fmt("%s/kept", paths_state(&ignored));
	_cleanup_close_ int all = dir_open(AT_FDCWD, path, &ignored);
	if (all < 0 || dir_names(all, &folders, NULL, &ignored) < 0)
		return;
	for (char **folder = folders; *folder; folder++) {
		_cleanup_names_ char **files = NULL;
		_cleanup_close_ int dir = dir_open(all, *folder, &ignored);
		if (dir < 0 || dir_names(dir, &files, NULL, &ignored) < 0)
			continue;
		for (char **file = files; *file; file++) {
			struct qcow2_info info;
			char image[64];
			_cleanup_free_ char *disk = str_fmt("%s/%s/%s", path, *folder, *file);
			_cleanup_close_ int fd =
				file_open_owned(dir, *file, O_RDONLY, geteuid(), &ignored);
			if (fd >= 0 && qcow2_read(fd, &info, &ignored) == 0 &&
				store_name_of_path(s, info.backing, image))
				add(users, "disk", disk, image, NULL);
		}
	}
}

static int add_images(const struct store *s, json_t *users, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (store_names(s, &names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		_cleanup_store_image_ struct store_image i = {0};
		struct err ignored = ERR_INIT;
		if (store_look(s, *name, &i, &ignored) == 0 && i.base)
			add(users, "image", *name, i.base, NULL);
	}
	return 0;
}

/* A running guest is there twice, unless it was changed since its start. */
static json_t *each_once(const json_t *users)
{
	json_t *once = json_array(), *user, *known;
	size_t i, j;
	json_array_foreach (users, i, user) {
		bool there = false;
		json_array_foreach (once, j, known)
			there = there || json_equal(user, known);
		if (!there)
			json_array_append(once, user);
	}
	return once;
}

json_t *image_users(const struct store *s, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_json_ json_t *users = json_array();
	_cleanup_close_ int guests = guests_open(&none);
	_cleanup_close_ int runs = runs_open(&none);
	if (add_images(s, users, err) < 0)
		return NULL;
	add_guests(s, guests, false, users);
	add_guests(s, runs, true, users);
	add_kept(s, users);
	return each_once(users);
}

int image_check_unused(const struct store *s, const char *name, struct err *err)
{
	_cleanup_json_ json_t *users = image_users(s, err);
	const json_t *user;
	size_t i;
	if (!users)
		return -1;
	json_array_foreach (users, i, user) {
		const char *kind = json_get_str(user, "kind", ""),
			   *who = json_get_str(user, "name", ""),
			   *on = json_get_str(user, "image", NULL);
		if (!on) {
			err_set(err, ERR_REFUSED,
				"guest '%s' is broken: whether it stands on image '%s' is not known",
				who, name);
			return err_hint(err, "mend its record, or `roost undefine %s`", who);
		}
		if (!str_eq(on, name))
			continue;
		err_set(err, ERR_REFUSED, "image '%s' is in use: %s '%s' stands on it", name, kind,
			who);
		return err_hint(err, "`roost image tree %s` shows all who do", name);
	}
	return 0;
}
