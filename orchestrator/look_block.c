#include "orchestrator/look_block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/disk_size.h"
#include "orchestrator/paths.h"

const struct disk_counter disk_counters[DISK_COUNTERS] = {
	{"rd_req", "rd_operations", "number of read operations", "rd.reqs"},
	{"rd_bytes", "rd_bytes", "number of bytes read", "rd.bytes"},
	{"wr_req", "wr_operations", "number of write operations", "wr.reqs"},
	{"wr_bytes", "wr_bytes", "number of bytes written", "wr.bytes"},
	{"flush_operations", "flush_operations", "number of flush operations", "fl.reqs"},
	{"rd_total_times", "rd_total_time_ns", "total duration of reads (ns)", "rd.times"},
	{"wr_total_times", "wr_total_time_ns", "total duration of writes (ns)", "wr.times"},
	{"flush_total_times", "flush_total_time_ns", "total duration of flushes (ns)", "fl.times"},
};

/* ---- which there are ------------------------------------------------------------------------------ */

static void add_disk(json_t *disks, const char *target, const char *source, bool cdrom)
{
	json_t *disk =
		json_pack("{s:s, s:s}", "target", target, "device", cdrom ? "cdrom" : "disk");
	if (source)
		json_object_set_new(disk, "source", json_string(source));
	json_array_append_new(disks, disk);
}

/* What is written is its newest layer; the name that people gave it is one of its names still. */
static void name_below(json_t *disks, const char *path, const char *written)
{
	if (path && !str_eq(path, written))
		json_object_set_new(json_array_get(disks, json_array_size(disks) - 1), "below",
			json_string(path));
}

static void add_plugged(json_t *disks, const char *guest, const json_t *entry, struct err *err)
{
	struct disk_def disk = {.source = DISK_PATH};
	_cleanup_free_ char *path = xstrdup(json_get_str(entry, "path", ""));
	disk.path = path;
	snprintf(disk.target, sizeof(disk.target), "%s", json_get_str(entry, "target", ""));
	_cleanup_free_ char *written = disk_size_path(guest, &disk, err);
	add_disk(disks, disk.target, written, false);
	name_below(disks, path, written);
}

json_t *look_disks(const struct look *l, struct err *err)
{
	_cleanup_definition_ struct definition *d = look_definition(&l->f, err);
	if (!d)
		return NULL;
	_cleanup_json_ json_t *live = look_plugged(&l->f);
	json_t *disks = json_array(), *entry;
	size_t i;
	for (i = 0; i < d->disk_count; i++) {
		const struct disk_def *disk = &d->disks[i];
		_cleanup_free_ char *written = disk_size_path(d->name, disk, err);
		add_disk(disks, disk->target, written, disk->cdrom);
		name_below(disks, disk->path, written);
	}
	json_array_foreach (live, i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "disk") &&
			!definition_disk(d, json_get_str(entry, "target", "")))
			add_plugged(disks, d->name, entry, err);
	return disks;
}

json_t *look_disk(const struct look *l, const json_t *disks, const char *word, struct err *err)
{
	size_t i;
	json_t *disk;
	json_array_foreach (disks, i, disk)
		if (str_eq(json_get_str(disk, "target", ""), word) ||
			str_eq(json_get_str(disk, "source", NULL), word) ||
			str_eq(json_get_str(disk, "below", NULL), word))
			return disk;
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no disk '%s'", l->f.name, word);
	err_hint(err, "`roost domblklist %s` lists them", l->f.name);
	return NULL;
}

/* ---- of a guest that runs ------------------------------------------------------------------------- */

/* "disk-vda", or "/machine/peripheral/disk-vda/virtio-backend": QEMU tells either. */
static bool is_device(const char *qdev, const char *target)
{
	_cleanup_free_ char *id = str_fmt("disk-%s", target);
	const char *at = strstr(qdev, id);
	return at && (at == qdev || at[-1] == '/') && (!at[strlen(id)] || at[strlen(id)] == '/');
}

static const json_t *of_device(const json_t *all, const char *target)
{
	size_t i;
	json_t *device;
	json_array_foreach (all, i, device)
		if (is_device(json_get_str(device, "qdev", ""), target))
			return device;
	return NULL;
}

static const json_t *image_of(const json_t *nodes, const char *name)
{
	size_t i;
	json_t *node;
	json_array_foreach (nodes, i, node)
		if (str_eq(json_get_str(node, "node-name", NULL), name))
			return json_object_get(node, "image");
	return NULL;
}

static void copy_int(json_t *to, const char *key, const json_t *from, const char *theirs)
{
	const json_t *value = json_object_get(from, theirs);
	if (json_is_integer(value))
		json_object_set_new(to, key, json_integer(json_integer_value(value)));
}

static int ask_sizes(struct look *l, json_t *disks, struct err *err)
{
	_cleanup_json_ json_t *devices = NULL, *nodes = NULL;
	size_t i;
	json_t *disk;
	if (look_ask(l, "query-blockstats", NULL, &devices, err) < 0 ||
		look_ask(l, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &nodes, err) <
			0)
		return -1;
	json_array_foreach (disks, i, disk) {
		const json_t *device = of_device(devices, json_get_str(disk, "target", ""));
		const json_t *image = image_of(nodes, json_get_str(device, "node-name", ""));
		const json_t *file = image_of(
			nodes, json_get_str(json_object_get(device, "parent"), "node-name", ""));
		copy_int(disk, "capacity", image, "virtual-size");
		copy_int(disk, "allocation", file, "actual-size");
		copy_int(disk, "physical", file, "virtual-size");
		/* how far it was written since the start; 0: not at all */
		copy_int(disk, "highest",
			json_object_get(json_object_get(device, "parent"), "stats"),
			"wr_highest_offset");
	}
	return 0;
}

int look_disk_counters(struct look *l, json_t *disks, struct err *err)
{
	_cleanup_json_ json_t *devices = NULL;
	size_t i;
	json_t *disk;
	if (look_ask(l, "query-blockstats", NULL, &devices, err) < 0)
		return -1;
	json_array_foreach (disks, i, disk) {
		const json_t *stats = json_object_get(
			of_device(devices, json_get_str(disk, "target", "")), "stats");
		for (size_t j = 0; j < DISK_COUNTERS; j++)
			copy_int(disk, disk_counters[j].name, stats, disk_counters[j].qemus);
	}
	return 0;
}

/* ---- of one that does not ------------------------------------------------------------------------- */

/* A member of the group may not open every disk: then roostd looks for him. */
static int read_sizes(const struct look *l, const struct disk_def *d, json_t *disk, struct err *err)
{
	_cleanup_json_ json_t *sizes = NULL;
	_cleanup_free_ char *path = disk_size_path(l->f.name, d, err);
	if (!path)
		return 0;
	if (access(path, R_OK) == 0 || errno != EACCES)
		return disk_size_read(l->f.name, d, disk, err);
	if (supervisor_call("roost-disk-size",
		    json_pack("{s:s, s:s}", "name", l->f.name, "target", d->target), &sizes,
		    err) < 0)
		return -1;
	return json_object_update(disk, sizes);
}

int look_disk_sizes(struct look *l, json_t *disks, struct err *err)
{
	size_t i;
	json_t *disk;
	if (look_runs(l))
		return ask_sizes(l, disks, err);
	_cleanup_definition_ struct definition *d = look_definition(&l->f, err);
	if (!d)
		return -1;
	json_array_foreach (disks, i, disk) {
		const struct disk_def *def = definition_disk(d, json_get_str(disk, "target", ""));
		if (def && read_sizes(l, def, disk, err) < 0)
			return -1;
	}
	return 0;
}
