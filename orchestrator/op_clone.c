/*
 * Cloning a guest: another guest with the same hardware, which goes on from what this one has written, and
 * with an identity of its own. Runs in a worker of roostd.
 *
 * No disk is copied. What the original wrote to gets a new, empty layer on top, in its own record
 * (snapshots.h); what lies below becomes a base (bases.h), on which the clone's own overlay stands. In this
 * order, so that nobody writes to a base at any moment; whoever is killed in between leaves an empty layer,
 * which the next clone finds to be empty and takes for nothing, and a base without users. The new guest is
 * built in a folder of another name and appears by one rename (op_define.c): it is wholly there or not at all.
 *
 * A guest that runs has got its new tops from its keeper (op_snapshot_live.c), and goes on.
 *
 * Small things are copied: UEFI variables, the TPM's state, and disks that the guest only reads.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/tool.h"
#include "orchestrator/access.h"
#include "orchestrator/another.h"
#include "orchestrator/bases.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/firmware.h"
#include "orchestrator/lineage.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

/* A disk of the original, and which of its layers the clone stands on. */
struct part {
	struct disk_files files; /* from the top down, opened for reading */
	char *names[CHAIN_MAX];  /* of those in the guest's folder; the last one is its bottom */
	size_t own;              /* so many are */
	size_t first;            /* the first that has been written to; `own`: none has */
	uint64_t size;
	bool linked; /* it is one of those that are not copied */
};

struct cloning {
	struct definition *from; /* its disks' lineages become the clone's */
	int dir;                 /* its folder */
	json_t *record;          /* of its snapshots */
	const json_t
		*layers; /* of a running one: what it writes to no more, by its disks; or NULL */
	json_t *before;  /* the same before it was changed; NULL: it was not */
	struct part parts[DISKS_MAX];
	struct part vars; /* `own` 0: they have no layers */
};

static void part_end(struct part *p)
{
	disk_files_close(&p->files);
	for (size_t i = 0; i < p->own; i++)
		free(p->names[i]);
}

static void cloning_end(struct cloning *c)
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
		if (p->first == 0)
			p->size = info.virtual_size;
		if (!empty)
			break;
	}
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
	p->names[p->own++] = xstrdup(d->file);
	return 0;
}

static int look_at_disk(
	struct cloning *c, const struct disk_def *d, struct part *p, struct err *err)
{
	p->linked = true;
	if (open_part(c, d, p, err) < 0 || find_first(p, err) < 0)
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

static int look_at_disks(struct cloning *c, struct err *err)
{
	for (size_t i = 0; i < c->from->disk_count; i++) {
		const struct disk_def *d = &c->from->disks[i];
		if (d->source != DISK_PATH && !d->readonly &&
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

static int begin(struct cloning *c, const char *name, struct err *err)
{
	c->from = record_read(name, err);
	c->dir = c->from ? guest_dir_open(name, err) : -1;
	if (c->dir < 0 || definition_may_be_cloned(c->from, err) < 0)
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

/* What it wrote to is written to no more: it has new tops. */
static int put_on_tops(struct cloning *c, struct err *err)
{
	uid_t keeper = c->from->issued.keeper_uid;
	_cleanup_json_ json_t *before = json_deep_copy(c->record);
	bool changed = false;
	for (size_t i = 0; i < c->from->disk_count; i++) {
		const struct disk_def *d = &c->from->disks[i];
		const struct part *p = &c->parts[i];
		if (!p->linked || p->first > 0 || c->layers)
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
	if (snapshots_plan(c->dir, keeper, c->record, err) < 0)
		return -1;
	failpoint("clone-planned");
	return snapshots_commit(c->dir, err);
}

static void add_link(struct disk_def *d, char *path, enum disk_format format, const struct stat *st)
{
	d->lineage[d->lineage_count++] = (struct lineage_link){.path = path,
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

static int freeze(struct cloning *c, struct err *err)
{
	for (size_t i = 0; i < c->from->disk_count; i++)
		if (c->parts[i].linked &&
			stand_on_bases(c, &c->from->disks[i], &c->parts[i], err) < 0)
			return -1;
	failpoint("clone-frozen");
	return freeze_part(c, &c->vars, err);
}

/* Nobody stands on the bases yet: the original is as it was. */
static void undo(struct cloning *c)
{
	struct err ignored = ERR_INIT;
	bases_sweep(true, NULL, NULL, &ignored);
	if (c->before &&
		snapshots_write(c->dir, c->from->issued.keeper_uid, c->before, &ignored) < 0)
		return;
	if (c->record && !c->layers)
		snapshots_sweep(c->dir, c->before ? c->before : c->record);
}

/* ---- the clone's folder ------------------------------------------------------------------------------ */

static int copy_file(int dir, const char *file, int from, uid_t owner, struct err *err)
{
	_cleanup_close_ int to =
		openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_errno(err, "cannot make '%s'", file);
	if (image_copy(from, to, NULL, NULL, err) < 0)
		return err_prefix(err, "'%s'", file);
	if (fsync(to) < 0)
		return err_errno(err, "cannot write '%s'", file);
	return access_give_at(dir, file, owner, err);
}

static int open_of(const struct cloning *c, const char *file, struct err *err)
{
	return base_open_own(c->dir, file, O_RDONLY, c->from->issued.keeper_uid, err);
}

static int copy_disk(int dir, const struct cloning *c, const struct definition *d,
	const struct disk_def *disk, struct err *err)
{
	_cleanup_close_ int from = open_of(c, disk->file, err);
	if (from < 0 || lineage_check_top(disk, from, err) < 0)
		return -1;
	return copy_file(dir, disk->file, from, d->issued.keeper_uid, err);
}

static int make_overlay(int dir, const struct definition *d, const struct disk_def *disk,
	const struct part *p, struct err *err)
{
	struct qcow2_new new = {.size = p->size, .durable = true};
	if (disk->lineage_count) {
		new.backing = disk->lineage[0].path;
		new.backing_format = disk_format_name(disk->lineage[0].format);
	}
	if (qcow2_create(dir, disk->file, &new, err) < 0)
		return -1;
	return access_give_at(dir, disk->file, d->issued.keeper_uid, err);
}

static int make_disks(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	for (size_t i = 0; i < c->from->disk_count; i++) {
		const struct disk_def *disk = &c->from->disks[i];
		const struct part *p = &c->parts[i];
		int result = p->linked                   ? make_overlay(dir, d, disk, p, err)
			     : disk->source == DISK_PATH ? 0
							 : copy_disk(dir, c, d, disk, err);
		if (result < 0)
			return err_prefix(err, "disk '%s'", disk->target);
	}
	return 0;
}

/* Out of bases, where nobody can put another file in their place, by qemu-img. */
static int merge_vars(int dir, const struct cloning *c, const struct definition *d,
	const char *file, struct err *err)
{
	_cleanup_(chain_free) struct chain chain = {.count = c->vars.own};
	char folder[PATH_MAX] = "";
	_cleanup_free_ char *self = str_fmt("/proc/self/fd/%d", dir);
	for (size_t i = 0; i < c->vars.own; i++)
		chain.links[i] = (struct chain_link){.qcow2 = true,
			.path = base_path(c->from->issued.id, c->vars.names[i], err)};
	if (readlink(self, folder, sizeof(folder) - 1) < 0)
		return err_errno(err, "cannot tell the clone's folder");
	_cleanup_free_ char *to = str_fmt("%s/%s", folder, file);
	_cleanup_free_ char *node = tool_chain_node(&chain, 0, err);
	const char *argv[] = {"convert", "-O", "qcow2", node, to, NULL};
	struct tool_run run = {.argv = argv};
	if (!node || tool_run(&run, NULL, err) < 0)
		return -1;
	_cleanup_close_ int made = file_open_owned(dir, file, O_RDONLY, geteuid(), err);
	if (made < 0 || fsync(made) < 0) /* qemu-img does not */
		return made < 0 ? -1 : err_errno(err, "cannot write '%s'", file);
	return access_give(made, d->issued.keeper_uid, err);
}

static int copy_vars(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	const char *file = firmware_vars_name(d->secure_boot);
	if (d->firmware != FIRMWARE_UEFI)
		return 0;
	if (c->vars.own)
		return merge_vars(dir, c, d, file, err);
	_cleanup_close_ int from = open_of(c, file, err);
	return from < 0 ? err_prefix(err, "UEFI variables")
			: copy_file(dir, file, from, d->issued.keeper_uid, err);
}

/* What is sealed to it would be lost; the files are small, and QEMU's uid owns them: tpm.c. */
static int copy_tpm(int dir, const struct cloning *c, const struct definition *d, struct err *err)
{
	_cleanup_names_ char **files = NULL;
	struct err none = ERR_INIT;
	_cleanup_close_ int from = dir_open(c->dir, "tpm", &none);
	if (!d->tpm.enabled || from < 0)
		return 0;
	if (dir_names(from, &files, NULL, err) < 0)
		return -1;
	if (mkdirat(dir, "tpm", 0700) < 0)
		return err_errno(err, "cannot make the folder 'tpm'");
	_cleanup_close_ int to = dir_open(dir, "tpm", err);
	if (to < 0 || fchmod(to, 0700) < 0)
		return to < 0 ? -1 : err_errno(err, "cannot close the folder 'tpm' to others");
	for (char **file = files; *file; file++) {
		if (!str_ends(*file, ".permall"))
			continue;
		_cleanup_close_ int fd =
			file_open_owned(from, *file, O_RDONLY, c->from->issued.qemu_uid, err);
		if (fd < 0 || copy_file(to, *file, fd, d->issued.qemu_uid, err) < 0)
			return err_prefix(err, "its TPM's state");
	}
	return access_give(to, d->issued.qemu_uid, err);
}

static int make_files(int dir, const struct definition *d, const void *about, struct err *err)
{
	const struct cloning *c = about;
	failpoint("clone-folder");
	if (make_disks(dir, c, d, err) < 0)
		return -1;
	failpoint("clone-disks");
	return copy_vars(dir, c, d, err) < 0 ? -1 : copy_tpm(dir, c, d, err);
}

/* ---- the operation ----------------------------------------------------------------------------------- */

static struct definition *definition_of_clone(
	const struct definition *from, const char *name, struct err *err)
{
	_cleanup_json_ json_t *json = definition_to_json(from);
	definition_make_another(json, name);
	return definition_from_json(json, err);
}

static int check_new_name(const char *name, struct err *err)
{
	struct err none = ERR_INIT;
	if (name_check(name, "guest", err) < 0)
		return -1;
	_cleanup_definition_ struct definition *there = record_read(name, &none);
	if (there || none.kind != ERR_NOT_FOUND)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", name);
	return name_check_free(name, NULL, err);
}

static int make(struct cloning *c, const char *to, struct definition **out, struct err *err)
{
	struct err ignored = ERR_INIT;
	failpoint("clone-begin");
	if (put_on_tops(c, err) < 0 || freeze(c, err) < 0)
		return -1;
	struct definition *d = definition_of_clone(c->from, to, err);
	if (!d || define_another(d, c->from, make_files, c, err) < 0) {
		definition_free(d);
		return -1;
	}
	failpoint("clone-done");
	*out = d;
	if (c->vars.own) /* the clone has copies of them */
		bases_sweep(true, NULL, NULL, &ignored);
	return 0;
}

int op_clone(const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", ""), *to = json_get_str(args, "new-name", "");
	struct err ignored = ERR_INIT;
	_cleanup_(cloning_end) struct cloning c = {
		.dir = -1, .layers = json_object_get(args, "layers")};
	_cleanup_definition_ struct definition *d = NULL;
	if (check_new_name(to, err) < 0)
		return -1;
	_cleanup_close_ int lock = bases_lock(err);
	if (lock < 0 || begin(&c, name, err) < 0)
		return -1;
	if (make(&c, to, &d, err) < 0) {
		undo(&c);
		return -1;
	}
	_cleanup_close_ int made = guest_dir_open(to, &ignored);
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND",
		event_command(to, "roost-clone", json_incref(json_object_get(args, "by"))));
	event_log_append_as(made, d->issued.keeper_uid, event);
	*ret = json_pack("{s:s, s:s, s:s}", "name", to, "uuid", d->uuid, "original", name);
	return 0;
}
