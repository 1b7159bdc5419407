#include "orchestrator/committed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/chain.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/lineage.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

static struct lineage_link *marked_link(const struct disk_def *d)
{
	for (size_t i = 0; i < d->lineage_count; i++)
		if (d->lineage[i].commit)
			return &d->lineage[i];
	return NULL;
}

static bool is_marked(const struct definition *d)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (marked_link(&d->disks[i]))
			return true;
	return false;
}

static char *mark_of(const struct stat *st, size_t above)
{
	return str_fmt("file %llu %lld above %zu", (unsigned long long)st->st_ino,
		(long long)stat_mtime_ns(st), above);
}

/* 0 of marks that say nothing of it. */
static size_t mark_above(const char *mark)
{
	const char *at = strstr(mark, " above ");
	return at ? strtoul(at + strlen(" above "), NULL, 10) : 0;
}

char *committed_mark_of_file(int fd, size_t above, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) == 0)
		return mark_of(&st, above);
	err_errno(err, "cannot look at a new file");
	return NULL;
}

bool committed_mark(struct definition *d, const char *top, const char *base, const char *mark)
{
	bool found = false;
	for (size_t i = 0; i < d->disk_count; i++) {
		struct disk_def *disk = &d->disks[i];
		for (size_t j = 0; str_eq(disk->path, top) && j < disk->lineage_count; j++) {
			struct lineage_link *link = &disk->lineage[j];
			if (!str_eq(link->path, base))
				continue;
			free(link->commit);
			link->commit = xstrdup(mark);
			found = true;
		}
	}
	return found;
}

void committed_keep_marks(struct disk_def *d, const struct disk_def *was)
{
	const struct lineage_link *marked = marked_link(was);
	for (size_t i = 0; marked && i < d->lineage_count; i++)
		if (str_eq(d->lineage[i].path, marked->path) && !d->lineage[i].commit)
			d->lineage[i].commit = xstrdup(marked->commit);
}

void committed_unmark(struct definition *d)
{
	for (size_t i = 0; i < d->disk_count; i++)
		for (size_t j = 0; j < d->disks[i].lineage_count; j++)
			free(TAKE(d->disks[i].lineage[j].commit));
}

bool committed_is_open(const json_t *record)
{
	size_t i, j;
	const json_t *disk, *link;
	json_array_foreach (json_object_get(record, "disks"), i, disk)
		json_array_foreach (json_object_get(disk, "lineage"), j, link)
			if (json_object_get(link, "commit"))
				return true;
	return false;
}

void committed_forget(struct disk_def *d, size_t above, size_t base)
{
	const struct disk_def upper = {
		.lineage = d->lineage, .lineage_count = above - 1, .lineage_known = true};
	const struct disk_def below = {
		.lineage = d->lineage + base, .lineage_count = d->lineage_count - base};
	struct disk_def now = {0};
	lineage_take(&now, &upper);
	lineage_add(&now, &below);
	lineage_take(d, &now);
	lineage_drop(&now);
}

void committed_switch(struct disk_def *d, size_t i)
{
	struct disk_def below = {.lineage = d->lineage + i + 1,
		.lineage_count = d->lineage_count - i - 1,
		.lineage_known = true};
	struct disk_def now = {0};
	lineage_take(&now, &below);
	char *path = xstrdup(d->lineage[i].path);
	d->format = d->lineage[i].format;
	free(d->path);
	d->path = path;
	lineage_take(d, &now);
	lineage_drop(&now);
}

/* Has the new file that is marked taken the name of the link? */
static bool is_replaced(const struct lineage_link *link)
{
	struct stat st;
	if (stat(link->path, &st) < 0)
		return false;
	_cleanup_free_ char *mark = mark_of(&st, mark_above(link->commit));
	return str_eq(link->commit, mark);
}

static void take_identity(struct lineage_link *link, const struct stat *st)
{
	link->size = (uint64_t)st->st_size;
	link->inode = st->st_ino;
	link->mtime_ns = stat_mtime_ns(st);
}

/* Who agreed to the commit has agreed that it is written to. */
static void take_as_it_is(struct lineage_link *link)
{
	struct stat st;
	if (stat(link->path, &st) == 0 && st.st_ino == link->inode)
		take_identity(link, &st);
}

/* Does that file name the link as its backing file? */
static bool names(const char *path, const struct lineage_link *link)
{
	struct err ignored = ERR_INIT;
	struct stat st;
	struct qcow2_info info;
	_cleanup_close_ int fd = image_open(path, &st, &ignored);
	if (fd < 0 || qcow2_read(fd, &info, &ignored) < 0 || !info.has_backing)
		return false;
	_cleanup_free_ char *named = chain_backing_path(path, info.backing);
	return str_eq(named, link->path) || str_eq(info.backing, link->path);
}

/* The file that is merged into, which is a new one if the guest does not run: taken as it is now. */
static bool is_there(struct lineage_link *link)
{
	struct stat st;
	bool fresh = str_starts(link->commit, "file ");
	if (stat(link->path, &st) < 0 || (fresh ? !is_replaced(link) : st.st_ino != link->inode))
		return false;
	take_identity(link, &st);
	return true;
}

/* With files above those that are merged: first the new file is there, then it is named. */
static void apply_below(struct disk_def *d, struct lineage_link *link, size_t above)
{
	size_t at = (size_t)(link - d->lineage);
	struct lineage_link *lowest = above > 1 && above <= at ? &d->lineage[above - 2] : NULL;
	if (above > at || !is_there(link) || !names(lowest ? lowest->path : d->path, link))
		return;
	if (lowest)
		take_as_it_is(lowest);
	committed_forget(d, above, at);
}

/* `done`: what the keeper says of commits of a running guest. */
static void apply(struct disk_def *d, const json_t *done)
{
	struct lineage_link *link = marked_link(d);
	size_t above = link ? mark_above(link->commit) : 0;
	if (above)
		apply_below(d, link, above);
	else if (link && (json_object_get(done, link->commit) || is_replaced(link)))
		committed_switch(d, (size_t)(link - d->lineage));
	else if (link)
		take_as_it_is(link);
}

void committed_apply(struct definition *d)
{
	struct err ignored = ERR_INIT;
	if (!is_marked(d))
		return;
	_cleanup_close_ int dir = guest_dir_open(d->name, &ignored);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, &ignored);
	for (size_t i = 0; i < d->disk_count; i++)
		apply(&d->disks[i], json_object_get(record, "committed"));
}
