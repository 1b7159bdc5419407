#include "orchestrator/lineage.h"

#include <assert.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/chain.h"
#include "images/image.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/paths.h"
#include "orchestrator/store_open.h"

static_assert((int)LINEAGE_MAX == CHAIN_MAX - 1, "a chain and a lineage have the same depth");

/* ---- its keys in guest.json ------------------------------------------------------------------------ */

static int check_link_path(const char *text, const struct node *n, struct err *err)
{
	return text[0] == '/' ? 0 : check_own_file(text, n, err);
}

static int read_whole(const struct node *n, int64_t *out, struct err *err)
{
	if (n->kind != NODE_NUMBER)
		return node_error(n, err, "a whole number is wanted");
	*out = n->number;
	return 0;
}

static int read_inode(const struct node *n, void *base, struct err *err)
{
	int64_t inode = 0;
	if (read_whole(n, &inode, err) < 0)
		return -1;
	((struct lineage_link *)base)->inode = (uint64_t)inode;
	return 0;
}

static json_t *write_inode(const void *base)
{
	return json_integer((json_int_t)((const struct lineage_link *)base)->inode);
}

static int read_mtime(const struct node *n, void *base, struct err *err)
{
	return read_whole(n, &((struct lineage_link *)base)->mtime_ns, err);
}

static json_t *write_mtime(const void *base)
{
	return json_integer(((const struct lineage_link *)base)->mtime_ns);
}

static const char *const format_names[FORMAT_MAX] = {
	[FORMAT_RAW] = "raw", [FORMAT_QCOW2] = "qcow2"};
static const struct words format_words = WORDS(format_names);

#define AT(member) .offset = offsetof(struct lineage_link, member)
static const struct key link_rows[] = {
	{"path", KEY_TEXT, KEY_REQUIRED, AT(path), .check = check_link_path},
	{"format", KEY_WORD, KEY_REQUIRED, AT(format), .words = &format_words},
	{"digest", KEY_TEXT, AT(digest)},
	{"commit", KEY_TEXT, AT(commit)},
	{"size", KEY_SIZE, KEY_REQUIRED, AT(size)},
	{"inode", KEY_OWN, KEY_REQUIRED, .read = read_inode, .write = write_inode},
	{"mtime_ns", KEY_OWN, KEY_REQUIRED, .read = read_mtime, .write = write_mtime},
};
#undef AT
const struct keys link_keys = {link_rows, ARRAY_SIZE(link_rows), NULL, NULL};

/* ---- recording ------------------------------------------------------------------------------------- */

struct lineage_link *lineage_grow(struct disk_def *d)
{
	d->lineage = xrealloc(d->lineage, (d->lineage_count + 1) * sizeof(*d->lineage));
	return &d->lineage[d->lineage_count++];
}

void lineage_drop(struct disk_def *d)
{
	for (size_t i = 0; i < d->lineage_count; i++)
		keys_drop(&link_keys, &d->lineage[i]);
	free(d->lineage);
	d->lineage = NULL;
	d->lineage_count = 0;
	d->lineage_known = false;
}

void lineage_stand_alone(struct disk_def *d, uint64_t size)
{
	if (d->source == DISK_IMAGE) {
		free(TAKE(d->path));
		d->source = DISK_BLANK;
		d->format = FORMAT_NONE;
		d->size = size;
	}
	lineage_drop(d);
	d->lineage_known = true;
}

void lineage_add(struct disk_def *d, const struct disk_def *from)
{
	for (size_t i = 0; i < from->lineage_count && d->lineage_count < LINEAGE_MAX; i++) {
		struct lineage_link *link = lineage_grow(d);
		*link = from->lineage[i];
		link->path = xstrdup(from->lineage[i].path);
		link->digest = xstrdup(from->lineage[i].digest);
		link->commit = xstrdup(from->lineage[i].commit);
	}
}

void lineage_take(struct disk_def *d, const struct disk_def *from)
{
	lineage_drop(d);
	lineage_add(d, from);
	d->lineage_known = from->lineage_known;
}

/* The digest of an image of the store, if it is one, and still the one that entered. */
static int store_digest_of(const char *path, char **digest, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	struct err none = ERR_INIT;
	char name[64];
	if (store_open(&s, &none) < 0 || !store_name_of_path(&s, path, name))
		return 0;
	if (store_look(&s, name, &i, err) < 0 || store_check(&s, &i, err) < 0)
		return -1;
	*digest = xstrdup(i.digest);
	return 0;
}

/* What chain_resolve() found at and below `path`, from the link number `first` on. */
static int record_chain(
	struct disk_def *d, const char *path, bool qcow2, size_t first, struct err *err)
{
	_cleanup_(chain_free) struct chain c = {0};
	if (chain_resolve(path, qcow2, &c, err) < 0)
		return -1;
	if (c.count - first > LINEAGE_MAX)
		return err_set(
			err, ERR_REFUSED, "'%s' stands on more than %d files", path, LINEAGE_MAX);
	for (size_t i = first; i < c.count; i++) {
		const struct chain_link *from = &c.links[i];
		struct lineage_link *link = lineage_grow(d);
		*link = (struct lineage_link){.path = xstrdup(from->path),
			.format = from->qcow2 ? FORMAT_QCOW2 : FORMAT_RAW,
			.size = from->file_size,
			.inode = from->inode,
			.mtime_ns = from->mtime_ns};
		if (store_digest_of(link->path, &link->digest, err) < 0)
			return -1;
	}
	return 0;
}

int lineage_record(struct disk_def *d, struct err *err)
{
	bool qcow2 = d->format == FORMAT_QCOW2;
	int result = 0;
	lineage_drop(d);
	if (d->source == DISK_IMAGE)
		result = record_chain(d, d->path, qcow2, 0, err);
	else if (d->source == DISK_PATH && d->path && qcow2)
		result = record_chain(d, d->path, qcow2, 1, err);
	d->lineage_known = true;
	return result < 0 ? err_prefix(err, "disk '%s'", d->target) : 0;
}

int lineage_hold(const struct disk_def *d, struct image_holds *h, struct err *err)
{
	if (d->path && image_hold(h, d->path, err) < 0)
		return err_prefix(err, "disk '%s'", d->target);
	for (size_t i = 0; i < d->lineage_count; i++)
		if (image_hold(h, d->lineage[i].path, err) < 0)
			return err_prefix(err, "disk '%s'", d->target);
	return 0;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

static int hint_rebased(int guest_dir, struct err *err)
{
	_cleanup_free_ char *guest = guest_dir_name(guest_dir);
	return err_hint(err,
		"if that was you: `roost dumpyaml %s | roost define --rebased -` takes it as it is",
		guest ? guest : "GUEST");
}

/* A header must name what was recorded; QEMU will not follow it, and its owner may have changed it. */
static int check_named(int guest_dir, const char *path, const struct qcow2_info *info,
	const struct lineage_link *below, struct err *err)
{
	_cleanup_free_ char *named =
		info->has_backing ? chain_backing_path(path, info->backing) : NULL;
	const char *format = below ? disk_format_name(below->format) : "";
	if (!info->has_backing && !below)
		return 0;
	if (below && info->has_backing && str_eq(info->backing_format, format) &&
		(str_eq(named, below->path) || str_eq(info->backing, below->path)))
		return 0;
	err_set(err, ERR_REFUSED,
		"'%s' names %s%s%s as its backing file now, and was recorded on %s", path,
		info->backing_format, info->has_backing ? " " : "",
		info->has_backing ? info->backing : "nothing", below ? below->path : "nothing");
	return hint_rebased(guest_dir, err);
}

/* `path`: where its header's names are taken from; NULL: a file of the guest's own. */
static int check_layer(const struct disk_def *d, int guest_dir, int fd, const char *path,
	const char *what, size_t next, struct err *err)
{
	struct qcow2_info info = {0};
	const struct lineage_link *below = next < d->lineage_count ? &d->lineage[next] : NULL;
	if (qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", what);
	if (qcow2_may_stand(&info, what, err) < 0)
		return -1;
	return path ? check_named(guest_dir, path, &info, below, err) : 0;
}

int lineage_check_top(const struct disk_def *d, int guest_dir, int fd, struct err *err)
{
	if (d->source == DISK_PATH && d->format != FORMAT_QCOW2)
		return 0;
	const char *path = d->source == DISK_PATH ? d->path : NULL;
	return check_layer(d, guest_dir, fd, path, path ? path : d->file, 0, err);
}

static bool same_file(const struct lineage_link *link, const struct stat *st)
{
	return (uint64_t)st->st_size == link->size && st->st_ino == link->inode &&
	       stat_mtime_ns(st) == link->mtime_ns;
}

/* The store has looked at its content since, and it is still that one. */
static bool verified_since(const struct lineage_link *link, const struct stat *st)
{
	struct err ignored = ERR_INIT;
	char name[64];
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	return link->digest && store_open(&s, &ignored) == 0 &&
	       store_name_of_path(&s, link->path, name) &&
	       store_look(&s, name, &i, &ignored) == 0 && str_eq(i.digest, link->digest) &&
	       i.inode == st->st_ino && i.mtime_ns == stat_mtime_ns(st) &&
	       i.size == (uint64_t)st->st_size;
}

static int check_same(const struct lineage_link *link, int guest_dir, int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "cannot look at '%s'", link->path);
	if (same_file(link, &st) || verified_since(link, &st))
		return 0;
	err_set(err, ERR_REFUSED, "'%s' has changed since it was recorded: it is %s", link->path,
		(uint64_t)st.st_size != link->size ? "of another size"
		: st.st_ino != link->inode         ? "another file"
						   : "written to");
	if (link->digest)
		return err_hint(
			err, "`roost image verify` looks whether its content is still the same");
	return hint_rebased(guest_dir, err);
}

static int missing(const struct disk_def *d, size_t i, struct err *err)
{
	const struct lineage_link *link = &d->lineage[i];
	if (d->source == DISK_PATH)
		return chain_backing_missing(i ? d->lineage[i - 1].path : d->path, link->path,
			link->format == FORMAT_QCOW2, err);
	err_set(err, ERR_NOT_FOUND, "'%s', which it stands on, is missing", link->path);
	return err_hint(err, "put it back: the guest's own disk holds only what differs from it");
}

static int open_own(int guest_dir, const char *name, struct err *err)
{
	struct stat folder;
	if (fstat(guest_dir, &folder) < 0)
		return err_errno(err, "cannot look at the guest's folder");
	return file_open_owned(guest_dir, name, O_RDONLY, folder.st_uid, err);
}

int lineage_open(const struct disk_def *d, size_t i, int guest_dir, struct err *err)
{
	const struct lineage_link *link = &d->lineage[i];
	struct stat st;
	bool own = link->path[0] != '/';
	_cleanup_close_ int fd =
		own ? open_own(guest_dir, link->path, err) : image_open(link->path, &st, err);
	if (fd < 0 && err->kind == ERR_NOT_FOUND)
		missing(d, i, err);
	else if (fd >= 0 &&
		 (link->format != FORMAT_QCOW2 ||
			 check_layer(d, guest_dir, fd, own ? NULL : link->path, link->path, i + 1,
				 err) == 0) &&
		 check_same(link, guest_dir, fd, err) == 0)
		return TAKE_FD(fd);
	return err_prefix(err, "disk '%s'", d->target);
}
