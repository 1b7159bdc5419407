/*
 * Files and folders: read with a bound, replaced whole, locked, removed.
 *
 * All names are relative to `dir_fd` (AT_FDCWD for a path). New files are 0640 less the umask, which
 * so decides whether a group may read them: 007 yes, 077 no. Others never may.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* Appends the file's content to *out. More than `max` bytes, or not a regular file, is an error. */
int file_read(int dir_fd, const char *name, size_t max, struct buf *out, struct err *err);
/* The same of a file that is open already; -1: the opening failed, and errno says why. */
int file_read_open(int fd, const char *name, size_t max, struct buf *out, struct err *err);
/* The same of whatever it is, a pipe too, to its end: waits for who writes. */
int fd_read(int fd, const char *name, size_t max, struct buf *out, struct err *err);
/*
 * Old content or new content, never a mixture: written beside it under a temporary name, then
 * renamed over it. `durable` adds fsync of the file and of its folder; without it the file
 * survives our death but perhaps not a loss of power.
 */
int file_replace(
	int dir_fd, const char *name, const void *data, size_t len, bool durable, struct err *err);
/* The same for a secret: 0600 whatever the umask. */
int file_replace_secret(
	int dir_fd, const char *name, const void *data, size_t len, bool durable, struct err *err);
/*
 * Removes what those have left in a folder who died while they replaced a file in it. Processes of another PID
 * namespace must not be at work there.
 */
void files_sweep(int dir);
/* Appends one line (a new line is added) with a single write; the file is made if missing. */
int file_append_line(int dir_fd, const char *name, const char *line, struct err *err);
int write_all(int fd, const void *data, size_t len);
/*
 * Opens what lies in a folder of another user's, who may have put there what he likes. ERR_REFUSED
 * unless it is a regular file and, for all but himself, that of `owner`: no symbolic link, FIFO or
 * device, and no hard link to a file that is not his.
 */
int file_open_owned(int dir_fd, const char *name, int flags, uid_t owner, struct err *err);

/* Makes a file durable that is there. */
int file_flush(int dir_fd, const char *name, struct err *err);
/* The same for all files in a folder, and the folder: together, which costs less than one by one. */
int files_flush(int dir, struct err *err);

/* A folder to work in: O_PATH is not enough for fsync, so O_RDONLY|O_DIRECTORY|O_CLOEXEC. */
int dir_open(int dir_fd, const char *name, struct err *err);
/* Makes it with `mode` if missing (its parents too), opens it. An existing one keeps its mode. */
int dir_make(const char *path, mode_t mode, struct err *err);
/* The same with mode 0750 less the umask. */
int dir_make_shared(const char *path, struct err *err);
/*
 * Asks the file system to lay the folders in this one far from each other, as +T of chattr(1) does;
 * only ext4 can, and of others nothing is asked. ext4 gives no inode anew for minutes after its file
 * was removed, and to make a file it steps over all such of the folder's block group, one by one:
 * where guests come and go by the hundred and their folders share a group, each file that a start
 * makes takes about a millisecond of CPU time.
 */
void dir_spread(int fd);
/* Removes a folder with all that is in it, following no symbolic link. Absent is success. */
int dir_remove(int dir_fd, const char *name, struct err *err);
/* The sorted names in a folder, without "." files; NULL-terminated, freed by names_free(). */
int dir_names(int dir_fd, char ***out, size_t *count, struct err *err);
void names_free(char ***names);
#define _cleanup_names_ _cleanup_(names_free)

/*
 * Opens (making it) and takes an exclusive lock. Returns the fd, whose closing releases it;
 * -1 with ERR_BUSY when someone else holds it. The lock follows the open file description, so an
 * fd handed to a child is the same lock.
 */
int file_lock(int dir_fd, const char *name, struct err *err);
/* The same, but waits for who holds it: only for locks that are held for a few writes. */
int file_lock_wait(int dir_fd, const char *name, struct err *err);
/* Is somebody holding that lock? A missing file is not locked. */
bool file_locked(int dir_fd, const char *name);

/* Is that the first byte of the file? For settings below /proc/sys and /sys. */
bool setting_is(const char *path, char value);

#endif
