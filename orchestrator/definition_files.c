/* Definitions: the files that one names, looked at with the rights of who wrote it. */
#include "orchestrator/definition_yaml.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/store_open.h"
#include "orchestrator/userdata_check.h"

enum { KEY_FILE_MAX = 256 * 1024, USER_DATA_MAX = 1024 * 1024 };

/* "FILE:LINE: KEY: " before an error that names a file. */
static int locate_file(const struct node *n, struct err *err)
{
	_cleanup_free_ char *key = node_path(n);
	err_prefix(err, "%s", key);
	return node_locate(n, err);
}

/* Looked at, not opened: opening a device can have effects, opening a FIFO can wait. */
static int check_readable(const char *path, const struct node *n, struct err *err)
{
	struct stat st;
	if (!path)
		return 0;
	if (stat(path, &st) < 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0)
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

/* ---- public keys ----------------------------------------------------------------------------- */

static int take_key(
	struct cloud_init_def *c, const char *text, const struct node *n, struct err *err)
{
	if (c->key_count == KEYS_MAX)
		return node_error(n, err, "more than %d keys, with those in files", KEYS_MAX);
	c->keys[c->key_count++] = xstrdup(text);
	return 0;
}

/* A line is a key, as in authorized_keys; comments and empty lines are passed over. */
static int take_key_file(struct cloud_init_def *c, const struct node *n, struct err *err)
{
	_cleanup_buf_ struct buf content = {0};
	_cleanup_free_ char *file = node_file(n, err);
	size_t before = c->key_count;
	if (!file)
		return -1;
	if (file_read(AT_FDCWD, file, KEY_FILE_MAX, &content, err) < 0)
		return locate_file(n, err);
	if (strstr(content.data, "PRIVATE KEY")) {
		node_error(n, err, "'%s' is a private key, which must not leave its owner", file);
		return err_hint(err, "give the public one: %s.pub", file);
	}
	char *rest = content.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		line[strcspn(line, "\r")] = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		if (check_public_key(line, n, err) < 0)
			return err_hint(err, "it was read from '%s'", file);
		if (take_key(c, line, n, err) < 0)
			return -1;
	}
	return c->key_count > before ? 0 : node_error(n, err, "'%s' holds no public key", file);
}

static int read_keys(struct cloud_init_def *c, const struct node *cloud_init, struct err *err)
{
	const struct node *list = c->key_count ? node_get(cloud_init, "keys") : NULL;
	char *given[KEYS_MAX] = {0};
	size_t count = c->key_count;
	int result = 0;
	memcpy(given, c->keys, sizeof(given));
	memset(c->keys, 0, sizeof(c->keys));
	c->key_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct node *n = list->children[i];
		if (result == 0)
			result = looks_like_public_key(given[i]) ? take_key(c, given[i], n, err)
								 : take_key_file(c, n, err);
		free(given[i]);
	}
	return result;
}

/* ---- user-data ------------------------------------------------------------------------------- */

static int check_user_data(const char *file, const struct node *n, struct err *err)
{
	struct userdata_strangers strangers;
	_cleanup_buf_ struct buf text = {0};
	if (!file)
		return 0;
	if (file_read(AT_FDCWD, file, USER_DATA_MAX, &text, err) < 0)
		return locate_file(n, err);
	if (userdata_check(file, text.data ? text.data : "", text.len, &strangers, err) < 0)
		return -1;
	userdata_tell(file, &strangers);
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
		{d->cloud_init.user_data, node_place(cloud_init, "user_data")},
		{d->ready.identity, node_place(node_place(root, "ready"), "identity")},
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (check_readable(files[i].path, files[i].place, err) < 0)
			return -1;
	if (look_at_disks(d, root, err) < 0 ||
		check_user_data(d->cloud_init.user_data, node_place(cloud_init, "user_data"), err) <
			0)
		return -1;
	return read_keys(&d->cloud_init, cloud_init, err);
}
