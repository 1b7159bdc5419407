/*
 * Following a backing chain by name, once, so that QEMU never has to.
 *
 * Names are taken as QEMU takes them: a relative one from the folder in which the file that names
 * it was found (not where a symbolic link leads), anything with a ':' before the first '/' as a
 * protocol, which we refuse. Files are told apart by device and inode, so a loop is a loop whatever
 * its names are. Each file is opened once and looked at through that fd.
 */
#include "images/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "images/image.h"

void chain_free(struct chain *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->links[i].path);
	c->count = 0;
}

/* The length of the folder part of a path, with its last '/'; 0 if there is none. */
static size_t folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Absolute, the folder without links, "." or ".."; the last part as it is. NULL with errno. */
static char *settle(const char *path)
{
	size_t len = folder_length(path);
	_cleanup_free_ char *folder = len ? strndup(path, len) : xstrdup(".");
	_cleanup_free_ char *real = folder ? realpath(folder, NULL) : NULL;
	return real ? str_fmt("%s/%s", str_eq(real, "/") ? "" : real, path + len) : NULL;
}

static char *join(const char *from, const char *name)
{
	if (name[0] == '/')
		return xstrdup(name);
	return str_fmt("%.*s%s", (int)folder_length(from), from, name);
}

char *chain_backing_path(const char *overlay, const char *name)
{
	_cleanup_free_ char *above = settle(overlay);
	_cleanup_free_ char *path = above ? join(above, name) : NULL;
	return path ? settle(path) : NULL;
}

static int hint_rebase(
	const char *overlay, const char *backing, const char *format, struct err *err)
{
	_cleanup_free_ char *of = shell_word(overlay), *to = shell_word(backing);
	return err_hint(err, "say where it is, with its format: qemu-img rebase -u -F %s -b %s %s",
		format, to, of);
}

/* What the overlay says of its backing file: is that something we would follow? */
static int check_backing(
	const struct chain_link *overlay, const struct qcow2_info *info, struct err *err)
{
	const char *name = info->backing, *format = info->backing_format;
	if (name[strcspn(name, ":/")] == ':') {
		err_set(err, ERR_REFUSED, "'%s': its backing file '%s' is not a local file's name",
			overlay->path, name);
		return hint_rebase(overlay->path, "/PATH/TO/BASE", "FORMAT", err);
	}
	if (str_eq(format, "qcow2") || str_eq(format, "raw"))
		return 0;
	if (format[0] == '\0') {
		err_set(err, ERR_REFUSED,
			"'%s' does not say which format its backing file '%s' has", overlay->path,
			name);
		return hint_rebase(overlay->path, name, "FORMAT", err);
	}
	err_set(err, ERR_REFUSED,
		"'%s': its backing file '%s' has the format '%s'; only qcow2 and raw are taken",
		overlay->path, name, format);
	return hint_rebase(overlay->path, name, "FORMAT", err);
}

static int check_loop(const struct chain *c, const struct chain_link *link, struct err *err)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->links[i].device == link->device && c->links[i].inode == link->inode)
			return err_set(err, ERR_REFUSED,
				"the backing chain loops: '%s' is '%s' again", link->path,
				c->links[i].path);
	return 0;
}

/* Opens `path`, looks, and appends it to the chain. `info` is filled for qcow2. */
static int add_link(
	struct chain *c, const char *path, bool qcow2, struct qcow2_info *info, struct err *err)
{
	struct stat st;
	_cleanup_free_ char *settled = settle(path);
	if (!settled)
		return err_errno(err, "cannot open the image '%s'", path);
	_cleanup_close_ int fd = image_open(settled, &st, err);
	if (fd < 0)
		return -1;
	if (qcow2 && qcow2_read(fd, info, err) < 0)
		return err_prefix(err, "'%s'", settled);
	if (qcow2 && qcow2_may_stand(info, settled, err) < 0)
		return -1;
	struct chain_link link = {
		.path = settled,
		.qcow2 = qcow2,
		.virtual_size = qcow2 ? info->virtual_size : raw_virtual_size(&st),
		.file_size = (uint64_t)st.st_size,
		.device = st.st_dev,
		.inode = st.st_ino,
		.mtime_ns = stat_mtime_ns(&st),
	};
	if (check_loop(c, &link, err) < 0)
		return -1;
	settled = NULL;
	c->links[c->count++] = link;
	return 0;
}

int chain_backing_missing(const char *overlay, const char *backing, bool qcow2, struct err *err)
{
	err_set(err, ERR_NOT_FOUND, "'%s': its backing file '%s' is missing", overlay, backing);
	/* who copied the overlay away may still stand where both were made */
	const char *name = backing + folder_length(backing);
	_cleanup_free_ char *here = realpath(name, NULL);
	bool found = here && !str_eq(here, overlay);
	_cleanup_free_ char *elsewhere = found ? xstrdup(here) : str_fmt("/PATH/TO/%s", name);
	return hint_rebase(overlay, elsewhere, qcow2 ? "qcow2" : "raw", err);
}

/* The file that the last link of the chain stands on. */
static int add_backing(struct chain *c, struct qcow2_info *info, struct err *err)
{
	const struct chain_link *overlay = &c->links[c->count - 1];
	if (check_backing(overlay, info, err) < 0)
		return -1;
	if (c->count == CHAIN_MAX)
		return err_set(err, ERR_REFUSED, "the backing chain of '%s' has more than %d files",
			c->links[0].path, CHAIN_MAX);
	bool qcow2 = str_eq(info->backing_format, "qcow2");
	_cleanup_free_ char *path = join(overlay->path, info->backing);
	*info = (struct qcow2_info){0};
	if (add_link(c, path, qcow2, info, err) == 0)
		return 0;
	if (err->kind != ERR_NOT_FOUND)
		return err_prefix(err, "backing file of '%s'", overlay->path);
	return chain_backing_missing(overlay->path, path, qcow2, err);
}

int chain_resolve(const char *path, bool qcow2, struct chain *out, struct err *err)
{
	_cleanup_(chain_free) struct chain c = {0};
	struct qcow2_info info = {0};
	if (add_link(&c, path, qcow2, &info, err) < 0)
		return -1;
	while (info.has_backing)
		if (add_backing(&c, &info, err) < 0)
			return -1;
	*out = c;
	c.count = 0;
	return 0;
}
