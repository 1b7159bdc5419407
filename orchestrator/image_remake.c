#include "orchestrator/image_remake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/failpoint.h"

static int lock(struct remake *r, struct err *err)
{
	if (disk_lock(r->from, r->path, true, err) < 0)
		return -1;
	r->temporary = str_fmt(".%.240s.roost-new", r->name);
	unlinkat(r->dir, r->temporary, 0); /* nobody's: we have the lock */
	return 0;
}

int remake_begin(struct remake *r, const char *path, struct err *err)
{
	r->path = realpath(path, NULL);
	if (!r->path)
		return err_errno(err, "cannot open the image '%s'", path);
	r->name = strrchr(r->path, '/') + 1;
	r->from = image_open(r->path, &r->st, err);
	if (r->from < 0)
		return -1;
	if (access(r->path, W_OK) < 0)
		return err_errno(err, "cannot write to '%s'", path);
	if (r->st.st_nlink > 1) {
		err_set(err, ERR_REFUSED,
			"'%s' has %lu names in its file system: only one of them would be changed",
			path, (unsigned long)r->st.st_nlink);
		return err_hint(err, "give it a file of its own: cp %s COPY", path);
	}
	_cleanup_free_ char *folder = strndup(r->path, (size_t)(r->name - r->path));
	r->dir = dir_open(AT_FDCWD, folder, err);
	return r->dir < 0 ? -1 : lock(r, err);
}

int remake_begin_own(struct remake *r, int dir, const char *name, int fd, struct err *err)
{
	r->path = xstrdup(name);
	r->name = r->path;
	r->dir = dup(dir);
	r->from = dup(fd);
	if (r->dir < 0 || r->from < 0 || fstat(r->from, &r->st) < 0)
		return err_errno(err, "cannot look at '%s'", name);
	return lock(r, err);
}

static int open_fresh(struct remake *r, struct err *err)
{
	/* without a name it goes with us, however we end; not every file system can */
	r->fresh = openat(r->dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (r->fresh < 0) {
		r->fresh = openat(r->dir, r->temporary,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		r->named = r->fresh >= 0;
	}
	return r->fresh < 0 ? err_errno(err, "cannot make a copy of '%s' beside it", r->path) : 0;
}

int remake_copy(struct remake *r, image_told_fn *told, void *about, struct err *err)
{
	failpoint("remake-locked");
	if (open_fresh(r, err) < 0)
		return -1;
	if (image_copy(r->from, r->fresh, told, about, err) < 0)
		return err_prefix(err, "copying '%s'", r->path);
	failpoint("remake-copied");
	return 0;
}

static int check_still_there(const struct remake *r, struct err *err)
{
	struct stat st;
	if (fstatat(r->dir, r->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == r->st.st_ino &&
		st.st_dev == r->st.st_dev)
		return 0;
	return err_set(err, ERR_BUSY, "'%s' was replaced at this moment", r->path);
}

static int give_name(struct remake *r, struct err *err)
{
	char self[32];
	if (r->named)
		return 0;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", r->fresh);
	if (linkat(AT_FDCWD, self, r->dir, r->temporary, AT_SYMLINK_FOLLOW) < 0)
		return err_errno(err, "cannot name the new '%s'", r->path);
	r->named = true;
	return 0;
}

int remake_settle(struct remake *r, struct err *err)
{
	failpoint("remake-made");
	if ((fchown(r->fresh, r->st.st_uid, r->st.st_gid) < 0 && geteuid() == 0) ||
		fchmod(r->fresh, r->st.st_mode & 07777) < 0)
		return err_errno(err, "cannot make the new '%s' its owner's", r->path);
	if (fsync(r->fresh) < 0)
		return err_errno(err, "cannot flush the new '%s'", r->path);
	if (check_still_there(r, err) < 0 || give_name(r, err) < 0)
		return -1;
	failpoint("remake-named");
	if (renameat(r->dir, r->temporary, r->dir, r->name) < 0)
		return err_errno(err, "cannot replace '%s'", r->path);
	r->named = false;
	fsync(r->dir);
	failpoint("remake-settled");
	return 0;
}

void remake_end(struct remake *r)
{
	if (r->named)
		unlinkat(r->dir, r->temporary, 0);
	cleanup_close(&r->fresh);
	cleanup_close(&r->from);
	cleanup_close(&r->dir);
	free(r->path);
	free(r->temporary);
}
