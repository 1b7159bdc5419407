#include "orchestrator/snapshots.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/access.h"
#include "orchestrator/bases.h"
#include "orchestrator/firmware.h"
#include "orchestrator/record.h"

#define RECORD "snapshots.json"
#define PLAN   "snapshots.next"
enum { VERSION = 1 };

/* ---- the file ------------------------------------------------------------------------------------- */

static json_t *empty(void)
{
	return json_pack("{s:i, s:i, s:{}, s:{}, s:{}, s:[]}", "roost", VERSION, "next", 1,
		"bottoms", "layers", "tops", "snapshots");
}

/* What the rest relies on; each name is checked when it is used. */
static int check(const json_t *record, struct err *err)
{
	static const char *const maps[] = {"bottoms", "layers", "tops"};
	if (json_get_int(record, "roost", 0) != VERSION)
		return err_set(err, ERR_REFUSED, "its version is %lld, this roost knows %d",
			(long long)json_get_int(record, "roost", 0), VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		if (!json_is_object(json_object_get(record, maps[i])))
			return err_set(err, ERR_REFUSED, "it has no '%s'", maps[i]);
	if (!json_is_array(json_object_get(record, "snapshots")))
		return err_set(err, ERR_REFUSED, "it has no 'snapshots'");
	return 0;
}

json_t *snapshots_read(int dir, struct err *err)
{
	struct stat folder;
	if (fstat(dir, &folder) < 0) {
		err_errno(err, "cannot look at the guest's folder");
		return NULL;
	}
	if (faccessat(dir, RECORD, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return empty();
	_cleanup_close_ int fd = file_open_owned(dir, RECORD, O_RDONLY, folder.st_uid, err);
	json_t *record = fd < 0 ? NULL : json_file_read_open(fd, RECORD, err);
	if (record && check(record, err) == 0)
		return record;
	json_decref(record);
	err_prefix(err, "the record of its snapshots (" RECORD ")");
	return NULL;
}

static int write_as(int dir, uid_t keeper, const json_t *record, const char *name, struct err *err)
{
	static const char temporary[] = PLAN ".new";
	if (json_file_write(dir, temporary, record, false, err) < 0 ||
		access_give_at(dir, temporary, keeper, err) < 0 ||
		file_flush(dir, temporary, err) < 0)
		return -1;
	if (renameat(dir, temporary, dir, name) < 0)
		return err_errno(err, "cannot write '%s'", name);
	fsync(dir);
	return 0;
}

int snapshots_plan(int dir, uid_t keeper, const json_t *record, struct err *err)
{
	return write_as(dir, keeper, record, PLAN, err);
}

bool snapshots_are_planned(int dir)
{
	return faccessat(dir, PLAN, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int snapshots_commit(int dir, struct err *err)
{
	if (!snapshots_are_planned(dir))
		return 0;
	if (renameat(dir, PLAN, dir, RECORD) < 0)
		return err_errno(err, "cannot write '" RECORD "'");
	fsync(dir);
	return 0;
}

void snapshots_drop_plan(int dir)
{
	unlinkat(dir, PLAN, 0);
	fsync(dir);
}

int snapshots_write(int dir, uid_t keeper, const json_t *record, struct err *err)
{
	unlinkat(dir, PLAN, 0); /* `record` is newer than any plan */
	return write_as(dir, keeper, record, RECORD, err);
}

static bool is_named(const json_t *record, const char *file)
{
	size_t i;
	json_t *s;
	if (json_object_get(json_object_get(record, "layers"), file))
		return true;
	json_array_foreach (json_object_get(record, "snapshots"), i, s)
		if (str_eq(json_get_str(s, "memory", NULL), file))
			return true;
	return false;
}

/* "disk-vda.3.qcow2", "vars.3.qcow2", "memory.3.save": all that a snapshot ever makes. */
static bool is_of_snapshot(const char *file)
{
	unsigned n;
	char end = 0;
	if (str_starts(file, "disk-") && str_ends(file, ".qcow2"))
		return true;
	return (str_ends(file, ".qcow2") && sscanf(file, "vars.%u.qcow%c", &n, &end) == 2) ||
	       (str_ends(file, ".save") && sscanf(file, "memory.%u.sav%c", &n, &end) == 2);
}

void snapshots_sweep(int dir, const json_t *record)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	unlinkat(dir, PLAN ".new", 0);
	files_sweep(dir);
	if (dir_names(dir, &files, NULL, &ignored) < 0)
		return;
	for (char **f = files; *f; f++)
		if (is_of_snapshot(*f) && !is_named(record, *f))
			unlinkat(dir, *f, 0);
}

/* ---- snapshots by name ------------------------------------------------------------------------------ */

json_t *snapshots_find(const json_t *record, const char *name)
{
	size_t i;
	json_t *s;
	json_array_foreach (json_object_get(record, "snapshots"), i, s)
		if (str_eq(json_get_str(s, "name", NULL), name))
			return s;
	return NULL;
}

json_t *snapshots_get(const json_t *record, const char *guest, const char *name, struct err *err)
{
	json_t *s = snapshots_find(record, name);
	if (s)
		return s;
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no snapshot '%s'", guest, name);
	err_hint(err, "`roost snapshot-list %s` lists them", guest);
	return NULL;
}

int snapshots_check_name(const json_t *record, const char *guest, const char *name, struct err *err)
{
	size_t len = strlen(name);
	if (!len || len > 63 || name[0] == '-' || name[0] == '.' ||
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
			len) {
		err_set(err, ERR_USAGE, "'%.80s' cannot be a snapshot's name", name);
		return err_hint(err, "1 to 63 letters, digits, '.', '_' and '-'");
	}
	if (!snapshots_find(record, name))
		return 0;
	return err_set(err, ERR_REFUSED, "guest '%s' has a snapshot '%s' already", guest, name);
}

/* ---- where the next start goes on ---------------------------------------------------------------------- */

static json_t *look_of(int dir, const char *file)
{
	struct stat st;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return json_null();
	return json_pack("[I, I]", (json_int_t)st.st_size,
		(json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

void snapshots_resume_at(int dir, json_t *record, const json_t *snapshot)
{
	json_t *tops = json_object(), *layer;
	const char *target;
	if (!json_get_str(snapshot, "memory", NULL)) {
		json_decref(tops);
		json_object_del(record, "resume");
		return;
	}
	json_object_foreach (json_object_get(snapshot, "disks"), target, layer)
		json_object_set_new(tops, target, look_of(dir, snapshot_top(record, target)));
	json_object_set_new(record, "resume",
		json_pack("{s:O, s:O, s:o}", "snapshot", json_object_get(snapshot, "name"),
			"memory", json_object_get(snapshot, "memory"), "tops", tops));
}

void snapshots_resume_anew(int dir, json_t *record)
{
	json_t *s = snapshots_find(
		record, json_get_str(json_object_get(record, "resume"), "snapshot", ""));
	if (s)
		snapshots_resume_at(dir, record, s);
}

const char *snapshots_resume(const json_t *record)
{
	return json_get_str(json_object_get(record, "resume"), "memory", NULL);
}

int snapshots_check_resume(int dir, const json_t *record, struct err *err)
{
	json_t *was;
	const char *target;
	json_object_foreach (
		json_object_get(json_object_get(record, "resume"), "tops"), target, was) {
		_cleanup_json_ json_t *now = look_of(dir, snapshot_top(record, target));
		if (json_equal(now, was))
			continue;
		err_set(err, ERR_REFUSED,
			"disk '%s' has been changed since the guest went back to a snapshot",
			target);
		return err_hint(err,
			"its RAM knows another content of that disk: going on would destroy what is on it");
	}
	return 0;
}

bool snapshots_saved(int dir)
{
	struct err ignored = ERR_INIT;
	if (faccessat(dir, SAVE_MANAGED, F_OK, 0) == 0)
		return true;
	_cleanup_json_ json_t *record = snapshots_read(dir, &ignored);
	return snapshots_resume(record);
}

void snapshots_forget_saved(int dir, uid_t keeper)
{
	struct err ignored = ERR_INIT;
	unlinkat(dir, SAVE_MANAGED, 0);
	_cleanup_json_ json_t *record = snapshots_read(dir, &ignored);
	if (record && json_object_del(record, "resume") == 0)
		snapshots_write(dir, keeper, record, &ignored);
}

/* ---- layers ---------------------------------------------------------------------------------------- */

size_t snapshot_disks(int dir, const struct definition *d, struct disk_def out[SNAPSHOT_DISKS_MAX])
{
	size_t count = 0;
	char *vars = (char *)firmware_vars_name(d->secure_boot);
	for (size_t i = 0; i < d->disk_count; i++)
		if (!d->disks[i].readonly && !d->disks[i].cdrom)
			out[count++] = d->disks[i];
	if (d->firmware == FIRMWARE_UEFI && faccessat(dir, vars, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		out[count++] = (struct disk_def){
			.source = DISK_BLANK, .file = vars, .target = SNAPSHOT_VARS};
	return count;
}

const struct disk_def *snapshot_disk(const struct definition *d, const struct disk_def *disks,
	size_t count, const char *target, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(disks[i].target, target))
			return &disks[i];
	err_set(err, ERR_REFUSED, "guest '%s' has snapshots of a disk '%s', and no such disk now",
		d->name, target);
	return NULL;
}

const char *snapshot_bottom(const struct disk_def *d)
{
	return d->source == DISK_PATH ? d->path : d->file;
}

const char *snapshot_top(const json_t *record, const char *target)
{
	return json_get_str(json_object_get(record, "tops"), target, "");
}

static const json_t *layer_of(const json_t *record, const char *name)
{
	return json_object_get(json_object_get(record, "layers"), name);
}

int snapshot_chain(const json_t *record, const struct disk_def *d, const char *top,
	const char *names[CHAIN_MAX], size_t *count, struct err *err)
{
	size_t n = 0;
	const char *name = top ? top : snapshot_top(record, d->target);
	const char *bottom = json_get_str(json_object_get(record, "bottoms"), d->target, NULL);
	*count = 0;
	if (!name[0])
		return 0;
	/* variables with the other keys are other variables */
	if (!str_eq(bottom, snapshot_bottom(d)) && str_eq(d->target, SNAPSHOT_VARS))
		return 0;
	if (!str_eq(bottom, snapshot_bottom(d))) {
		err_set(err, ERR_REFUSED, "disk '%s' has snapshots that stand on '%s', not on '%s'",
			d->target, bottom ? bottom : "?", snapshot_bottom(d));
		return err_hint(err, "give it that file back, or another target");
	}
	for (; name[0]; name = json_get_str(layer_of(record, name), "over", "")) {
		const json_t *layer = layer_of(record, name);
		if (n == CHAIN_MAX - 1 || strchr(name, '/') ||
			!str_eq(json_get_str(layer, "disk", NULL), d->target))
			return err_set(err, ERR_REFUSED,
				"disk '%s': its chain of snapshots is too long, or not sound ('%s')",
				d->target, name);
		names[n++] = name;
	}
	*count = n;
	return 0;
}

const char *snapshot_written(const json_t *record, const struct disk_def *d)
{
	struct err ignored = ERR_INIT;
	const char *names[CHAIN_MAX];
	size_t count = 0;
	if (!record || d->readonly || d->cdrom ||
		snapshot_chain(record, d, NULL, names, &count, &ignored) < 0 || !count)
		return NULL;
	return names[0];
}

/* Its name, borrowed from the record. */
static const char *new_top(json_t *record, const struct disk_def *d, const char *over)
{
	int64_t n = json_get_int(record, "next", 1);
	bool vars = str_eq(d->target, SNAPSHOT_VARS);
	_cleanup_free_ char *name =
		str_fmt("%s%s.%lld.qcow2", vars ? "" : "disk-", d->target, (long long)n);
	json_object_set_new(json_object_get(record, "layers"), name,
		json_pack("{s:s, s:s}", "disk", d->target, "over", over));
	json_object_set_new(
		json_object_get(record, "bottoms"), d->target, json_string(snapshot_bottom(d)));
	json_object_set_new(json_object_get(record, "tops"), d->target, json_string(name));
	return snapshot_top(record, d->target);
}

const char *snapshot_backing_format(const struct disk_def *d, const char *over)
{
	bool raw = !over[0] && d->source == DISK_PATH && d->format == FORMAT_RAW;
	return raw ? "raw" : "qcow2";
}

static int make_layer(int dir, uid_t keeper, const struct disk_def *d, const char *name,
	const char *over, uint64_t over_size, struct err *err)
{
	struct qcow2_new new = {.size = over_size,
		.backing = over[0] ? over : snapshot_bottom(d),
		.backing_format = snapshot_backing_format(d, over),
		.durable = true};
	if (qcow2_create(dir, name, &new, err) < 0)
		return err_prefix(err, "disk '%s'", d->target);
	return access_give_at(dir, name, keeper, err);
}

int snapshot_layer_size(int dir, uid_t keeper, const char *name, uint64_t *out, struct err *err)
{
	struct qcow2_info info;
	_cleanup_close_ int fd = base_open_own(dir, name, O_RDONLY, keeper, err);
	if (fd < 0)
		return -1;
	if (qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", name);
	*out = info.virtual_size;
	return 0;
}

int snapshot_put_on_top(int dir, uid_t keeper, json_t *record, const struct disk_def *d,
	const char *over, uint64_t over_size, struct err *err)
{
	const char *names[CHAIN_MAX];
	size_t count;
	/* `over` may be the record's own text, which the new top replaces */
	_cleanup_free_ char *below = xstrdup(over);
	if (snapshot_chain(record, d, below, names, &count, err) < 0)
		return -1;
	/* with the new one, its bottom, and what that stands on it must be opened again */
	if (count + 2 + d->lineage_count > CHAIN_MAX)
		return err_set(err, ERR_REFUSED,
			"disk '%s' stands on %zu files: delete snapshots before making more",
			d->target, count + d->lineage_count);
	const char *name = new_top(record, d, below);
	return make_layer(dir, keeper, d, name, below, over_size, err);
}

void snapshots_count_on(json_t *record)
{
	int64_t number = json_get_int(record, "next", 1);
	json_object_set_new(record, "next", json_integer(number + 1));
}

json_t *snapshot_tops(const json_t *record, const struct disk_def *disks, size_t count)
{
	json_t *tops = json_object();
	for (size_t i = 0; i < count; i++)
		json_object_set_new(
			tops, disks[i].target, json_string(snapshot_top(record, disks[i].target)));
	return tops;
}

json_t *snapshot_add(json_t *record, const struct disk_def *disks, size_t count, const char *name,
	const char *description, const char *state)
{
	json_t *layers = snapshot_tops(record, disks, count);
	json_t *s = json_pack("{s:s, s:s*, s:I, s:s*, s:s, s:o}", "name", name, "description",
		description, "created", (json_int_t)time(NULL), "parent",
		json_get_str(record, "current", NULL), "state", state, "disks", layers);
	json_array_append_new(json_object_get(record, "snapshots"), s);
	json_object_set_new(record, "current", json_string(name));
	return s;
}

static void replace_text(json_t *o, const char *key, const char *was, const char *now)
{
	if (!str_eq(json_get_str(o, key, NULL), was))
		return;
	if (now)
		json_object_set_new(o, key, json_string(now));
	else
		json_object_del(o, key);
}

static void take_out(json_t *record, const char *name)
{
	json_t *list = json_object_get(record, "snapshots"), *s;
	size_t i, at = 0;
	_cleanup_json_ json_t *gone = json_incref(snapshots_find(record, name));
	const char *parent = json_get_str(gone, "parent", NULL);
	json_array_foreach (list, i, s) {
		if (s == gone)
			at = i;
		replace_text(s, "parent", name, parent);
	}
	json_array_remove(list, at);
	replace_text(record, "current", name, parent);
}

static const char *child_of(const json_t *record, const char *name)
{
	size_t i;
	json_t *s;
	json_array_foreach (json_object_get(record, "snapshots"), i, s)
		if (str_eq(json_get_str(s, "parent", NULL), name))
			return json_get_str(s, "name", NULL);
	return NULL;
}

/* All that stand on it: from the leaves on. */
static void take_out_children(json_t *record, const char *name)
{
	const char *child, *leaf;
	while ((leaf = child_of(record, name))) {
		while ((child = child_of(record, leaf)))
			leaf = child;
		_cleanup_free_ char *own = xstrdup(leaf);
		take_out(record, own);
	}
}

void snapshot_take_out_with(json_t *record, const char *name, const char *children)
{
	if (children[0])
		take_out_children(record, name);
	if (!str_eq(children, "only"))
		take_out(record, name);
}

/* ---- what is not needed any more -------------------------------------------------------------------- */

/* Is that layer (or, if "", that disk's bottom) what a snapshot is, or what the guest writes to? */
static bool is_needed(const json_t *record, const char *disk, const char *layer)
{
	size_t i;
	json_t *s;
	if (str_eq(snapshot_top(record, disk), layer))
		return true;
	json_array_foreach (json_object_get(record, "snapshots"), i, s)
		if (str_eq(json_get_str(json_object_get(s, "disks"), disk, NULL), layer))
			return true;
	return false;
}

static size_t count_on(const json_t *record, const char *disk, const char *layer)
{
	size_t count = 0;
	const char *name;
	json_t *l;
	json_object_foreach (json_object_get(record, "layers"), name, l)
		if (str_eq(json_get_str(l, "disk", NULL), disk) &&
			str_eq(json_get_str(l, "over", NULL), layer))
			count++;
	return count;
}

static bool is_frozen(int dir, const json_t *record, const char *disk, const char *layer)
{
	const char *bottom = json_get_str(json_object_get(record, "bottoms"), disk, "");
	return base_is_frozen(dir, layer[0] ? layer : bottom);
}

bool snapshots_loose(int dir, const json_t *record, const char *target, struct loose_layer *out)
{
	const char *name;
	json_t *l;
	json_object_foreach (json_object_get(record, "layers"), name, l) {
		const char *disk = json_get_str(l, "disk", ""), *over = json_get_str(l, "over", "");
		if (target && !str_eq(disk, target))
			continue;
		*out = (struct loose_layer){.name = name, .disk = disk};
		if (!is_needed(record, disk, name) && !count_on(record, disk, name))
			return true;
		out->into = over;
		if (!json_get_bool(l, "alone", false) && !is_needed(record, disk, over) &&
			count_on(record, disk, over) == 1 && !is_frozen(dir, record, disk, over))
			return true;
	}
	return false;
}

void snapshots_forget_layer(json_t *record, const struct loose_layer *l)
{
	json_t *layers = json_object_get(record, "layers"), *other, *s;
	_cleanup_free_ char *name = xstrdup(l->name), *disk = xstrdup(l->disk);
	_cleanup_free_ char *into = xstrdup(l->into);
	const char *key;
	size_t i;
	if (into) {
		json_object_foreach (layers, key, other)
			replace_text(other, "over", name, into);
		json_array_foreach (json_object_get(record, "snapshots"), i, s)
			replace_text(json_object_get(s, "disks"), disk, name, into);
		replace_text(json_object_get(record, "tops"), disk, name, into[0] ? into : NULL);
	}
	json_object_del(layers, name);
	if (!count_on(record, disk, ""))
		json_object_del(json_object_get(record, "bottoms"), disk);
}
