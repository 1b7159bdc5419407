#include "orchestrator/bases.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"

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
