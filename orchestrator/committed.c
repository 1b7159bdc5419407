#include "orchestrator/committed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
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

static char *mark_of(const struct stat *st)
{
	return str_fmt(
		"file %llu %lld", (unsigned long long)st->st_ino, (long long)stat_mtime_ns(st));
}

char *committed_mark_of_file(int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) == 0)
		return mark_of(&st);
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
	_cleanup_free_ char *mark = mark_of(&st);
	return str_eq(link->commit, mark);
}

/* Who agreed to the commit has agreed that it is written to. */
static void take_as_it_is(struct lineage_link *link)
{
	struct stat st;
	if (stat(link->path, &st) < 0 || st.st_ino != link->inode)
		return;
	link->size = (uint64_t)st.st_size;
	link->mtime_ns = stat_mtime_ns(&st);
}

/* `done`: what the keeper says of commits of a running guest. */
static void apply(struct disk_def *d, const json_t *done)
{
	struct lineage_link *link = marked_link(d);
	if (link && (json_object_get(done, link->commit) || is_replaced(link)))
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
