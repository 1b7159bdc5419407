#include "orchestrator/bases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/paths.h"

enum { WRITE_BITS = 0222 };

static bool is_frozen(const struct stat *st)
{
	return S_ISREG(st->st_mode) && !(st->st_mode & WRITE_BITS);
}

bool base_is_frozen(int guest_dir, const char *file)
{
	struct stat st;
	return fstatat(guest_dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_frozen(&st);
}

int base_open_own(int guest_dir, const char *file, int flags, uid_t keeper, struct err *err)
{
	struct stat st;
	if (fstatat(guest_dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !is_frozen(&st))
		return file_open_owned(guest_dir, file, flags, keeper, err);
	if ((flags & O_ACCMODE) != O_RDONLY)
		return err_set(err, ERR_REFUSED,
			"'%s' is what clones stand on: nobody writes to it any more", file);
	/* root's, that is: a keeper has no way to those of other guests, nor a link to them */
	_cleanup_close_ int fd =
		file_open_owned(guest_dir, file, flags, st.st_uid ? keeper : 0, err);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !is_frozen(&st))
		return err_set(err, ERR_BUSY, "'%s' was replaced at this moment", file);
	return TAKE_FD(fd);
}

/* ---- $STATE/bases ---------------------------------------------------------------------------------- */

int bases_lock(struct err *err)
{
	const char *state = paths_state(err);
	if (!state)
		return -1;
	_cleanup_free_ char *folder = str_fmt("%s/bases", state);
	_cleanup_close_ int dir = dir_make_shared(folder, err);
	return dir < 0 ? -1 : file_lock_wait(dir, "lock", err);
}

char *base_path(const char *id, const char *file, struct err *err)
{
	const char *state = paths_state(err);
	return state ? str_fmt("%s/bases/%s/%s", state, id, file) : NULL;
}

bool base_of_path(const char *path, char id[13], const char **file)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *folder = str_fmt("%s/bases/", paths_state(&ignored));
	size_t len = strlen(folder);
	if (!str_starts(path, folder) || strlen(path) < len + 14 || path[len + 12] != '/' ||
		strcspn(path + len, "/") != 12 || strchr(path + len + 13, '/'))
		return false;
	snprintf(id, 13, "%.12s", path + len);
	*file = path + len + 13;
	return true;
}

static bool is_same(int dir, const char *file, int fd)
{
	struct stat there, st;
	return fstatat(dir, file, &there, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &st) == 0 &&
	       there.st_ino == st.st_ino && there.st_dev == st.st_dev;
}

int base_freeze(const char *id, const char *file, int fd, struct err *err)
{
	_cleanup_free_ char *folder = str_fmt("%s/bases/%s", paths_state(err), id);
	_cleanup_free_ char *self = str_fmt("/proc/self/fd/%d", fd);
	_cleanup_close_ int dir = dir_make_shared(folder, err);
	if (dir < 0)
		return -1;
	if (linkat(AT_FDCWD, self, dir, file, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
		return err_errno(err, "cannot make '%s' a base", file);
	if (!is_same(dir, file, fd))
		return err_set(err, ERR_REFUSED, "'%s/%s' is another file already", folder, file);
	/* read-only before it is root's, and after: while it was the keeper's he could undo that */
	if (fchmod(fd, 0444) < 0 || (geteuid() == 0 && fchown(fd, 0, (gid_t)-1) < 0) ||
		fchmod(fd, 0444) < 0)
		return err_errno(err, "cannot freeze '%s'", file);
	return 0;
}
