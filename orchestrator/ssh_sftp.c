/*
 * SFTP, version 3, in libssh's blocking calls. One request at a time, 32 KiB each: on the path to
 * a guest of this host a round trip costs less than the encryption.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libssh/sftp.h>

#include "base/str.h"
#include "orchestrator/ssh_copy.h"
#include "orchestrator/ssh_libssh.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { CHUNK = 32768 };

struct sftp_far {
	struct far far;
	sftp_session sftp;
	bool into;       /* the target is a folder */
	struct buf path; /* of the folder that push works in */
};

static struct sftp_far *mine(struct far *f)
{
	return (struct sftp_far *)f;
}

/* What the server answered to the last request. */
static int fail(struct sftp_far *f, const char *what, const char *path, struct err *err)
{
	static const struct {
		int code;
		enum err_kind kind;
		const char *text;
	} codes[] = {
		{SSH_FX_NO_SUCH_FILE, ERR_NOT_FOUND, "no such file or folder"},
		{SSH_FX_NO_SUCH_PATH, ERR_NOT_FOUND, "no such file or folder"},
		{SSH_FX_PERMISSION_DENIED, ERR_REFUSED, "permission denied"},
		{SSH_FX_FAILURE, ERR_QEMU, "failed (no space left, or not possible there)"},
	};
	_cleanup_free_ char *shown = text_shown(path, strlen(path));
	_cleanup_free_ char *where = str_fmt("cannot %s '%s' in the guest", what, shown);
	int code = sftp_get_error(f->sftp);
	for (size_t i = 0; ssh_is_connected(f->far.copy->session->ssh) && i < ARRAY_SIZE(codes);
		i++)
		if (codes[i].code == code)
			return err_set(err, codes[i].kind, "%s: %s", where, codes[i].text);
	enum reason why;
	return session_fail(f->far.copy->session, REASON_LOST, &why, err, where);
}

static void cleanup_attributes(sftp_attributes *a)
{
	sftp_attributes_free(*a);
}
#define _cleanup_attributes_ _cleanup_(cleanup_attributes)

static void cleanup_file(sftp_file *file)
{
	if (*file)
		sftp_close(*file);
}
#define _cleanup_file_ _cleanup_(cleanup_file)

static bool is_folder(const struct sftp_attributes_struct *a)
{
	return a && a->type == SSH_FILEXFER_TYPE_DIRECTORY;
}

/* ---- to the guest ------------------------------------------------------------------------------ */

/* Where `name` goes; freed by the caller. */
static char *child(const struct sftp_far *f, const char *name)
{
	if (f->far.depth == 0 && !f->into)
		return xstrdup(f->path.data);
	return str_fmt("%s%s%s", f->path.data, str_ends(f->path.data, "/") ? "" : "/", name);
}

static int set_facts(struct sftp_far *f, const char *path, const struct stat *st, struct err *err)
{
	struct sftp_attributes_struct a = {
		.flags = SSH_FILEXFER_ATTR_PERMISSIONS | SSH_FILEXFER_ATTR_ACMODTIME,
		.permissions = st->st_mode & 0777,
		.atime = (uint32_t)st->st_atime,
		.mtime = (uint32_t)st->st_mtime};
	if (!f->far.copy->params->preserve || sftp_setstat(f->sftp, path, &a) == 0)
		return 0;
	return fail(f, "set mode and times of", path, err);
}

static int push_data(struct sftp_far *f, sftp_file to, int fd, const char *path, struct err *err)
{
	char data[CHUNK];
	for (;;) {
		ssize_t n = read(fd, data, sizeof(data));
		if (n < 0)
			return err_errno(err, "cannot read what becomes '%s'", path);
		if (n == 0)
			return 0;
		if (sftp_write(to, data, (size_t)n) != n)
			return fail(f, "write", path, err);
		copy_alive(f->far.copy);
		progress_add(&f->far.copy->progress, (uint64_t)n);
	}
}

static int push_file(
	struct far *far, const char *name, int fd, const struct stat *st, struct err *err)
{
	struct sftp_far *f = mine(far);
	_cleanup_free_ char *path = child(f, name);
	progress_begin(&far->copy->progress, name, (uint64_t)st->st_size);
	_cleanup_file_ sftp_file to =
		sftp_open(f->sftp, path, O_WRONLY | O_CREAT | O_TRUNC, st->st_mode & 0777);
	if (!to)
		return fail(f, "write", path, err);
	if (push_data(f, to, fd, path, err) < 0)
		return -1;
	if (sftp_close(TAKE(to)) < 0)
		return fail(f, "write", path, err);
	progress_end(&far->copy->progress);
	return set_facts(f, path, st, err);
}

static int push_enter(struct far *far, const char *name, const struct stat *st, struct err *err)
{
	struct sftp_far *f = mine(far);
	_cleanup_free_ char *path = child(f, name);
	if (sftp_mkdir(f->sftp, path, (st->st_mode & 0777) | 0700) < 0) {
		struct err why = ERR_INIT;
		fail(f, "make the folder", path, &why);
		_cleanup_attributes_ sftp_attributes there = sftp_stat(f->sftp, path);
		if (!is_folder(there)) {
			*err = why;
			return -1;
		}
	}
	buf_free(&f->path);
	buf_str(&f->path, path);
	far->depth++;
	return 0;
}

static int push_leave(struct far *far, const struct stat *st, struct err *err)
{
	struct sftp_far *f = mine(far);
	int rc = set_facts(f, f->path.data, st, err);
	if (--far->depth > 0 || f->into) {
		f->path.len = (size_t)(strrchr(f->path.data, '/') - f->path.data);
		f->path.data[f->path.len] = '\0';
	}
	return rc;
}

/* ---- from the guest ---------------------------------------------------------------------------- */

static struct file_facts facts_of(const struct sftp_far *f, const struct sftp_attributes_struct *a)
{
	return (struct file_facts){.mode = a->permissions,
		.keep = f->far.copy->params->preserve,
		.modified = a->mtime,
		.accessed = a->atime};
}

static int pull_file(struct sftp_far *f, const char *path, const struct sftp_attributes_struct *a,
	int dir, const char *name, struct err *err)
{
	char data[CHUNK];
	struct file_facts facts = facts_of(f, a);
	_cleanup_(incoming_drop) struct incoming in = INCOMING_NONE;
	_cleanup_file_ sftp_file from = sftp_open(f->sftp, path, O_RDONLY, 0);
	if (!from)
		return fail(f, "read", path, err);
	if (incoming_open(&in, dir, name, err) < 0)
		return -1;
	progress_begin(&f->far.copy->progress, path, a->size);
	for (;;) {
		ssize_t n = sftp_read(from, data, sizeof(data));
		if (n < 0)
			return fail(f, "read", path, err);
		if (n == 0)
			break;
		copy_alive(f->far.copy);
		if (incoming_write(&in, data, (size_t)n, err) < 0)
			return -1;
		progress_add(&f->far.copy->progress, (uint64_t)n);
	}
	if (incoming_finish(&in, &facts, err) < 0)
		return -1;
	progress_end(&f->far.copy->progress);
	return 0;
}

static int pull_folder(struct sftp_far *f, const char *path, const struct sftp_attributes_struct *a,
	int dir, const char *name, int depth, struct err *err);

static int pull_entry(struct sftp_far *f, const char *folder,
	const struct sftp_attributes_struct *a, int dir, int depth, struct err *err)
{
	if (peer_name_check(a->name, err) < 0)
		return -1;
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, a->name);
	switch (a->type) {
	case SSH_FILEXFER_TYPE_REGULAR:
		return pull_file(f, path, a, dir, a->name, err);
	case SSH_FILEXFER_TYPE_DIRECTORY:
		return pull_folder(f, path, a, dir, a->name, depth, err);
	case SSH_FILEXFER_TYPE_SYMLINK:
		progress_note(path, "is a symbolic link: left out");
		return 0;
	default:
		progress_note(path, "is not a regular file: left out");
		return 0;
	}
}

static void cleanup_folder(sftp_dir *d)
{
	if (*d)
		sftp_closedir(*d);
}

static int pull_folder(struct sftp_far *f, const char *path, const struct sftp_attributes_struct *a,
	int dir, const char *name, int depth, struct err *err)
{
	struct file_facts facts = facts_of(f, a);
	bool made;
	if (depth >= COPY_DEPTH_MAX)
		return err_set(err, ERR_REFUSED, "the guest's tree is over %d folders deep",
			COPY_DEPTH_MAX);
	_cleanup_(cleanup_folder) sftp_dir from = sftp_opendir(f->sftp, path);
	if (!from)
		return fail(f, "read the folder", path, err);
	_cleanup_close_ int to = folder_enter(dir, name, &made, err);
	if (to < 0)
		return -1;
	for (;;) {
		_cleanup_attributes_ sftp_attributes entry = sftp_readdir(f->sftp, from);
		copy_alive(f->far.copy);
		if (!entry)
			break;
		if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0 &&
			pull_entry(f, path, entry, to, depth + 1, err) < 0)
			return -1;
	}
	if (!sftp_dir_eof(from))
		return fail(f, "read the folder", path, err);
	folder_finish(to, made, &facts);
	return 0;
}

static int pull(struct far *far, const char *path, int dir, const char *name, struct err *err)
{
	struct sftp_far *f = mine(far);
	_cleanup_attributes_ sftp_attributes a = sftp_stat(f->sftp, path);
	if (!a)
		return fail(f, "read", path, err);
	if (a->type == SSH_FILEXFER_TYPE_REGULAR)
		return pull_file(f, path, a, dir, name, err);
	if (!is_folder(a))
		return err_set(err, ERR_REFUSED, "'%s' in the guest is not a regular file", path);
	if (!far->copy->params->recursive) {
		err_set(err, ERR_USAGE, "'%s' in the guest is a folder", path);
		return err_hint(err, "copy it with --recursive");
	}
	return pull_folder(f, path, a, dir, name, 0, err);
}

/* ---- beginning and end ------------------------------------------------------------------------- */

static void end(struct far *far)
{
	struct sftp_far *f = mine(far);
	sftp_free(f->sftp);
	buf_free(&f->path);
	free(f);
}

/* What the target is, before anything is written. */
static int find_target(struct sftp_far *f, struct err *err)
{
	const struct copy *c = f->far.copy;
	_cleanup_attributes_ sftp_attributes there = sftp_stat(f->sftp, c->target);
	f->into = is_folder(there);
	if (!f->into && (json_array_size(c->params->local) > 1 || str_ends(c->target, "/")))
		return err_set(err, there ? ERR_REFUSED : ERR_NOT_FOUND,
			"the folder '%s' does not exist in the guest", c->target);
	buf_str(&f->path, c->target);
	return 0;
}

static const struct far_ops sftp_ops = {"sftp", push_file, push_enter, push_leave, pull, end};

/* libssh's SFTP knows blocking calls only; its own time-out is for what the watch cannot end. */
static void set_blocking(const struct copy *c)
{
	long seconds = (long)(c->params->stall_ms / 1000) + 2;
	ssh_options_set(c->session->ssh, SSH_OPTIONS_TIMEOUT, &seconds);
	ssh_set_blocking(c->session->ssh, 1);
}

struct far *far_sftp(struct copy *c, bool *absent, struct err *err)
{
	ssh_session ssh = c->session->ssh;
	set_blocking(c);
	sftp_session sftp = sftp_new(ssh);
	if (!sftp || sftp_init(sftp) < 0) {
		enum reason why;
		session_fail(c->session, REASON_LOST, &why, err, "SFTP");
		*absent = ssh_is_connected(ssh) && !watch_expired() && !watch_signal();
		if (sftp)
			sftp_free(sftp);
		ssh_set_blocking(ssh, 0);
		return NULL;
	}
	struct sftp_far *f = xcalloc(1, sizeof(*f));
	*f = (struct sftp_far){.far = {&sftp_ops, c, 0}, .sftp = sftp};
	if (c->params->direction == COPY_TO && find_target(f, err) < 0) {
		end(&f->far);
		return NULL;
	}
	return &f->far;
}
