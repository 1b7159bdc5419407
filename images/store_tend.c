/* The store's keeping: is an image still what entered; removing; what the killed have left. */
#include "images/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/store_record.h"

/* ---- the same as ever? ---------------------------------------------------------------------------- */

static int open_disk(
	const struct store *s, const struct store_image *i, struct stat *st, struct err *err)
{
	_cleanup_free_ char *path = store_image_path(s, i);
	_cleanup_close_ int fd = image_open(path, st, err);
	if (fd >= 0)
		return TAKE_FD(fd);
	if (err->kind == ERR_NOT_FOUND) {
		err_set(err, ERR_NOT_FOUND, "image '%s': its file '%s' is missing", i->name, path);
		err_hint(err, "put it back from a backup, or `roost image rm %s`", i->name);
	}
	return -1;
}

static bool same(const struct store_image *i, const struct stat *st)
{
	return (uint64_t)st->st_size == i->size && st->st_ino == i->inode &&
	       stat_mtime_ns(st) == i->mtime_ns;
}

int store_check(const struct store *s, const struct store_image *i, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = open_disk(s, i, &st, err);
	if (fd < 0)
		return -1;
	if (same(i, &st))
		return 0;
	_cleanup_free_ char *path = store_image_path(s, i);
	err_set(err, ERR_REFUSED, "image '%s' has changed since it entered: '%s' is another file%s",
		i->name, path,
		(uint64_t)st.st_size == i->size ? ", or was written to" : ", of another size");
	return err_hint(err, "`roost image verify %s` looks whether its content is still the same",
		i->name);
}

int store_verify(const struct store *s, const struct store_image *i, struct err *err)
{
	char digest[STORE_DIGEST_SIZE];
	struct stat st, after;
	_cleanup_close_ int fd = open_disk(s, i, &st, err);
	if (fd < 0)
		return -1;
	if (store_digest(s, fd, i->digest, digest, err) < 0) {
		err_prefix(err, "image '%s'", i->name);
		if (err->kind == ERR_REFUSED)
			err_hint(err, "its file was changed or damaged: put it back from a backup");
		return -1;
	}
	if (same(i, &st))
		return 0;
	if (fstat(fd, &after) < 0 || stat_mtime_ns(&after) != stat_mtime_ns(&st))
		return err_set(err, ERR_BUSY, "image '%s' is being written to", i->name);
	_cleanup_close_ int lock = store_lock(s, err);
	_cleanup_close_ int folder = lock < 0 ? -1 : store_folder_open(s, i->name, err);
	struct store_image now = *i;
	now.inode = st.st_ino;
	now.mtime_ns = stat_mtime_ns(&st);
	return folder < 0 ? -1 : store_record_write(folder, &now, err);
}

/* ---- removing ------------------------------------------------------------------------------------- */

int store_lock(const struct store *s, struct err *err)
{
	return file_lock_wait(s->dir, ".lock", err);
}

int store_hold(const struct store *s, const char *name, struct err *err)
{
	struct stat named, held;
	_cleanup_close_ int folder = store_folder_open(s, name, err);
	if (folder < 0)
		return -1;
	if (flock(folder, LOCK_SH) < 0)
		return err_errno(err, "cannot hold the image '%s'", name);
	if (fstatat(s->dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(folder, &held) == 0 &&
		named.st_ino == held.st_ino && named.st_dev == held.st_dev)
		return TAKE_FD(folder);
	return err_set(err, ERR_NOT_FOUND, "image '%s' has just been removed", name);
}

int store_claim(const struct store *s, const char *name, struct err *err)
{
	_cleanup_close_ int folder = store_folder_open(s, name, err);
	if (folder < 0)
		return -1;
	if (flock(folder, LOCK_EX | LOCK_NB) == 0)
		return TAKE_FD(folder);
	if (errno != EWOULDBLOCK)
		return err_errno(err, "cannot claim the image '%s'", name);
	err_set(err, ERR_BUSY,
		"image '%s' is in use: something that stands on it is just being made", name);
	return err_hint(err, "`roost image tree %s` shows it when it is there", name);
}

int store_remove(const struct store *s, const char *name, struct err *err)
{
	_cleanup_close_ int folder = store_folder_open(s, name, err);
	_cleanup_free_ char *trash = str_fmt(".old-%s-%d", name, (int)getpid());
	if (folder < 0)
		return -1;
	if (renameat(s->dir, name, s->dir, trash) < 0)
		return err_errno(err, "cannot remove the image '%s'", name);
	if (s->told)
		s->told(s->about, "hidden", 0, 0);
	return dir_remove(s->dir, trash, err);
}

/* A hidden folder that nobody works in: removed under its own lock. 1: it was. */
static int clean_hidden(const struct store *s, const char *name, bool look, struct err *err)
{
	struct err busy = ERR_INIT;
	_cleanup_close_ int folder = dir_open(s->dir, name, &busy);
	if (folder < 0 || flock(folder, LOCK_EX | LOCK_NB) < 0) /* it is just being removed */
		return 0;
	_cleanup_close_ int lock = file_lock(folder, "lock", &busy);
	if (lock < 0)
		return 0;
	return !look && dir_remove(s->dir, name, err) < 0 ? -1 : 1;
}

/* In an image's folder: a record that was being replaced. */
static int clean_image(const struct store *s, const char *name, bool look, struct err *err)
{
	_cleanup_names_ char **files = NULL;
	int removed = 0;
	_cleanup_close_ int folder = dir_open(s->dir, name, err);
	if (folder < 0 || dir_names(folder, &files, NULL, err) < 0)
		return -1;
	for (char **file = files; *file; file++)
		if (str_starts(*file, "image.json.new.") &&
			(look || unlinkat(folder, *file, 0) == 0))
			removed = 1;
	return removed;
}

/* A pull tells there what it has begun (images/fetch.h), for the next one to go on from. */
static bool is_begun(const struct store *s, const char *hidden)
{
	_cleanup_free_ char *path = str_fmt("%s/fetch.json", hidden);
	return faccessat(s->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void store_sweep(const struct store *s, const char *except)
{
	int copy = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		cleanup_close(&copy);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		struct err ignored = ERR_INIT;
		if (str_starts(e->d_name, ".old-") ||
			(str_starts(e->d_name, ".new-") && !str_eq(e->d_name, except) &&
				!is_begun(s, e->d_name)))
			clean_hidden(s, e->d_name, false, &ignored);
	}
	closedir(d);
}

int store_clean(const struct store *s, bool look, void (*removed)(void *about, const char *name),
	void *about, struct err *err)
{
	_cleanup_close_ int lock = store_lock(s, err);
	if (lock < 0)
		return -1;
	int copy = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	int result = 0;
	if (!d) {
		cleanup_close(&copy);
		return err_errno(err, "cannot list the store");
	}
	for (struct dirent *e; result >= 0 && (e = readdir(d));) {
		bool hidden = str_starts(e->d_name, ".new-") || str_starts(e->d_name, ".old-");
		if (e->d_name[0] == '.' && !hidden)
			continue;
		result = hidden ? clean_hidden(s, e->d_name, look, err)
				: clean_image(s, e->d_name, look, err);
		if (result > 0 && removed)
			removed(about, e->d_name);
	}
	closedir(d);
	return result < 0 ? -1 : 0;
}
