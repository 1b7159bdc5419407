#include "orchestrator/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "orchestrator/paths.h"

#define LOCK "lock"

/*
 * Of the process, not of the open file description as file_lock()'s: the kernel tells whose it is, and a child that
 * outlives us for a moment does not hold it.
 */
static struct flock whole(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

static int busy(int fd, const char *guest, short type, struct err *err)
{
	struct flock its = whole(type);
	bool known = fcntl(fd, F_GETLK, &its) == 0 && its.l_type != F_UNLCK && its.l_pid > 0;
	if (known)
		err_set(err, ERR_BUSY, "guest '%s' is busy: process %d is at work on it", guest,
			(int)its.l_pid);
	else
		err_set(err, ERR_BUSY, "guest '%s' is busy: a process is at work on it", guest);
	return err_hint(err, "try again when it is done");
}

/* Its folder is its keeper's, who may have put anything there: it is only locked. */
static int open_lock(int dir, bool shared)
{
	int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = openat(dir, LOCK, flags | O_RDWR | O_CREAT, 0640);
	/* a member of the group may read there, and not write */
	return fd < 0 && shared ? openat(dir, LOCK, flags | O_RDONLY) : fd;
}

int claim_take(const char *guest, bool shared, struct err *err)
{
	struct flock ours = whole(shared ? F_RDLCK : F_WRLCK);
	_cleanup_close_ int dir = guest_dir_open(guest, err);
	_cleanup_close_ int fd = dir < 0 ? -1 : open_lock(dir, shared);
	if (dir < 0)
		return -1;
	if (fd < 0)
		return err_errno(err, "cannot open '" LOCK "' of guest '%s'", guest);
	if (fcntl(fd, F_SETLK, &ours) == 0)
		return TAKE_FD(fd);
	if (errno == EAGAIN || errno == EACCES)
		return busy(fd, guest, ours.l_type, err);
	return err_errno(err, "cannot lock guest '%s'", guest);
}

int claim_check(int dir, const char *guest, struct err *err)
{
	struct flock its = whole(F_WRLCK);
	_cleanup_close_ int fd =
		openat(dir, LOCK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fcntl(fd, F_GETLK, &its) < 0 || its.l_type == F_UNLCK)
		return 0;
	return busy(fd, guest, F_WRLCK, err);
}
