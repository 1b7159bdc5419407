/* Definitions: the files that one names, looked at with the rights of who wrote it. */
#include "orchestrator/definition_yaml.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/paths.h"
#include "orchestrator/store_open.h"

int locate_file(const struct node *n, struct err *err)
{
	_cleanup_free_ char *key = node_path(n);
	err_prefix(err, "%s", key);
	return node_locate(n, err);
}

/* Looked at, not opened: opening a device can have effects, opening a FIFO can wait. What a member of the group may not read
 * root opens for his guest all the same. */
static int check_readable(const char *path, const struct node *n, struct err *err)
{
	struct stat st;
	if (!path)
		return 0;
	if (stat(path, &st) < 0 ||
		(!paths_by_member() && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0))
		err_errno(err, "cannot read '%s'", path);
	else if (!S_ISREG(st.st_mode))
		err_set(err, ERR_USAGE, "'%s' is not a regular file", path);
	else
		return 0;
	return locate_file(n, err);
}

/* ---- images ---------------------------------------------------------------------------------- */

/* Where the store has an image of that name or tag; *out stays NULL if nowhere. */
static int in_store(const char *name, char **out, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	struct err none = ERR_INIT;
	if (name_check(name, "image", &none) < 0 || store_open(&s, &none) < 0)
		return 0;
	if (store_find(&s, name, &i, &none) == 0)
		*out = store_image_path(&s, &i);
	else if (none.kind != ERR_NOT_FOUND) {
		*err = none;
		return -1;
	}
	return 0;
}

/* A bare name is the store's if it has it, else a file in the definition's folder. */
static char *find_image(const struct node *n, struct err *err)
{
	char *stored = NULL;
	if (in_store(n->text, &stored, err) < 0) {
		locate_file(n, err);
		return NULL;
	}
	if (stored)
		return stored;
	_cleanup_free_ char *path = node_file(n, err);
	if (!path || strchr(n->text, '/') || access(path, F_OK) == 0)
		return TAKE(path);
	node_error(n, err, "there is no image '%.80s' in the store, nor a file '%.300s'", n->text,
		path);
	err->kind = ERR_NOT_FOUND;
	err_hint(err,
		"`roost image list` shows those that there are, `roost image catalogue` those that can be pulled");
	return NULL;
}

static int find_disk_image(struct disk_def *d, const struct node *map, struct err *err)
{
	const struct node *image = node_get(map, "image"), *format = node_get(map, "format");
	struct image_look look;
	char *path = find_image(image, err);
	if (!path)
		return -1;
	free(d->path);
	d->path = path;
	if (store_image_look(path, &look, err) < 0)
		return locate_file(image, err);
	enum disk_format found = look.qcow2 ? FORMAT_QCOW2 : FORMAT_RAW;
	if (format && d->format != found)
		return node_error(
			format, err, "the image '%s' is %s", path, disk_format_name(found));
	d->format = found;
	if (d->size && d->size < look.virtual_size)
		return node_error(node_place(map, "size"), err,
			"%s is less than the %s of the image '%s'", str_size(d->size),
			str_size(look.virtual_size), path);
	return 0;
}

static int look_at_disks(struct definition *d, const struct node *root, struct err *err)
{
	const struct node *list = node_get(root, "disks"), *cdrom = node_get(root, "cdrom");
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct node *map = list && i < list->count ? list->children[i] : NULL;
		const struct node *path = map ? node_place(map, "path") : cdrom;
		if (d->disks[i].source == DISK_PATH &&
			check_readable(d->disks[i].path, path, err) < 0)
			return -1;
		if (d->disks[i].source == DISK_IMAGE && find_disk_image(&d->disks[i], map, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int definition_files(struct definition *d, const struct node *root, struct err *err)
{
	const struct node *cloud_init = node_place(root, "cloud_init");
	const struct {
		const char *path;
		const struct node *place;
	} files[] = {
		{d->kernel, node_place(root, "kernel")},
		{d->initrd, node_place(root, "initrd")},
		{d->cloud_init.password_file, node_place(cloud_init, "password_file")},
		{d->cloud_init.user_data, node_place(cloud_init, "user_data")},
		{d->cloud_init.meta_data, node_place(cloud_init, "meta_data")},
		{d->cloud_init.vendor_data, node_place(cloud_init, "vendor_data")},
		{d->cloud_init.network_config, node_place(cloud_init, "network_config")},
		{d->ready.identity, node_place(node_place(root, "ready"), "identity")},
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (check_readable(files[i].path, files[i].place, err) < 0)
			return -1;
	return look_at_disks(d, root, err) < 0 ? -1 : definition_cloud_files(d, cloud_init, err);
}
