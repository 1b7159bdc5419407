#include "orchestrator/clone_source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/image_info.h"
#include "orchestrator/another.h"
#include "orchestrator/bases.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/lineage.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

static void part_end(struct part *p)
{
	disk_files_close(&p->files);
	for (size_t i = 0; i < p->own; i++)
		free(p->names[i]);
}

void cloning_end(struct cloning *c)
{
	for (size_t i = 0; i < DISKS_MAX; i++)
		part_end(&c->parts[i]);
	part_end(&c->vars);
	definition_free(c->from);
	cleanup_close(&c->dir);
	json_decref(c->record);
	json_decref(c->before);
}

/* ---- what there is --------------------------------------------------------------------------------- */

/* Which layer was written to last? */
static int find_first(struct part *p, struct err *err)
{
	for (p->first = 0; p->first < p->own; p->first++) {
		struct qcow2_info info;
		int fd = p->files.layers[p->first].fd, empty = -1;
		if (qcow2_read(fd, &info, err) == 0)
			empty = qcow2_is_empty(fd, &info, err);
		if (empty < 0)
			return err_prefix(err, "'%s'", p->names[p->first]);
		if (!empty)
			break;
	}
	return 0;
}

/* One at the bottom that is empty shows nothing, and its name may be that of a base: snapshot_alone.h. */
static int drop_empty_bottom(struct part *p, const struct disk_def *d, struct err *err)
{
	struct qcow2_info info;
	size_t last = p->own - 1;
	if (last <= p->first || d->lineage_count || d->source == DISK_PATH)
		return 0;
	if (qcow2_read(p->files.layers[last - 1].fd, &info, err) < 0)
		return err_prefix(err, "'%s'", p->names[last - 1]);
	if (info.has_backing)
		return 0;
	if (qcow2_read(p->files.layers[last].fd, &info, err) < 0)
		return err_prefix(err, "'%s'", p->names[last]);
	int empty = qcow2_is_empty(p->files.layers[last].fd, &info, err);
	if (empty > 0)
		free(p->names[--p->own]);
	return empty < 0 ? -1 : 0;
}

static int find_size(struct part *p, struct err *err)
{
	const struct disk_layer *top = &p->files.layers[0];
	struct qcow2_info info;
	struct stat st;
	if (!top->qcow2 && fstat(top->fd, &st) < 0)
		return err_errno(err, "cannot look at its file");
	if (top->qcow2 && qcow2_read(top->fd, &info, err) < 0)
		return -1;
	p->size = top->qcow2 ? info.virtual_size : raw_virtual_size(&st);
	return 0;
}

/* Its layers in the guest's folder, and what they stand on. */
static int open_part(struct cloning *c, const struct disk_def *d, struct part *p, struct err *err)
{
	struct disk_def look = *d;
	const char *layers[CHAIN_MAX];
	size_t count = 0;
	look.readonly = true;
	const char *top = c->layers ? json_get_str(c->layers, d->target, NULL) : NULL;
	if (c->layers && !top)
		return err_set(err, ERR_REFUSED,
			"it was started without its disk '%s', which is new in its definition",
			d->target);
	if (snapshot_chain(c->record, d, top, layers, &count, err) < 0 ||
		disk_open_layers(&look, c->dir, layers, count, &p->files, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		p->names[p->own++] = xstrdup(layers[i]);
	if (d->source != DISK_PATH)
		p->names[p->own++] = xstrdup(d->file);
	return find_size(p, err);
}

static int look_at_disk(
	struct cloning *c, const struct disk_def *d, struct part *p, struct err *err)
{
	p->linked = true;
	if (open_part(c, d, p, err) < 0 || find_first(p, err) < 0 ||
		drop_empty_bottom(p, d, err) < 0)
		return -1;
	if (p->files.count <= CHAIN_MAX - 2)
		return 0;
	err_set(err, ERR_REFUSED, "disk '%s' stands on %zu files: too many for clones of it",
		d->target, p->files.count - 1);
	return err_hint(err, "`roost blockpull` makes a disk of a running guest stand alone");
}

/* Variables with snapshots are a chain, which becomes one file again in the clone. */
static int look_at_vars(struct cloning *c, struct err *err)
{
	struct disk_def disks[SNAPSHOT_DISKS_MAX];
	size_t count = snapshot_disks(c->dir, c->from, disks);
	const struct disk_def *vars = &disks[count ? count - 1 : 0];
	if (!count || !str_eq(vars->target, SNAPSHOT_VARS) ||
		!snapshot_top(c->record, SNAPSHOT_VARS)[0])
		return 0;
	return open_part(c, vars, &c->vars, err);
}

static int check_shared(const struct cloning *c, struct err *err)
{
	size_t i;
	json_t *target;
	json_array_foreach (c->shared, i, target) {
		const struct disk_def *d = NULL;
		for (size_t k = 0; k < c->from->disk_count && !d; k++)
			if (str_eq(c->from->disks[k].target, json_string_value(target)))
				d = &c->from->disks[k];
		if (!d)
			return err_set(err, ERR_USAGE, "guest '%s' has no disk '%s'", c->from->name,
				json_string_value(target));
		if (d->source != DISK_PATH)
			return err_set(err, ERR_REFUSED,
				"guest '%s': its disk '%s' is in its own folder, where no other guest has it",
				c->from->name, d->target);
	}
	return 0;
}

static int look_at_disks(struct cloning *c, struct err *err)
{
	if (check_shared(c, err) < 0)
		return -1;
	for (size_t i = 0; i < c->from->disk_count; i++) {
		const struct disk_def *d = &c->from->disks[i];
		bool own = d->source != DISK_PATH || (c->full && !d->cdrom);
		if (own && !d->readonly && !json_has_text(c->shared, d->target) &&
			look_at_disk(c, d, &c->parts[i], err) < 0)
			return err_prefix(err, "guest '%s' cannot be cloned", c->from->name);
	}
	return look_at_vars(c, err);
}

static int check_not_saved(const struct cloning *c, struct err *err)
{
	const char *name = c->from->name;
	if (!snapshots_saved(c->dir))
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' has been saved: its RAM knows its disks as they are",
		name);
	return err_hint(err, "start it first, or `roost managedsave-remove %s`", name);
}

int cloning_begin(struct cloning *c, const char *name, struct err *err)
{
	c->from = record_read(name, err);
	c->dir = c->from ? guest_dir_open(name, err) : -1;
	if (c->dir < 0 || (!c->full && definition_may_be_cloned(c->from, c->shared, err) < 0))
		return -1;
	/* while it runs its keeper tends its snapshots, not we */
	if (!c->layers && (check_not_saved(c, err) < 0 || snapshots_commit(c->dir, err) < 0))
		return -1;
	c->record = snapshots_read(c->dir, err);
	if (!c->record)
		return -1;
	if (!c->layers)
		snapshots_sweep(c->dir, c->record);
	return look_at_disks(c, err);
}

/* ---- the original's disks become bases --------------------------------------------------------------- */

static int put_on(struct cloning *c, bool (*wanted)(const struct cloning *c, const struct part *p),
	struct err *err)
{
	uid_t keeper = c->from->issued.keeper_uid;
	_cleanup_json_ json_t *before = json_deep_copy(c->record);
	bool changed = false;
	for (size_t i = 0; i < c->from->disk_count; i++) {
		const struct disk_def *d = &c->from->disks[i];
		const struct part *p = &c->parts[i];
		if (!p->linked || !wanted(c, p))
			continue;
		if (snapshot_put_on_top(c->dir, keeper, c->record, d,
			    snapshot_top(c->record, d->target), p->size, err) < 0)
			return -1;
		changed = true;
	}
	failpoint("clone-tops");
	if (!changed)
		return 0;
	c->before = TAKE(before);
	snapshots_count_on(c->record);
	if (snapshots_write(c->dir, keeper, c->record, err) < 0)
		return -1;
	failpoint("clone-topped");
	return 0;
}

static bool has_frozen_top(const struct cloning *c, const struct part *p)
{
	return base_is_frozen(c->dir, p->names[0]);
}

/* Those of one that runs are new already, and nobody writes to those of a template. */
static bool has_written_top(const struct cloning *c, const struct part *p)
{
	return !c->layers && !c->from->issued.template && (!p->first || has_frozen_top(c, p));
}

int cloning_put_on_tops(struct cloning *c, struct err *err)
{
	return put_on(c, has_written_top, err);
}

int cloning_put_on_frozen(struct cloning *c, struct err *err)
{
	return put_on(c, has_frozen_top, err);
}

static void add_link(struct disk_def *d, char *path, enum disk_format format, const struct stat *st)
{
	*lineage_grow(d) = (struct lineage_link){.path = path,
		.format = format,
		.size = (uint64_t)st->st_size,
		.inode = st->st_ino,
		.mtime_ns = stat_mtime_ns(st)};
}

static int freeze_part(const struct cloning *c, const struct part *p, struct err *err)
{
	for (size_t i = p->own; i-- > p->first;)
		if (base_freeze(c->from->issued.id, p->names[i], p->files.layers[i].fd, err) < 0)
			return -1;
	return 0;
}

/* The bases, then what the original's disk stands on. */
static int stand_on_bases(
	const struct cloning *c, struct disk_def *d, struct part *p, struct err *err)
{
	const char *id = c->from->issued.id;
	struct disk_def now = {.target = ""};
	struct stat st;
	if (freeze_part(c, p, err) < 0)
		return -1;
	for (size_t i = p->first; i < p->own; i++) {
		if (fstat(p->files.layers[i].fd, &st) < 0)
			return err_errno(err, "cannot look at '%s'", p->names[i]);
		add_link(&now, base_path(id, p->names[i], err), FORMAT_QCOW2, &st);
	}
	lineage_add(&now, d);
	now.lineage_known = true;
	lineage_take(d, &now);
	lineage_drop(&now);
	for (size_t i = 0; i < d->lineage_count; i++) { /* as the clone's start will find it */
		_cleanup_close_ int fd = lineage_open(d, i, c->dir, err);
		if (fd < 0)
			return err_prefix(err, "guest '%s' cannot be cloned", c->from->name);
	}
	return 0;
}

int cloning_freeze(struct cloning *c, struct err *err)
{
	for (size_t i = 0; i < c->from->disk_count; i++)
		if (c->parts[i].linked &&
			stand_on_bases(c, &c->from->disks[i], &c->parts[i], err) < 0)
			return -1;
	failpoint("clone-frozen");
	return c->layers ? freeze_part(c, &c->vars, err) : 0;
}

/* While it runs, its keeper might merge what is being copied: not what is frozen. */
int cloning_stand_alone(struct cloning *c, struct err *err)
{
	for (size_t i = 0; i < c->from->disk_count; i++) {
		struct disk_def *d = &c->from->disks[i];
		struct part *p = &c->parts[i];
		if (!p->linked)
			continue;
		if (c->layers && freeze_part(c, p, err) < 0)
			return -1;
		if (d->source == DISK_PATH)
			free(TAKE(d->file));
		free(TAKE(d->path));
		d->source = DISK_BLANK;
		d->format = FORMAT_NONE;
		d->size = p->size;
		lineage_drop(d);
		d->lineage_known = true;
	}
	return c->layers ? freeze_part(c, &c->vars, err) : 0;
}

static int check_into(const struct cloning *c, const char *path, int fd, struct err *err)
{
	struct stat open, there;
	if (path[0] == '/' && fstat(fd, &open) == 0 && S_ISREG(open.st_mode) &&
		(c->as_is || !open.st_size) && stat(path, &there) == 0 &&
		there.st_dev == open.st_dev && there.st_ino == open.st_ino)
		return 0;
	return err_set(err, ERR_USAGE, "'%s' is not a %sfile that came with the request", path,
		c->as_is ? "" : "new ");
}

/* What is there is the disk, in the format that the original's has. */
static int take_as_is(struct disk_def *d, const char *path, int fd, struct err *err)
{
	bool qcow2;
	if (image_format_settle(fd, path, IMAGE_BY_CONTENT, &qcow2, err) < 0)
		return -1;
	d->lineage_known = false; /* what it stands on is looked at anew */
	if (qcow2 == (d->format == FORMAT_QCOW2))
		return 0;
	err_set(err, ERR_REFUSED, "'%s' is %s, and its disk '%s' is %s", path,
		qcow2 ? "qcow2" : "raw", d->target, disk_format_name(d->format));
	return err_hint(err, "`roost image convert` makes the one of the other");
}

int cloning_put_into(struct cloning *c, const json_t *paths, const json_t *fds, struct err *err)
{
	size_t wanted = 0;
	for (size_t i = 0; i < c->from->disk_count; i++)
		wanted += c->parts[i].linked;
	if (wanted != json_array_size(paths) || wanted != json_array_size(fds))
		return err_set(err, ERR_USAGE,
			"guest '%s' has %zu disks to copy, %zu files are named", c->from->name,
			wanted, json_array_size(paths));
	for (size_t i = 0; i < c->from->disk_count; i++) {
		struct disk_def *d = &c->from->disks[i];
		const char *path = json_string_value(json_array_get(paths, c->into_count));
		int fd = (int)json_integer_value(json_array_get(fds, c->into_count));
		if (!c->parts[i].linked)
			continue;
		if (check_into(c, path ? path : "", fd, err) < 0)
			return -1;
		free(TAKE(d->file));
		d->path = xstrdup(path);
		d->source = DISK_PATH;
		d->format = c->parts[i].files.layers[0].qcow2 ? FORMAT_QCOW2 : FORMAT_RAW;
		d->size = 0;
		if (c->as_is && take_as_is(d, path, fd, err) < 0)
			return -1;
		c->into[c->into_count++] = fd;
	}
	return 0;
}

/* Nobody stands on the bases yet: the original is as it was. */
void cloning_undo(struct cloning *c, bool locked)
{
	struct err ignored = ERR_INIT;
	bases_sweep(locked ? SWEEP_LOCKED : SWEEP, NULL, NULL, &ignored);
	if (c->before &&
		snapshots_write(c->dir, c->from->issued.keeper_uid, c->before, &ignored) < 0)
		return;
	if (c->record && !c->layers)
		snapshots_sweep(c->dir, c->before ? c->before : c->record);
}
