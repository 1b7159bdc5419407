#include "orchestrator/image_users.h"

#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/chain.h"
#include "orchestrator/bases.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/unrecorded.h"

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

/* Somebody of whom nothing is known: who has no "image". */
static void add_unknown(json_t *users, const char *kind, const char *name, const struct err *why)
{
	json_array_append_new(users,
		json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "why", why->message));
}

/* By the record of a guest, or by what a running one was started with. */
static void add_guest(const struct store *s, const json_t *record, const char *name, json_t *users)
{
	const json_t *disk;
	size_t i;
	char image[64];
	json_array_foreach (json_object_get(record, "disks"), i, disk) {
		_cleanup_free_ char *base = NULL;
		bool stands = image_of_disk(s, disk, image);
		add_bases(users, disk, stands ? image : "", &base);
		if (!stands && !base)
			continue;
		add(users, "guest", name, stands ? image : "", json_get_str(disk, "target", ""));
		if (base)
			json_object_set_new(json_array_get(users, json_array_size(users) - 1),
				"base", json_string(base));
	}
}

/* A disk or a medium that was plugged, which no record tells: attached.h. */
static void add_plugged_one(
	const struct store *s, const json_t *entry, const char *guest, json_t *users)
{
	struct err why = ERR_INIT;
	_cleanup_(chain_free) struct chain c = {0};
	bool disk = str_eq(json_get_str(entry, "kind", ""), "disk");
	const char *path = json_get_str(entry, disk ? "path" : "medium", NULL);
	bool qcow2 = str_eq(json_get_str(entry, "format", ""), "qcow2");
	char image[64];
	if (!path)
		return;
	if (chain_resolve(path, qcow2, &c, &why) < 0)
		add_unknown(users, "running guest", guest, &why);
	for (size_t i = 0; i < c.count; i++)
		if (store_name_of_path(s, c.links[i].path, image)) {
			add(users, "guest", guest, image,
				json_get_str(entry, disk ? "target" : "drive", ""));
			return; /* the others stand on that one */
		}
}

static void add_plugged(const struct store *s, int folder, const char *guest, json_t *users)
{
	struct err why = ERR_INIT;
	const json_t *entry;
	size_t i;
	_cleanup_json_ json_t *o = json_file_read(folder, "attached", &why);
	if (!o && why.kind != ERR_NOT_FOUND)
		add_unknown(users, "running guest", guest, &why);
	json_array_foreach (json_object_get(o, "attached"), i, entry)
		add_plugged_one(s, entry, guest, users);
}

/* `running`: the folders are named by ids. One that has just ended has its own no more. */
static void add_guests(const struct store *s, int folders, bool running, json_t *users)
{
	struct err why = ERR_INIT;
	const char *kind = running ? "running guest" : "guest";
	_cleanup_names_ char **names = NULL;
	if (dir_names(folders, &names, NULL, &why) < 0) {
		add_unknown(users, kind, "*", &why);
		return;
	}
	for (char **name = names; *name; name++) {
		struct err broken = ERR_INIT;
		_cleanup_close_ int folder = dir_open(folders, *name, &broken);
		_cleanup_json_ json_t *record = folder < 0 ? NULL : record_look(folder, &broken);
		const char *guest = running ? json_get_str(record, "name", "") : *name;
		if (record)
			add_guest(s, record, guest, users);
		if (record && running)
			add_plugged(s, folder, guest, users);
		if (!record && (!running || broken.kind != ERR_NOT_FOUND))
			add_unknown(users, kind, *name, &broken);
	}
}

/* The disks that no record tells: as if theirs had what their headers say for its lineage. */
static void add_unrecorded(const struct store *s, json_t *users)
{
	_cleanup_json_ json_t *disks = unrecorded_disks();
	const json_t *disk, *path;
	size_t i, j;
	char image[64];
	json_array_foreach (disks, i, disk) {
		const char *name = json_get_str(disk, "disk", ""),
			   *why = json_get_str(disk, "why", NULL);
		_cleanup_free_ char *base = NULL;
		_cleanup_json_ json_t *lineage = json_array();
		json_array_foreach (json_object_get(disk, "below"), j, path)
			json_array_append_new(lineage, json_pack("{s:O}", "path", path));
		_cleanup_json_ json_t *told = json_pack("{s:O}", "lineage", lineage);
		bool stands = image_of_disk(s, told, image);
		add_bases(users, told, stands ? image : "", &base);
		if (stands || base)
			json_array_append_new(
				users, json_pack("{s:s, s:s, s:s, s:s*}", "kind", "disk", "name",
					       name, "image", stands ? image : "", "base", base));
		if (why)
			json_array_append_new(users, json_pack("{s:s, s:s, s:s}", "kind", "disk",
							     "name", name, "why", why));
	}
}

static int add_images(const struct store *s, json_t *users, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (store_names(s, &names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		_cleanup_store_image_ struct store_image i = {0};
		struct err broken = ERR_INIT;
		if (store_look(s, *name, &i, &broken) < 0 && broken.kind != ERR_NOT_FOUND)
			add_unknown(users, "image", *name, &broken);
		else if (i.base)
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
	struct err why = ERR_INIT;
	_cleanup_json_ json_t *users = json_array();
	_cleanup_close_ int guests = guests_open(&why);
	if (guests < 0 && why.kind != ERR_NOT_FOUND) {
		*err = why;
		return NULL;
	}
	_cleanup_close_ int runs = runs_open(&why);
	if (runs < 0 && why.kind != ERR_NOT_FOUND) {
		*err = why;
		return NULL;
	}
	if (add_images(s, users, err) < 0)
		return NULL;
	if (guests >= 0)
		add_guests(s, guests, false, users);
	if (runs >= 0)
		add_guests(s, runs, true, users);
	add_unrecorded(s, users);
	return each_once(users);
}

/* What to do about one of whom it is not known what he stands on. */
static int hint_unknown(const char *kind, const char *who, struct err *err)
{
	if (str_eq(kind, "guest"))
		return err_hint(err, "mend its record, or `roost undefine %s`", who);
	if (str_eq(kind, "running guest"))
		return err_hint(err, "end that guest first; `roost list` shows those that run");
	if (str_eq(kind, "image"))
		return err_hint(err, "remove that one first, or mend its record");
	return err_hint(err, "mend what is told there, or remove the disk if nobody needs it");
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
		if (!on && str_eq(kind, "image") && str_eq(who, name)) /* it is the broken one */
			continue;
		if (!on) {
			err_set(err, ERR_REFUSED,
				"%s '%s' is broken: whether it stands on image '%s' is not known: %s",
				kind, who, name, json_get_str(user, "why", ""));
			return hint_unknown(kind, who, err);
		}
		if (!str_eq(on, name))
			continue;
		err_set(err, ERR_REFUSED, "image '%s' is in use: %s '%s' stands on it", name, kind,
			who);
		return err_hint(err, "`roost image tree %s` shows all who do", name);
	}
	return 0;
}
