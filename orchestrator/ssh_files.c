#include "orchestrator/ssh_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/ssh_report.h"
#include "orchestrator/ssh_words.h"

enum { TELL_MS = 200 };

/* ---- progress ---------------------------------------------------------------------------------- */

static char *shown(const char *name)
{
	return text_shown(name, strlen(name));
}

static void tell(struct progress *p)
{
	p->last_told = clock_ms();
	report(json_pack("{s:s, s:I, s:I}", "file", p->file, "bytes", (json_int_t)p->bytes, "total",
		(json_int_t)p->total));
}

void progress_begin(struct progress *p, const char *file, uint64_t total)
{
	free(p->file);
	p->file = shown(file);
	p->bytes = 0;
	p->total = total;
}

void progress_add(struct progress *p, uint64_t bytes)
{
	p->bytes += bytes;
	if (clock_ms() - p->last_told >= TELL_MS)
		tell(p);
}

void progress_end(struct progress *p)
{
	p->files_done++;
	p->bytes_done += p->bytes;
	if (clock_ms() - p->last_told >= TELL_MS)
		tell(p);
}

void progress_note(const char *file, const char *text)
{
	_cleanup_free_ char *name = shown(file);
	_cleanup_free_ char *note = str_fmt("'%s' %s", name, text);
	report(json_pack("{s:s}", "note", note));
}

/* ---- in ---------------------------------------------------------------------------------------- */

static int fail(const char *what, const char *name, struct err *err)
{
	int number = errno;
	_cleanup_free_ char *text = shown(name);
	errno = number;
	if (number == EACCES || number == EPERM)
		return err_set(
			err, ERR_REFUSED, "cannot %s '%s': %s", what, text, strerror(number));
	return err_errno(err, "cannot %s '%s'", what, text);
}

/* In the same folder as `name`, which may be a path: renaming must not cross file systems. */
static char *temporary_path(const struct incoming *in)
{
	const char *slash = strrchr(in->name, '/');
	return str_fmt("%.*s%s", slash ? (int)(slash - in->name) + 1 : 0, in->name, in->temporary);
}

static int open_temporary(struct incoming *in)
{
	static unsigned count;
	for (int i = 0; i < 100; i++) {
		snprintf(in->temporary, sizeof(in->temporary), ".roost-%d-%u.part", (int)getpid(),
			++count);
		_cleanup_free_ char *path = temporary_path(in);
		int fd = openat(
			in->dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

int incoming_open(struct incoming *in, int dir, const char *name, struct err *err)
{
	struct stat st;
	/* a rename would put a file in the place of /dev/null */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode) &&
		!S_ISLNK(st.st_mode)) {
		_cleanup_free_ char *text = shown(name);
		return err_set(err, ERR_REFUSED, "'%s' exists and is %s", text,
			S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
	}
	struct incoming new = {.dir = dir, .fd = -1, .name = xstrdup(name)};
	new.fd = open_temporary(&new);
	if (new.fd < 0) {
		free(new.name);
		return fail("write", name, err);
	}
	*in = new;
	return 0;
}

int incoming_write(struct incoming *in, const void *data, size_t len, struct err *err)
{
	return write_all(in->fd, data, len) < 0 ? fail("write", in->name, err) : 0;
}

static mode_t without_umask(mode_t mode)
{
	mode_t mask = umask(0);
	umask(mask);
	return mode & 0777 & ~mask;
}

static void set_facts(int fd, const struct file_facts *f, mode_t mode)
{
	struct timespec times[2] = {{.tv_sec = f->accessed}, {.tv_sec = f->modified}};
	/* never setuid: a guest's root must not leave a program of the host's root */
	fchmod(fd, f->keep ? f->mode & 0777 : mode);
	if (f->keep)
		futimens(fd, times);
}

int incoming_finish(struct incoming *in, const struct file_facts *facts, struct err *err)
{
	struct stat old;
	bool replaces =
		fstatat(in->dir, in->name, &old, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(old.st_mode);
	_cleanup_free_ char *path = temporary_path(in);
	set_facts(in->fd, facts, replaces ? old.st_mode & 0777 : without_umask(facts->mode));
	/* some file systems tell only now that there was no space */
	if (close(TAKE_FD(in->fd)) < 0 || renameat(in->dir, path, in->dir, in->name) < 0)
		return fail("write", in->name, err);
	in->temporary[0] = '\0';
	return 0;
}

void incoming_drop(struct incoming *in)
{
	if (in->temporary[0]) {
		_cleanup_free_ char *path = temporary_path(in);
		unlinkat(in->dir, path, 0);
	}
	cleanup_close(&in->fd);
	free(in->name);
	*in = INCOMING_NONE;
}

/* ---- folders ----------------------------------------------------------------------------------- */

int folder_enter(int dir, const char *name, bool *made, struct err *err)
{
	bool new = mkdirat(dir, name, 0700) == 0;
	if (!new &&errno != EEXIST)
		return fail("make the folder", name, err);
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail("open the folder", name, err);
	*made = new;
	return fd;
}

void folder_finish(int fd, bool made, const struct file_facts *facts)
{
	if (made || facts->keep)
		set_facts(fd, facts, without_umask(facts->mode));
}

/* ---- out --------------------------------------------------------------------------------------- */

int outgoing_open(int dir, const char *name, struct stat *st, struct err *err)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, st) < 0)
		return fail("read", name, err);
	return TAKE_FD(fd);
}
