#include "base/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

static int open_folder(const char *path, char **name, struct err *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder =
		slash ? strndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	struct stat st;
	/* not dir_open(): the caller's own path may lead over symbolic links */
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*name = xstrdup(slash ? slash + 1 : path);
	if (dir < 0)
		return err_errno(err, "cannot open the folder '%s'", folder);
	if (!**name)
		return err_set(err, ERR_USAGE, "'%s' is a folder, not a file", path);
	if (fstatat(dir, *name, &st, 0) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "'%s' is there, and not a regular file", path);
	return TAKE_FD(dir);
}

int new_file_begin(struct new_file *f, const char *path, struct err *err)
{
	f->dir = open_folder(path, &f->name, err);
	if (f->dir < 0)
		return -1;
	f->temporary = str_fmt("%s.new.%d", f->name, (int)getpid());
	f->fd = openat(f->dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (f->fd >= 0)
		return 0;
	f->fd = openat(
		f->dir, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	f->named = f->fd >= 0;
	return f->named ? 0 : err_errno(err, "cannot write '%s'", path);
}

static int give_name(const struct new_file *f, const char *name)
{
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, self, f->dir, name, AT_SYMLINK_FOLLOW);
}

static int name_over(struct new_file *f)
{
	if (!f->named && give_name(f, f->temporary) < 0)
		return -1;
	f->named = true;
	if (renameat(f->dir, f->temporary, f->dir, f->name) < 0)
		return -1;
	f->named = false;
	return 0;
}

static int name_beside(struct new_file *f)
{
	if (!f->named)
		return give_name(f, f->name);
	if (renameat2(f->dir, f->temporary, f->dir, f->name, RENAME_NOREPLACE) == 0) {
		f->named = false;
		return 0;
	}
	/* NFS has no such flag; the temporary name goes at the end */
	return errno == EINVAL ? linkat(f->dir, f->temporary, f->dir, f->name, 0) : -1;
}

int new_file_commit(struct new_file *f, bool replaces, struct err *err)
{
	if (fsync(f->fd) < 0)
		return err_errno(err, "cannot write '%s'", f->name);
	if ((replaces ? name_over(f) : name_beside(f)) < 0)
		return errno == EEXIST ? err_set(err, ERR_REFUSED, "'%s' exists already", f->name)
				       : err_errno(err, "cannot name '%s'", f->name);
	return fsync(f->dir) < 0 ? err_errno(err, "cannot flush the folder of '%s'", f->name) : 0;
}

void new_file_leave_name(struct new_file *f)
{
	if (f->named)
		unlinkat(f->dir, f->temporary, 0);
	f->named = false;
}

void new_file_end(struct new_file *f)
{
	new_file_leave_name(f);
	cleanup_close(&f->fd);
	cleanup_close(&f->dir);
	free(f->name);
	free(f->temporary);
}
