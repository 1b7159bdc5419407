#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* `step`: how much is likely to be there. */
static int read_all(
	int fd, const char *name, size_t step, size_t max, struct buf *out, struct err *err)
{
	size_t start = out->len;
	for (;;) {
		buf_reserve(out, step > max ? max + 1 : step);
		ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read '%s'", name);
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len - start > max)
			return err_set(
				err, ERR_USAGE, "'%s' is larger than %s", name, str_size(max));
		if (n == 0)
			return 0;
		step = 4096;
	}
}

int file_read_open(int fd, const char *name, size_t max, struct buf *out, struct err *err)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot read '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "'%s' is not a regular file", name);
	/* /proc files are regular and say size 0, so the size is no more than a first guess */
	size_t step = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096;
	return read_all(fd, name, step, max, out, err);
}

int fd_read(int fd, const char *name, size_t max, struct buf *out, struct err *err)
{
	return read_all(fd, name, 4096, max, out, err);
}

int file_read(int dir_fd, const char *name, size_t max, struct buf *out, struct err *err)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return file_read_open(fd, name, max, out, err);
}

int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_open_owned(int dir_fd, const char *name, int flags, uid_t owner, struct err *err)
{
	const int safe = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	_cleanup_close_ int fd = openat(dir_fd, name, (flags & ~O_TRUNC) | safe);
	struct stat st;
	if (fd < 0 && errno == ELOOP)
		return err_set(err, ERR_REFUSED, "'%s' is a symbolic link", name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is not a regular file", name);
	if ((geteuid() == 0 || geteuid() != owner) && st.st_uid != owner)
		return err_set(err, ERR_REFUSED, "'%s' belongs to uid %u, not to uid %u", name,
			(unsigned)st.st_uid, (unsigned)owner);
	/* only the opening had to be non-blocking, and nothing was to be lost by it */
	if (fcntl(fd, F_SETFL, flags & O_APPEND) < 0 || ((flags & O_TRUNC) && ftruncate(fd, 0) < 0))
		return err_errno(err, "cannot open '%s'", name);
	return TAKE_FD(fd);
}

/* Not over what is there, which may be a link that a folder's owner has put in root's way. */
static int make_anew(int dir_fd, const char *name, mode_t mode)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir_fd, name, flags, mode);
	if (fd >= 0 || errno != EEXIST || unlinkat(dir_fd, name, 0) < 0)
		return fd;
	return openat(dir_fd, name, flags, mode);
}

static int replace(int dir_fd, const char *name, const void *data, size_t len, bool durable,
	mode_t mode, struct err *err)
{
	_cleanup_free_ char *temporary = str_fmt("%s.new.%d", name, (int)getpid());
	_cleanup_close_ int fd = make_anew(dir_fd, temporary, mode);
	if (fd < 0)
		return err_errno(err, "cannot write '%s'", name);
	if (write_all(fd, data, len) < 0 || (durable && fsync(fd) < 0) ||
		renameat(dir_fd, temporary, dir_fd, name) < 0) {
		err_errno(err, "cannot write '%s'", name);
		unlinkat(dir_fd, temporary, 0);
		return -1;
	}
	if (!durable)
		return 0;
	const char *slash = strrchr(name, '/');
	_cleanup_free_ char *folder =
		slash ? strndup(name, (size_t)(slash - name) + 1) : xstrdup(".");
	_cleanup_close_ int dir = openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		return err_errno(err, "cannot flush the folder of '%s'", name);
	return 0;
}

int file_replace(
	int dir_fd, const char *name, const void *data, size_t len, bool durable, struct err *err)
{
	return replace(dir_fd, name, data, len, durable, 0640, err);
}

int file_replace_secret(
	int dir_fd, const char *name, const void *data, size_t len, bool durable, struct err *err)
{
	return replace(dir_fd, name, data, len, durable, 0600, err);
}

/* "NAME.new.PID", of a process that is no more. */
static bool is_abandoned(const char *name)
{
	const char *at = strrchr(name, '.');
	char *end = NULL;
	long pid = at ? strtol(at + 1, &end, 10) : 0;
	return pid > 0 && pid <= INT_MAX && *end == '\0' && at - name > 4 &&
	       strncmp(at - 4, ".new", 4) == 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

void files_sweep(int dir)
{
	_cleanup_names_ char **names = NULL;
	struct err ignored = ERR_INIT;
	if (dir_names(dir, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++)
		if (is_abandoned(*name))
			unlinkat(dir, *name, 0);
}

int file_flush(int dir_fd, const char *name, struct err *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_errno(err, "cannot flush '%s'", name) : 0;
}

int files_flush(int dir, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (dir_names(dir, &names, NULL, err) < 0)
		return -1;
	/* all on their way first: then one commit of the file system's journal is that of all */
	for (char **name = names; *name; name++) {
		_cleanup_close_ int fd = openat(
			dir, *name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0)
			sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	for (char **name = names; *name; name++)
		if (file_flush(dir, *name, err) < 0)
			return -1;
	return fsync(dir) < 0 ? err_errno(err, "cannot flush a folder") : 0;
}

int file_append_line(int dir_fd, const char *name, const char *line, struct err *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
	_cleanup_free_ char *text = str_fmt("%s\n", line);
	if (fd < 0 || write_all(fd, text, strlen(text)) < 0)
		return err_errno(err, "cannot append to '%s'", name);
	return 0;
}

int dir_open(int dir_fd, const char *name, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_errno(err, "cannot open the folder '%s'", name) : fd;
}

static int make_parents(const char *path, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/' || !p[1])
			continue;
		*p = '\0';
		if (mkdir(copy, 0711) < 0 && errno != EEXIST)
			return err_errno(err, "cannot make the folder '%s'", copy);
		*p = '/';
	}
	return 0;
}

static int make_folder(const char *path, mode_t mode, bool exactly, struct err *err)
{
	struct stat st;
	if (make_parents(path, err) < 0)
		return -1;
	bool made = mkdir(path, mode) == 0;
	if (!made && errno != EEXIST)
		return err_errno(err, "cannot make the folder '%s'", path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot open the folder '%s'", path);
	/* whatever the umask was; that its group goes to what is made in it comes from its parent */
	if (made && exactly &&
		(fstat(fd, &st) < 0 || fchmod(fd, mode | (st.st_mode & S_ISGID)) < 0))
		return err_errno(err, "cannot set the mode of '%s'", path);
	return TAKE_FD(fd);
}

int dir_make(const char *path, mode_t mode, struct err *err)
{
	return make_folder(path, mode, true, err);
}

int dir_make_shared(const char *path, struct err *err)
{
	return make_folder(path, 0750, false, err);
}

void dir_spread(int fd)
{
	int flags;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || flags & FS_TOPDIR_FL)
		return;
	flags |= FS_TOPDIR_FL;
	ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int remove_children(int dir_fd)
{
	int copy = dup(dir_fd);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return -1;
	int result = 0;
	for (struct dirent *e; result == 0 && (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		if (unlinkat(dir_fd, e->d_name, 0) == 0)
			continue;
		if (errno != EISDIR && errno != EPERM) {
			result = -1;
			break;
		}
		int child =
			openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		result = child < 0 ? -1 : remove_children(child);
		cleanup_close(&child);
		if (result == 0)
			result = unlinkat(dir_fd, e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
	return result;
}

int dir_remove(int dir_fd, const char *name, struct err *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || remove_children(fd) < 0 || unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
		return err_errno(err, "cannot remove the folder '%s'", name);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int dir_names(int dir_fd, char ***out, size_t *count, struct err *err)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		err_errno(err, "cannot list a folder");
		cleanup_close(&copy);
		return -1;
	}
	size_t n = 0, cap = 16;
	char **names = xcalloc(cap, sizeof(*names));
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		if (n + 2 > cap)
			names = xrealloc(names, (cap *= 2) * sizeof(*names));
		names[n++] = xstrdup(e->d_name);
	}
	closedir(d);
	names[n] = NULL;
	qsort(names, n, sizeof(*names), by_name);
	*out = names;
	if (count)
		*count = n;
	return 0;
}

void names_free(char ***names)
{
	for (char **p = *names; p && *p; p++)
		free(*p);
	free(*names);
	*names = NULL;
}

/* Open file description locks: they follow the fd into a child, and can be looked at untaken. */
static int lock_by(int dir_fd, const char *name, int command, struct err *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_errno(err, "cannot open the lock '%s'", name);
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, command, &whole) == 0)
		return TAKE_FD(fd);
	if (errno == EAGAIN || errno == EACCES)
		return err_set(err, ERR_BUSY, "the lock '%s' is held by another process", name);
	return err_errno(err, "cannot lock '%s'", name);
}

int file_lock(int dir_fd, const char *name, struct err *err)
{
	return lock_by(dir_fd, name, F_OFD_SETLK, err);
}

int file_lock_wait(int dir_fd, const char *name, struct err *err)
{
	return lock_by(dir_fd, name, F_OFD_SETLKW, err);
}

bool file_locked(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

bool setting_is(const char *path, char value)
{
	char c = '\0';
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &c, 1) == 1 && c == value;
}
