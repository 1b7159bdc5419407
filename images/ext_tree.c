#include "images/ext_tree.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "images/ext_file.h"

/* ---- a folder's entries -------------------------------------------------------------------------------- */

struct entry {
	ext2_ino_t ino;
	bool folder, link, gone;
	char name[EXT2_NAME_LEN + 1];
};

struct listing {
	struct entry *entries;
	size_t count, room;
	size_t at; /* while they are swept */
	uint64_t *left;
};

static void listing_free(struct listing *l)
{
	free(l->entries);
}
#define _cleanup_listing_ _cleanup_(listing_free)

static bool is_own(const struct ext2_dir_entry *d)
{
	int len = ext2fs_dirent_name_len(d);
	return d->inode && len && !(len == 1 && d->name[0] == '.') &&
	       !(len == 2 && d->name[0] == '.' && d->name[1] == '.');
}

static int add_entry(ext2_ino_t dir, int which, struct ext2_dir_entry *d, int at, int block_size,
	char *block, void *about)
{
	struct listing *l = about;
	(void)dir, (void)which, (void)at, (void)block_size, (void)block;
	if (!is_own(d))
		return 0;
	if (!*l->left)
		return DIRENT_ABORT;
	--*l->left;
	if (l->count == l->room) {
		l->room = l->room ? l->room * 2 : 32;
		l->entries = xrealloc(l->entries, l->room * sizeof(*l->entries));
	}
	struct entry *e = &l->entries[l->count++];
	size_t len = (size_t)ext2fs_dirent_name_len(d);
	*e = (struct entry){.ino = d->inode};
	e->folder = ext2fs_dirent_file_type(d) == EXT2_FT_DIR;
	e->link = ext2fs_dirent_file_type(d) == EXT2_FT_SYMLINK;
	memcpy(e->name, d->name, len);
	return 0;
}

/* A file system of before 1998 does not tell in a folder what is a folder. */
static int find_types(struct ext_volume *v, struct listing *l, struct err *err)
{
	if (ext2fs_has_feature_filetype(v->fs->super))
		return 0;
	for (size_t i = 0; i < l->count; i++) {
		struct ext2_inode inode;
		errcode_t code = ext2fs_read_inode(v->fs, l->entries[i].ino, &inode);
		if (code)
			return ext_error(v, code, err, "an inode");
		l->entries[i].folder = LINUX_S_ISDIR(inode.i_mode);
		l->entries[i].link = LINUX_S_ISLNK(inode.i_mode);
	}
	return 0;
}

static int list(struct ext_tree *t, struct ext_volume *v, ext2_ino_t dir, struct listing *l,
	struct err *err)
{
	uint64_t left = TREE_ENTRIES_MAX - t->seen;
	*l = (struct listing){.left = &left};
	errcode_t code = ext2fs_dir_iterate2(v->fs, dir, 0, NULL, add_entry, l);
	t->seen = TREE_ENTRIES_MAX - left;
	if (code)
		return ext_error(v, code, err, "a folder");
	if (!left)
		return err_set(
			err, ERR_REFUSED, "%s has more than %d files", v->name, TREE_ENTRIES_MAX);
	return find_types(v, l, err);
}

/* The entries come in the same order again: nothing has changed in the folder meanwhile. */
static int drop_entry(ext2_ino_t dir, int which, struct ext2_dir_entry *d, int at, int block_size,
	char *block, void *about)
{
	struct listing *l = about;
	(void)dir, (void)which, (void)at, (void)block_size, (void)block;
	if (!is_own(d) || l->at == l->count)
		return 0;
	const struct entry *e = &l->entries[l->at++];
	if (!e->gone)
		return 0;
	memset(d->name, 0, (size_t)ext2fs_dirent_name_len(d));
	d->inode = 0;
	ext2fs_dirent_set_name_len(d, 0);
	ext2fs_dirent_set_file_type(d, 0);
	return DIRENT_CHANGED;
}

/* Those that are `gone` leave the folder. */
static int sweep(struct ext_volume *v, ext2_ino_t dir, struct listing *l, struct err *err)
{
	size_t gone = 0, folders = 0;
	for (size_t i = 0; i < l->count; i++) {
		gone += l->entries[i].gone;
		folders += l->entries[i].gone && l->entries[i].folder;
	}
	if (!gone)
		return 0;
	l->at = 0;
	errcode_t code = ext2fs_dir_iterate2(v->fs, dir, 0, NULL, drop_entry, l);
	if (code)
		return ext_error(v, code, err, "cannot remove from a folder");
	return folders ? ext_unlink_from(v, dir, folders, err) : 0;
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* The volume that is mounted at that path, if one is. */
static struct ext_volume *mounted_at(const struct ext_tree *t, const char *path)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->volumes[i].mounted && str_eq(t->volumes[i].root, path))
			return &t->volumes[i];
	return NULL;
}

/* Is one mounted below that path? */
static bool has_mount_below(const struct ext_tree *t, const char *path)
{
	size_t len = strlen(path);
	for (size_t i = 0; i < t->count; i++)
		if (t->volumes[i].mounted && strncmp(t->volumes[i].root, path, len) == 0 &&
			t->volumes[i].root[len] == '/')
			return true;
	return false;
}

static int remove_file(
	struct ext_tree *t, struct ext_volume *v, const struct entry *e, struct err *err)
{
	uint64_t bytes = 0;
	if (ext_remove(v, e->ino, false, &bytes, err) < 0)
		return -1;
	t->files++;
	t->bytes += bytes;
	return 0;
}

/* All that is in it: its own entries need not be dropped one by one. */
static int remove_folder(
	struct ext_tree *t, struct ext_volume *v, ext2_ino_t dir, unsigned depth, struct err *err)
{
	_cleanup_listing_ struct listing l = {0};
	uint64_t bytes = 0;
	if (depth > TREE_DEPTH_MAX)
		return err_set(err, ERR_REFUSED, "%s: a folder is deeper than %d", v->name,
			TREE_DEPTH_MAX);
	if (list(t, v, dir, &l, err) < 0)
		return -1;
	for (size_t i = 0; i < l.count; i++)
		if ((l.entries[i].folder ? remove_folder(t, v, l.entries[i].ino, depth + 1, err)
					 : remove_file(t, v, &l.entries[i], err)) < 0)
			return -1;
	t->folders++;
	return ext_remove(v, dir, true, &bytes, err);
}

/* ---- by pattern ---------------------------------------------------------------------------------------- */

/* Where a pattern is looked for. */
struct spot {
	struct ext_volume *volume;
	ext2_ino_t dir;
	unsigned depth;
	const char *path; /* "" is the root */
};

static int visit(struct ext_tree *t, const struct sysprep_row *row, const char *rest,
	const struct spot *s, struct err *err);

/* The folder in this one, or what is mounted on it. */
static int visit_in(struct ext_tree *t, const struct sysprep_row *row, const char *rest,
	const struct spot *s, const struct entry *e, struct err *err)
{
	if (s->depth == TREE_DEPTH_MAX)
		return 0;
	_cleanup_free_ char *path = str_fmt("%s/%s", s->path, e->name);
	struct ext_volume *other = mounted_at(t, path);
	struct spot in = {
		other ? other : s->volume, other ? EXT2_ROOT_INO : e->ino, s->depth + 1, path};
	return visit(t, row, rest, &in, err);
}

static int act(struct ext_tree *t, const struct sysprep_row *row, const struct spot *s,
	struct entry *e, struct err *err)
{
	_cleanup_free_ char *path = str_fmt("%s/%s", s->path, e->name);
	if (row->act == ACT_REMOVE && e->folder) {
		if (mounted_at(t, path) || has_mount_below(t, path))
			return 0; /* a folder that another file system is mounted on stays */
		e->gone = true;
		return remove_folder(t, s->volume, e->ino, s->depth, err);
	}
	if (e->folder || (row->act == ACT_PLAIN && e->link))
		return 0;
	if (row->act != ACT_EMPTY && row->act != ACT_LINES) {
		e->gone = true;
		return remove_file(t, s->volume, e, err);
	}
	int changed = row->act == ACT_EMPTY ? ext_empty(s->volume, e->ino, err)
					    : ext_drop_lines(s->volume, e->ino, row->lines, err);
	t->files += changed > 0;
	return changed < 0 ? -1 : 0;
}

/* The first part of `rest`, a pattern without its first '/', and what comes after it; NULL: it is the last. */
static const char *part_of(const char *rest, char part[256])
{
	const char *slash = strchr(rest, '/');
	snprintf(part, 256, "%.*s", slash ? (int)(slash - rest) : 255, rest);
	return slash ? slash + 1 : NULL;
}

static bool is_plain(const char *part)
{
	return !strpbrk(part, "*?@[");
}

/* A folder by its name, without looking at all the others. */
static int visit_plain(struct ext_tree *t, const struct sysprep_row *row, const char *part,
	const char *after, const struct spot *s, struct err *err)
{
	struct entry e = {0};
	struct ext2_inode inode;
	if (ext2fs_lookup(s->volume->fs, s->dir, part, (int)strlen(part), NULL, &e.ino) ||
		ext2fs_read_inode(s->volume->fs, e.ino, &inode) || !LINUX_S_ISDIR(inode.i_mode))
		return 0;
	e.folder = true;
	snprintf(e.name, sizeof(e.name), "%s", part);
	return visit_in(t, row, after, s, &e, err);
}

/* Folders of any depth, this one among them. */
static int visit_deep(struct ext_tree *t, const struct sysprep_row *row, const char *rest,
	const char *after, const struct spot *s, struct err *err)
{
	_cleanup_listing_ struct listing l = {0};
	if (visit(t, row, after, s, err) < 0 || list(t, s->volume, s->dir, &l, err) < 0)
		return -1;
	for (size_t i = 0; i < l.count; i++)
		if (l.entries[i].folder && visit_in(t, row, rest, s, &l.entries[i], err) < 0)
			return -1;
	return 0;
}

static int visit(struct ext_tree *t, const struct sysprep_row *row, const char *rest,
	const struct spot *s, struct err *err)
{
	char part[256];
	const char *after = part_of(rest, part);
	_cleanup_listing_ struct listing l = {0};
	if (str_eq(part, "**"))
		return visit_deep(t, row, rest, after, s, err);
	if (after && is_plain(part))
		return visit_plain(t, row, part, after, s, err);
	if (list(t, s->volume, s->dir, &l, err) < 0)
		return -1;
	for (size_t i = 0; i < l.count; i++) {
		struct entry *e = &l.entries[i];
		if (fnmatch(part, e->name, FNM_EXTMATCH) != 0)
			continue;
		int result = !after      ? act(t, row, s, e, err)
			     : e->folder ? visit_in(t, row, after, s, e, err)
					 : 0;
		if (result < 0)
			return -1;
	}
	return sweep(s->volume, s->dir, &l, err);
}

int tree_do(struct ext_tree *t, const struct sysprep_row *row, struct err *err)
{
	struct spot s = {mounted_at(t, ""), EXT2_ROOT_INO, 0, ""};
	return visit(t, row, row->pattern + 1, &s, err);
}

/* ---- by name ------------------------------------------------------------------------------------------- */

ext2_ino_t tree_find(struct ext_tree *t, const char *path, struct ext_volume **on)
{
	ext2_ino_t ino;
	struct ext_volume *v = NULL;
	size_t longest = 0;
	for (size_t i = 0; i < t->count; i++) {
		size_t len = strlen(t->volumes[i].root);
		if (!t->volumes[i].mounted || strncmp(t->volumes[i].root, path, len) != 0 ||
			(path[len] && path[len] != '/') || (v && len < longest))
			continue;
		v = &t->volumes[i];
		longest = len;
	}
	if (!v || ext2fs_namei(v->fs, EXT2_ROOT_INO, EXT2_ROOT_INO,
			  path[longest] ? path + longest : "/", &ino))
		return 0;
	*on = v;
	return ino;
}

int tree_read(struct ext_tree *t, const char *path, size_t max, struct buf *out, struct err *err)
{
	struct ext_volume *v;
	ext2_ino_t ino = tree_find(t, path, &v);
	return ino ? ext_read(v, ino, max, out, err) : 0;
}
