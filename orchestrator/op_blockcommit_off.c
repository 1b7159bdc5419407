/*
 * Committing a disk's own chain, files of the user's, of a guest that does not run, in a worker of roostd: what the files
 * from the top down to one hold is written into that one, which is the disk then.
 *
 * The lower file is made anew beside itself (image_remake.h), which takes from the upper ones, one after the other. The
 * record is told of the new file before that takes the name of the old one (committed.h): whoever is killed leaves the
 * old chain, or the new file and a disk that is it. If files above those that are merged stay, the lowest of them is then
 * told that it stands on that file; meanwhile the chain shows the same.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/committed.h"
#include "orchestrator/disk_tool.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/image_remake.h"
#include "orchestrator/lineage.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"
#include "orchestrator/snapshot_off.h"

enum { CPU_SECONDS = 7200 };

struct into {
	const struct off *o;
	struct disk_def *d;
	size_t link;  /* of its lineage; among `files` it is one more */
	size_t above; /* how many of `files` stay above those that are merged */
	struct disk_files files;
	int lowest; /* of those above, to be written to; borrowed */
	struct remake base;
	size_t steps; /* that are done: it is copied, then those above it are written into it */
};

/* ---- may it be done? ------------------------------------------------------------------------------------ */

static const char *path_of(const struct into *in, size_t i)
{
	return i ? in->d->lineage[i - 1].path : in->d->path;
}

/* `from`: the uppermost that is merged; NULL: the disk itself. */
static int find(struct into *in, const json_t *args, struct err *err)
{
	const char *target = json_get_str(args, "target", ""),
		   *base = json_get_str(args, "base", ""), *from = json_get_str(args, "from", NULL);
	struct definition *d = in->o->d;
	in->d = definition_disk(d, target);
	if (!in->d || in->d->source != DISK_PATH)
		return err_set(
			err, ERR_REFUSED, "guest '%s' has no file as disk '%s'", d->name, target);
	while (in->link < in->d->lineage_count && !str_eq(in->d->lineage[in->link].path, base))
		in->link++;
	while (from && in->above <= in->link && !str_eq(path_of(in, in->above), from))
		in->above++;
	if (in->link < in->d->lineage_count && in->above <= in->link)
		return 0;
	return err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' does not stand on '%s'", target,
		d->name, in->link < in->d->lineage_count ? from : base);
}

static int check_disk(const struct into *in, struct err *err)
{
	const struct off *o = in->o;
	if (in->d->readonly || in->d->cdrom)
		return err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' is read-only",
			in->d->target, o->d->name);
	if (o->d->issued.template)
		return err_set(err, ERR_REFUSED, "guest '%s' is a template, which stays as it is",
			o->d->name);
	if (!snapshot_top(o->record, in->d->target)[0])
		return 0;
	err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' has snapshots over '%s'", in->d->target,
		o->d->name, in->d->path);
	return err_hint(err, "`roost snapshot-delete` those first");
}

/* Who asks has opened it: it is he who may write to it, not we. */
static int check_file(
	const struct into *in, const json_t *args, size_t number, size_t layer, struct err *err)
{
	struct stat st, came;
	const json_t *fd = json_array_get(json_object_get(args, "fds"), number);
	int his = json_is_integer(fd) ? (int)json_integer_value(fd) : -1;
	if (fstat(in->files.layers[layer].fd, &st) < 0 || fstat(his, &came) < 0 ||
		(fcntl(his, F_GETFL) & O_ACCMODE) != O_RDWR || st.st_ino != came.st_ino ||
		st.st_dev != came.st_dev)
		return err_set(err, ERR_USAGE,
			"the file that came with the request is not '%s', open to be written to",
			path_of(in, layer));
	return his;
}

static int check_files(struct into *in, const json_t *args, struct err *err)
{
	struct stat st;
	size_t base = in->link + 1;
	if (fstat(in->files.layers[base].fd, &st) < 0 || st.st_ino != in->base.st.st_ino)
		return err_set(
			err, ERR_BUSY, "'%s' was replaced at this moment", path_of(in, base));
	if (check_file(in, args, 0, base, err) < 0)
		return -1;
	in->lowest = in->above ? check_file(in, args, 1, in->above - 1, err) : -1;
	return in->above && in->lowest < 0 ? -1 : 0;
}

static int layer_size(const struct disk_layer *layer, uint64_t *size, struct err *err)
{
	struct stat st;
	struct qcow2_info info;
	if (fstat(layer->fd, &st) < 0)
		return err_errno(err, "cannot look at a layer");
	if (!layer->qcow2) {
		*size = raw_virtual_size(&st);
		return 0;
	}
	if (qcow2_read(layer->fd, &info, err) < 0 || qcow2_may_stand(&info, "a layer", err) < 0)
		return -1;
	*size = info.virtual_size;
	return 0;
}

/* What is beyond the end of a layer reads as zeros: it would be there again in a larger one. */
static int check_sizes(const struct into *in, struct err *err)
{
	uint64_t size = 0, below = 0;
	for (size_t i = in->link + 2; i-- > in->above; below = size) {
		const char *path = path_of(in, i);
		if (layer_size(&in->files.layers[i], &size, err) < 0)
			return err_prefix(err, "'%s'", path);
		if (size >= below)
			continue;
		err_set(err, ERR_REFUSED, "'%s' shows fewer bytes than '%s', which it stands on",
			path, in->d->lineage[i].path);
		return err_hint(err, "`roost blockpull %s %s` makes it stand alone", in->o->d->name,
			in->d->target);
	}
	return 0;
}

/* ---- the copy --------------------------------------------------------------------------------------------- */

static void told(void *about, const char *step, int64_t done, int64_t total)
{
	const struct into *in = about;
	int64_t all = (int64_t)(in->link - in->above) + 2;
	(void)step;
	worker_progress("guest", in->o->d->name, "committing", (int64_t)in->steps * total + done,
		all * total);
	failpoint("commit-off-copying");
}

/* What layer `i` has, into the copy. */
static int write_layer(struct into *in, size_t i, struct err *err)
{
	int fds[CHAIN_MAX];
	struct disk_files f = {
		.count = 2, .layers = {in->files.layers[i], in->files.layers[in->link + 1]}};
	f.layers[1].fd = in->base.fresh;
	for (size_t below = in->link + 2; below < in->files.count; below++)
		f.layers[f.count++] = in->files.layers[below];
	_cleanup_free_ char *node = disk_tool_node(&f, fds, err);
	const char *argv[] = {"commit", "-p", "-d", node, NULL};
	const struct tool_run run = {.argv = argv,
		.fds = fds,
		.fd_count = f.count,
		.cpu_seconds = CPU_SECONDS,
		.told = told,
		.about = in};
	return node ? tool_run(&run, NULL, err) : -1;
}

static int copy(struct into *in, struct err *err)
{
	if (remake_copy(&in->base, told, in, err) < 0)
		return -1;
	for (size_t i = in->link + 1; i-- > in->above;) {
		in->steps++;
		if (write_layer(in, i, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the change ------------------------------------------------------------------------------------------- */

/* As the header of the file that has stood on the base calls it, if that was in the same folder. */
static char *new_name(const struct into *in, struct err *err)
{
	struct qcow2_info info;
	const char *path = path_of(in, in->above - 1), *was = path_of(in, in->link);
	size_t folder = (size_t)(strrchr(path, '/') - path) + 1;
	if (qcow2_read(in->files.layers[in->link].fd, &info, err) < 0) {
		err_prefix(err, "'%s'", was);
		return NULL;
	}
	bool same = strncmp(path, was, folder) == 0 && !strchr(was + folder, '/');
	return xstrdup(same ? info.backing : path_of(in, in->link + 1));
}

/* The lowest of those that stay above stands on the base now. */
static int name_base(const struct into *in, struct err *err)
{
	int fds[CHAIN_MAX];
	const struct disk_files f = {.count = 1, .layers = {{.fd = in->lowest, .qcow2 = true}}};
	_cleanup_free_ char *name = new_name(in, err);
	_cleanup_free_ char *node = name ? disk_tool_node(&f, fds, err) : NULL;
	const char *format = disk_format_name(in->d->lineage[in->link].format);
	const char *argv[] = {"rebase", "-u", "-F", format, "-b", name, node, NULL};
	const struct tool_run run = {.argv = argv, .fds = fds, .fd_count = 1};
	if (!node || tool_run(&run, NULL, err) < 0)
		return -1;
	return fsync(in->lowest) < 0
		       ? err_errno(err, "cannot flush '%s'", path_of(in, in->above - 1))
		       : 0;
}

static int settle(struct into *in, struct err *err)
{
	struct err ignored = ERR_INIT;
	struct definition *d = in->o->d;
	if (fsync(in->base.fresh) < 0)
		return err_errno(err, "cannot flush the new '%s'", in->base.path);
	_cleanup_free_ char *mark = committed_mark_of_file(in->base.fresh, in->above, err);
	_cleanup_free_ char *top = xstrdup(in->d->path);
	if (!mark)
		return -1;
	committed_mark(d, top, in->d->lineage[in->link].path, mark);
	if (record_write(in->o->dir, d, err) < 0)
		return -1;
	failpoint("commit-off-marked");
	int result = remake_settle(&in->base, err);
	if (result == 0 && in->above)
		result = name_base(in, err);
	failpoint("commit-off-named");
	committed_apply(d);
	committed_unmark(d);
	record_write(in->o->dir, d, &ignored); /* what is marked is read as the same */
	failpoint("commit-off-recorded");
	return result;
}

static int commit(struct into *in, const json_t *args, struct err *err)
{
	if (find(in, args, err) < 0 || check_disk(in, err) < 0 ||
		disk_open(in->d, in->o->dir, &in->files, err) < 0 ||
		remake_begin(&in->base, in->d->lineage[in->link].path, err) < 0 ||
		check_files(in, args, err) < 0 || check_sizes(in, err) < 0 || copy(in, err) < 0)
		return -1;
	return settle(in, err);
}

int op_blockcommit_off(const json_t *args, json_t **ret, struct err *err)
{
	struct off o = {.dir = -1};
	struct into in = {.o = &o, .base = REMAKE_NONE};
	(void)ret;
	int result = off_begin(&o, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = commit(&in, args, err);
	disk_files_close(&in.files);
	remake_end(&in.base);
	off_end(&o, result);
	return result;
}
