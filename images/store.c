/*
 * The way into the store.
 *
 * An image is built in a hidden folder and appears by one rename. Its order is that of safety: what
 * is refused by its header is refused before anything else reads it; the file is flushed before the
 * record tells of it, and the folder before its name is seen.
 *
 * The lock lies in the hidden folder and goes with it. Who has opened the folder or the lock of one
 * that has entered meanwhile holds a lock on nothing: so whoever gets a lock looks whether it is
 * still there under its name.
 */
#include "images/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/disk_ask.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "images/store_record.h"

static void tell(const struct store *s, const char *step, int64_t done, int64_t total)
{
	if (s->told)
		s->told(s->about, step, done, total);
}

static void hidden_name(const char *name, char out[80])
{
	snprintf(out, 80, ".new-%.63s", name);
}

/* ---- beginning ------------------------------------------------------------------------------------ */

static bool still_there(const struct store *s, const char *hidden, int lock)
{
	struct stat named, held;
	_cleanup_free_ char *path = str_fmt("%s/lock", hidden);
	return fstatat(s->dir, path, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(lock, &held) == 0 &&
	       named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

/* 1: ours; 0: it has just gone, try again. */
static int take_folder(
	const struct store *s, const char *hidden, struct store_entry *e, struct err *err)
{
	if (mkdirat(s->dir, hidden, 0750) < 0 && errno != EEXIST) /* less the umask */
		return err_errno(err, "cannot make the folder of image '%s'", e->name);
	_cleanup_close_ int folder = dir_open(s->dir, hidden, err);
	_cleanup_close_ int lock = folder < 0 ? -1 : file_lock(folder, "lock", err);
	if (lock < 0 && err->kind == ERR_NOT_FOUND)
		return 0;
	if (lock < 0 && err->kind == ERR_BUSY)
		return err_set(err, ERR_BUSY, "image '%s' is just being entered by another process",
			e->name);
	if (lock < 0)
		return err_prefix(err, "image '%s'", e->name);
	if (!still_there(s, hidden, lock))
		return 0;
	e->folder = TAKE_FD(folder);
	e->lock = TAKE_FD(lock);
	return 1;
}

/* All files in it but `kept`, a list of names; the caller's own are files, too. */
static int clear_folder(int folder, const char *const kept[], struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (dir_names(folder, &names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		size_t i = 0;
		while (kept[i] && !str_eq(kept[i], *name))
			i++;
		if (!kept[i] && unlinkat(folder, *name, 0) < 0)
			return err_errno(err, "cannot remove '%s'", *name);
	}
	return 0;
}

/* What somebody left who died while it was entering goes back to where it was before. */
static int prepare_folder(int folder, bool resume, struct err *err)
{
	if (!resume)
		return clear_folder(folder, (const char *const[]){"lock", NULL}, err);
	unlinkat(folder, "image.json", 0);
	for (int qcow2 = 0; qcow2 < 2; qcow2++)
		renameat(folder, store_disk_name(qcow2), folder, "disk");
	if (fchmodat(folder, "disk", 0600, 0) < 0 && errno != ENOENT)
		return err_errno(err, "cannot go on with what is left");
	return 0;
}

int store_check_free(const struct store *s, const char *name, struct err *err)
{
	if (faccessat(s->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	err_set(err, ERR_REFUSED, "there is an image '%s' in the store already", name);
	return err_hint(err, "choose another name, or `roost image rm %s` first", name);
}

int store_begin(const struct store *s, const char *name, bool resume, struct store_entry *out,
	struct err *err)
{
	_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
	char hidden[80];
	int ours = 0;
	if (name_check(name, "image", err) < 0 || store_check_free(s, name, err) < 0)
		return -1;
	snprintf(e.name, sizeof(e.name), "%s", name);
	hidden_name(name, hidden);
	store_sweep(s, hidden);
	while (ours == 0)
		ours = take_folder(s, hidden, &e, err);
	if (ours < 0)
		return -1;
	if (store_check_free(s, name, err) < 0) { /* it has just entered */
		store_drop(s, &e);
		return -1;
	}
	if (prepare_folder(e.folder, resume, err) < 0)
		return -1;
	e.fd = openat(e.folder, "disk", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (e.fd < 0)
		return err_errno(err, "cannot make the file of image '%s'", name);
	*out = e;
	e = STORE_ENTRY_NONE;
	*err = (struct err)ERR_INIT; /* of a folder that had gone */
	return 0;
}

/* ---- entering ------------------------------------------------------------------------------------- */

static int check_base(const struct store *s, const struct store_wish *w, const char *what,
	const struct qcow2_info *info, struct err *err)
{
	_cleanup_store_image_ struct store_image base = {0};
	if (!w->base)
		return qcow2_may_enter(info, what, err);
	if (qcow2_may_stand(info, what, err) < 0 || store_look(s, w->base, &base, err) < 0)
		return -1;
	_cleanup_free_ char *path = store_image_path(s, &base);
	if (str_eq(info->backing, path) &&
		str_eq(info->backing_format, base.qcow2 ? "qcow2" : "raw"))
		return 0;
	return err_set(err, ERR_REFUSED, "'%s' does not stand on the image '%s', but on '%s'", what,
		w->base, info->backing);
}

/* Raw is anything if that is what it was called; else the content must be what it is taken for. */
static int check_content(const struct store *s, const struct store_entry *e,
	const struct store_wish *w, struct store_image *i, struct err *err)
{
	const char *what = w->facts && w->facts->source ? w->facts->source : e->name;
	struct image_look look;
	struct qcow2_info info = {0};
	struct stat st;
	if (fstat(e->fd, &st) < 0)
		return err_errno(err, "cannot look at '%s'", what);
	if (w->format == STORE_RAW && st.st_size > 0) {
		i->virtual_size = raw_virtual_size(&st);
		return 0;
	}
	if (w->format == STORE_BY_CONTENT && !w->base) {
		if (image_look_open(e->fd, what, &look, err) < 0)
			return -1;
		i->qcow2 = look.qcow2;
		i->virtual_size = look.virtual_size;
		return 0;
	}
	if (st.st_size == 0)
		return err_set(err, ERR_USAGE, "the image '%s' is empty", what);
	if (qcow2_read(e->fd, &info, err) < 0)
		return err_prefix(err, "'%s'", what);
	i->qcow2 = true;
	i->virtual_size = info.virtual_size;
	return check_base(s, w, what, &info, err);
}

/* From here on nobody writes to it; what is known of the file is what the record will say. */
static int seal(
	const struct store *s, const struct store_entry *e, struct store_image *i, struct err *err)
{
	struct stat st;
	mode_t mask = umask(077);
	umask(mask);
	tell(s, "flush", 0, 0);
	if (fchmod(e->fd, 0440 & ~mask) < 0 || fsync(e->fd) < 0 || fstat(e->fd, &st) < 0)
		return err_errno(err, "cannot flush the image '%s'", e->name);
	i->size = (uint64_t)st.st_size;
	i->inode = st.st_ino;
	i->mtime_ns = stat_mtime_ns(&st);
	return 0;
}

/* By one rename. Before it nothing is seen, after it all is there. */
static int appear(
	const struct store *s, struct store_entry *e, struct store_image *i, struct err *err)
{
	const char *disk = store_disk_name(i->qcow2);
	const char *const kept[] = {disk, "image.json", NULL};
	char hidden[80];
	hidden_name(e->name, hidden);
	tell(s, "record", 0, 0);
	if (renameat(e->folder, "disk", e->folder, disk) < 0)
		return err_errno(err, "cannot name the file of image '%s'", e->name);
	tell(s, "named", 0, 0);
	if (store_record_write(e->folder, i, err) < 0)
		return -1;
	tell(s, "recorded", 0, 0);
	if (clear_folder(e->folder, kept, err) < 0)
		return -1;
	if (renameat2(s->dir, hidden, s->dir, e->name, RENAME_NOREPLACE) < 0)
		return err_errno(err, "cannot enter the image '%s'", e->name);
	tell(s, "entered", 0, 0);
	e->name[0] = '\0';
	return fsync(s->dir) < 0 ? err_errno(err, "cannot flush the store") : 0;
}

static int drop_line(void *about, json_t *line, struct err *err)
{
	(void)about, (void)line, (void)err;
	return 0;
}

/* Half a file, as a copy that was interrupted leaves it, has a good header, and zeroes for a guest to find. */
static int check_whole(const struct store *s, const struct store_entry *e,
	const struct store_wish *w, const struct store_image *i, struct err *err)
{
	const struct volume_layer layer = {e->fd, true};
	if (!i->qcow2 || w->digest || !s->reader || access(s->reader, X_OK) < 0 ||
		disk_ask(s->reader, "check", &layer, 1, drop_line, NULL, err) == 0)
		return 0;
	err_prefix(err, "'%s' is damaged or cut off",
		w->facts && w->facts->source ? w->facts->source : e->name);
	return err_hint(
		err, "`roost image check` tells how much of it; copy or fetch it once more");
}

int store_enter(const struct store *s, struct store_entry *e, const struct store_wish *w,
	struct store_image *out, struct err *err)
{
	struct store_image i = {.base = (char *)w->base, .entered = time(NULL)};
	if (w->facts)
		i.facts = *w->facts;
	snprintf(i.name, sizeof(i.name), "%s", e->name);
	if (check_content(s, e, w, &i, err) < 0 || check_whole(s, e, w, &i, err) < 0 ||
		seal(s, e, &i, err) < 0 || store_digest(s, e->fd, w->digest, i.digest, err) < 0 ||
		appear(s, e, &i, err) < 0) {
		store_drop(s, e);
		return -1;
	}
	return out ? store_look(s, i.name, out, err) : 0;
}

void store_drop(const struct store *s, struct store_entry *e)
{
	struct err ignored = ERR_INIT; /* `image gc` removes it later */
	char hidden[80];
	if (!e->name[0])
		return;
	hidden_name(e->name, hidden);
	dir_remove(s->dir, hidden, &ignored);
	e->name[0] = '\0';
}

void store_entry_end(struct store_entry *e)
{
	cleanup_close(&e->fd);
	cleanup_close(&e->lock);
	cleanup_close(&e->folder);
}
