#include "orchestrator/ssh_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/ssh_report.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

void copy_alive(const struct copy *c)
{
	watch_move(deadline_in(c->params->stall_ms));
}

static int too_deep(const char *name, struct err *err)
{
	return err_set(
		err, ERR_REFUSED, "'%s' lies more than %d folders deep", name, COPY_DEPTH_MAX);
}

/* ---- to the guest ------------------------------------------------------------------------------ */

static int push_folder(
	struct far *f, int fd, const char *name, const struct stat *st, struct err *err);

/* Something in a tree: regular files and folders go, links and devices are left out. */
static int push_entry(struct far *f, int dir, const char *name, struct err *err)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, "cannot read '%s'", name);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		progress_note(name, S_ISLNK(st.st_mode) ? "is a symbolic link: left out"
							: "is not a regular file: left out");
		return 0;
	}
	_cleanup_close_ int fd = outgoing_open(dir, name, &st, err);
	if (fd < 0)
		return -1;
	return S_ISDIR(st.st_mode) ? push_folder(f, fd, name, &st, err)
				   : f->ops->push_file(f, name, fd, &st, err);
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int push_folder(
	struct far *f, int fd, const char *name, const struct stat *st, struct err *err)
{
	_cleanup_(cleanup_dir) DIR *entries = fdopendir(dup(fd));
	if (!entries)
		return err_errno(err, "cannot read the folder '%s'", name);
	if (f->depth >= COPY_DEPTH_MAX)
		return too_deep(name, err);
	if (f->ops->push_enter(f, name, st, err) < 0)
		return -1;
	for (struct dirent *e = readdir(entries); e; e = readdir(entries)) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (push_entry(f, fd, e->d_name, err) < 0)
			return -1;
	}
	return f->ops->push_leave(f, st, err);
}

/* The last component of a local path, made real for "." and "..". NULL for "/". */
static char *local_name(const char *path)
{
	_cleanup_free_ char *real = NULL;
	for (;;) {
		size_t end = strlen(path);
		while (end > 1 && path[end - 1] == '/')
			end--;
		size_t start = end;
		while (start && path[start - 1] != '/')
			start--;
		_cleanup_free_ char *name = str_fmt("%.*s", (int)(end - start), path + start);
		if (*name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			return TAKE(name);
		if (real || !(real = realpath(path, NULL)))
			return NULL;
		path = real;
	}
}

static int push(struct far *f, const char *path, struct err *err)
{
	struct stat st;
	_cleanup_free_ char *name = local_name(path);
	_cleanup_close_ int fd = outgoing_open(AT_FDCWD, path, &st, err);
	if (fd < 0)
		return -1;
	if (!name)
		return err_set(err, ERR_USAGE, "'%s' has no name to give to the copy", path);
	if (S_ISREG(st.st_mode))
		return f->ops->push_file(f, name, fd, &st, err);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is not a regular file", path);
	if (!f->copy->params->recursive) {
		err_set(err, ERR_USAGE, "'%s' is a folder", path);
		return err_hint(err, "copy it with --recursive");
	}
	return push_folder(f, fd, name, &st, err);
}

/* ---- from the guest ---------------------------------------------------------------------------- */

/* "~/x" is "x": SFTP and scp both start in the user's home. */
static const char *in_home(const char *path)
{
	if (strcmp(path, "~") == 0 || strcmp(path, "~/") == 0 || !*path)
		return ".";
	return str_starts(path, "~/") ? path + 2 : path;
}

static int pull(struct far *f, const char *path, int folder, const char *target, struct err *err)
{
	if (folder < 0)
		return f->ops->pull(f, path, AT_FDCWD, target, err);
	size_t end = strlen(path);
	while (end > 1 && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start && path[start - 1] != '/')
		start--;
	_cleanup_free_ char *name = str_fmt("%.*s", (int)(end - start), path + start);
	struct err ignored = ERR_INIT;
	if (peer_name_check(name, &ignored) < 0) {
		err_set(err, ERR_USAGE, "'%s' has no name to give to the copy", path);
		return err_hint(err, "name a target that does not exist yet");
	}
	return f->ops->pull(f, path, folder, name, err);
}

static int pull_all(struct far *f, struct err *err)
{
	const json_t *sources = f->copy->params->remote;
	const char *target = json_string_value(json_array_get(f->copy->params->local, 0));
	json_t *item;
	size_t i;
	_cleanup_close_ int folder = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 && (json_array_size(sources) > 1 || str_ends(target, "/")))
		return err_errno(err, "cannot copy into the folder '%s'", target);
	json_array_foreach (sources, i, item) {
		if (pull(f, in_home(json_string_value(item)), folder, target, err) < 0)
			return -1;
	}
	return 0;
}

static int push_all(struct far *f, struct err *err)
{
	json_t *item;
	size_t i;
	json_array_foreach (f->copy->params->local, i, item) {
		if (push(f, json_string_value(item), err) < 0)
			return -1;
	}
	return 0;
}

/* ---- both -------------------------------------------------------------------------------------- */

static int copy_all(struct copy *c, struct err *err)
{
	bool absent = false;
	copy_alive(c);
	struct far *f = far_sftp(c, &absent, err);
	if (!f && absent)
		f = far_scp(c, err);
	if (!f)
		return -1;
	int rc = c->params->direction == COPY_TO ? push_all(f, err) : pull_all(f, err);
	const char *protocol = f->ops->protocol;
	f->ops->end(f);
	if (rc == 0)
		report(json_pack("{s:s, s:I, s:I, s:s}", "state", "copied", "files",
			(json_int_t)c->progress.files_done, "bytes",
			(json_int_t)c->progress.bytes_done, "protocol", protocol));
	return rc;
}

int copy(const struct remote *r, const struct copy_params *p)
{
	struct err err = ERR_INIT;
	enum reason why;
	_cleanup_session_ struct session *s = session_open(r, &why, &err);
	if (!s)
		return report_error(&err);
	struct copy c = {.session = s, .params = p};
	if (p->direction == COPY_TO)
		c.target = xstrdup(in_home(json_string_value(json_array_get(p->remote, 0))));
	int rc = copy_all(&c, &err);
	free(c.target);
	free(c.progress.file);
	if (rc == 0)
		return 0;
	int status = report_error(&err);
	return watch_signal() ? 128 + watch_signal() : status;
}
