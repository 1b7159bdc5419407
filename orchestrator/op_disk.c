/*
 * Disks of a running guest: attach, detach, grow.
 *
 * The files come open, from the caller, who opened them with his own rights: nobody gains a file
 * by asking a keeper. Each layer gets an fdset and two nodes (disk_open.h), the device takes a free
 * root port. Undoing is the same way back; after a keeper's death its successor goes that
 * way if the device is not there.
 */
#include "orchestrator/attached.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/argv.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/block_node.h"
#include "orchestrator/journal.h"
#include "orchestrator/snapshots.h"

/* ---- attach ---------------------------------------------------------------------------------------- */

/* The layers' open files out of the request, in the order in which they are told. */
static int take_files(
	const json_t *layers, struct request *r, struct disk_files *out, struct err *err)
{
	size_t i;
	json_t *layer;
	struct disk_files f = {0};
	json_array_foreach (layers, i, layer) {
		int fd = i < CHAIN_MAX ? request_take_fd(r) : -1;
		if (fd < 0) {
			disk_files_close(&f);
			return err_set(err, ERR_USAGE, "%zu layers are told of, %zu files came",
				json_array_size(layers), i);
		}
		f.layers[f.count++] = (struct disk_layer){.fd = fd,
			.qcow2 = json_get_bool(layer, "qcow2", false),
			.writable = json_get_bool(layer, "writable", false)};
	}
	if (!f.count)
		return err_set(err, ERR_USAGE, "no file came with the request");
	*out = f;
	return 0;
}

static int add_layer(struct guest *g, const struct disk_def *d, struct disk_files *f, size_t layer,
	json_t *nodes, json_t *sets, struct err *err)
{
	_cleanup_free_ char *file_name = disk_node(d->target, layer, true);
	_cleanup_free_ char *format_name = disk_node(d->target, layer, false);
	_cleanup_json_ json_t *reply = NULL;
	if (guest_qmp_fds(g, "add-fd", json_pack("{s:s}", "opaque", file_name),
		    &f->layers[layer].fd, 1, QMP_BLOCK_MS, &reply, err) < 0)
		return -1;
	cleanup_close(
		&f->layers[layer].fd); /* ours would hold the image's lock after QEMU's death */
	int64_t set = json_get_int(reply, "fdset-id", 0);
	json_array_insert_new(sets, 0, json_integer(set));
	failpoint("attach-after-fd");
	if (guest_qmp(g, "blockdev-add", disk_file_node(d, f, layer, (int)set), QMP_BLOCK_MS, NULL,
		    err) < 0)
		return -1;
	json_array_insert_new(nodes, 0, json_string(file_name));
	if (guest_qmp(g, "blockdev-add", disk_format_node(d, f, layer), QMP_BLOCK_MS, NULL, err) <
		0)
		return -1;
	json_array_insert_new(nodes, 0, json_string(format_name));
	failpoint("attach-after-node");
	return 0;
}

static void remove_layers(struct guest *g, const json_t *nodes, const json_t *sets)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *value;
	json_array_foreach (nodes, i, value)
		guest_qmp(g, "blockdev-del", json_pack("{s:O}", "node-name", value), QMP_BLOCK_MS,
			NULL, &ignored);
	json_array_foreach (sets, i, value)
		guest_qmp(g, "remove-fd", json_pack("{s:O}", "fdset-id", value), QMP_BLOCK_MS, NULL,
			&ignored);
}

static int plug(struct guest *g, const struct disk_def *d, int64_t port, struct err *err)
{
	json_t *device = disk_device(d);
	_cleanup_free_ char *bus = str_fmt("rp%lld", (long long)port);
	if (d->bus == BUS_VIRTIO)
		json_object_set_new(device, "bus", json_string(bus));
	return guest_qmp(g, "device_add", device, QMP_BLOCK_MS, NULL, err);
}

static int check_target(struct guest *g, const struct disk_def *d, struct err *err)
{
	if (definition_disk(g->def, d->target) || attached_find(g, "target", d->target))
		return err_set(err, ERR_REFUSED, "guest '%s' has a disk '%s' already", g->def->name,
			d->target);
	bool scsi = false;
	for (size_t i = 0; i < g->def->disk_count; i++)
		scsi = scsi || g->def->disks[i].bus == BUS_SCSI;
	if (d->bus == BUS_VIRTIO || (d->bus == BUS_SCSI && scsi))
		return 0;
	err_set(err, ERR_REFUSED,
		"a disk cannot be plugged on bus '%s' of guest '%s' while it runs",
		disk_bus_name(d->bus), g->def->name);
	return err_hint(err, "use bus virtio, or add the disk to the definition");
}

/* The first vdb, vdc, ... that neither the definition nor a plugged disk has. */
static int choose_target(struct guest *g, struct disk_def *d, struct err *err)
{
	const char *prefix = d->bus == BUS_VIRTIO ? "vd" : "sd";
	for (char letter = 'a'; !d->target[0] && letter <= 'z'; letter++) {
		char target[8];
		snprintf(target, sizeof(target), "%s%c", prefix, letter);
		if (!definition_disk(g->def, target) && !attached_find(g, "target", target))
			memcpy(d->target, target, sizeof(target));
	}
	return d->target[0] ? 0
			    : err_set(err, ERR_REFUSED, "no target is free on bus '%s'",
				      disk_bus_name(d->bus));
}

static int attach(struct guest *g, struct disk_def *d, struct disk_files *files, int64_t port,
	struct err *err)
{
	_cleanup_json_ json_t *nodes = json_array(), *sets = json_array();
	int result = 0;
	for (size_t layer = files->count; layer-- > 0 && result == 0;)
		result = add_layer(g, d, files, layer, nodes, sets, err);
	if (result == 0)
		result = plug(g, d, port, err);
	failpoint("attach-after-device");
	if (result < 0) {
		remove_layers(g, nodes, sets);
		return -1;
	}
	_cleanup_free_ char *device = str_fmt("disk-%s", d->target);
	json_t *entry = disk_to_json(d);
	json_object_update_new(entry, json_pack("{s:s, s:I, s:s, s:O, s:O}", "kind", "disk", "port",
					      (json_int_t)(d->bus == BUS_VIRTIO ? port : -1),
					      "device", device, "nodes", nodes, "sets", sets));
	json_object_set_new(entry, "target", json_string(d->target));
	return attached_add(g, entry, err);
}

int op_attach_disk(struct guest *g, const json_t *disk, const json_t *layers, struct request *files,
	json_t **ret, struct err *err)
{
	struct disk_def d = {0};
	_cleanup_disk_files_ struct disk_files f = {0};
	int64_t port = -1;
	if (disk_from_json(disk, &d, err) < 0)
		return -1;
	int result = take_files(layers, files, &f, err);
	if (result == 0)
		result = choose_target(g, &d, err);
	if (result == 0)
		result = check_target(g, &d, err);
	if (result == 0)
		result = attached_free_port(g, &port, err);
	if (result == 0) {
		guest_add_place(g, d.target, f.layers[0].fd);
		result = journal_begin(g, "attach-disk",
			json_pack("{s:s, s:I, s:O, s:I}", "target", d.target, "port",
				(json_int_t)port, "disk", disk, "layers", (json_int_t)f.count),
			err);
	}
	if (result == 0) {
		failpoint("attach-begin");
		result = attach(g, &d, &f, port, err);
		failpoint("attach-before-end");
		journal_end(g);
	}
	if (result == 0) {
		*ret = json_pack("{s:s}", "target", d.target);
		guest_event(g, "ROOST_ATTACHED", json_pack("{s:s}", "target", d.target));
	}
	disk_free(&d);
	return result;
}

/* Sets whose fds were added for that disk: `opaque` is the file node's name. */
static json_t *sets_of(struct guest *g, const char *target)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *all = NULL;
	_cleanup_free_ char *lower = str_fmt("%s-", target);
	json_t *sets = json_array(), *set, *fd;
	size_t i, j;
	guest_qmp(g, "query-fdsets", NULL, QMP_BLOCK_MS, &all, &ignored);
	json_array_foreach (all, i, set)
		json_array_foreach (json_object_get(set, "fds"), j, fd)
			if (str_starts(json_get_str(fd, "opaque", ""), lower))
				json_array_append(sets, json_object_get(set, "fdset-id"));
	return sets;
}

/* The device is there: done, and only the list may lack it. It is not: everything goes. */
int recover_attach_disk(struct guest *g, const json_t *journal, struct err *err)
{
	const char *target = json_get_str(journal, "target", "");
	_cleanup_free_ char *device = str_fmt("disk-%s", target);
	_cleanup_json_ json_t *nodes = json_array(), *sets = sets_of(g, target);
	for (size_t layer = 0;
		layer < (size_t)json_get_int(journal, "layers", 0) && layer < CHAIN_MAX; layer++) {
		_cleanup_free_ char *format = disk_node(target, layer, false);
		_cleanup_free_ char *file = disk_node(target, layer, true);
		json_array_append_new(nodes, json_string(format));
		json_array_append_new(nodes, json_string(file));
	}
	if (attached_find(g, "target", target))
		return 0;
	if (!device_exists(g, device)) {
		remove_layers(g, nodes, sets);
		return 0;
	}
	json_t *entry = json_deep_copy(json_object_get(journal, "disk"));
	json_object_update_new(
		entry, json_pack("{s:s, s:O, s:s, s:s, s:O, s:O}", "kind", "disk", "port",
			       json_object_get(journal, "port"), "device", device, "target", target,
			       "nodes", nodes, "sets", sets));
	return attached_add(g, entry, err);
}

/* ---- detach ---------------------------------------------------------------------------------------- */

static json_t *find_disk(struct guest *g, const char *word)
{
	json_t *entry = attached_find(g, "target", word);
	return entry ? entry : attached_find(g, "path", word);
}

/* Without them its file is not what the guest has written to it. */
static int check_no_layers(struct guest *g, const char *target, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record)
		return -1;
	if (!snapshot_top(record, target)[0])
		return 0;
	err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' has snapshots: its file alone is not it",
		target, g->def->name);
	return err_hint(err,
		"`roost snapshot-delete %s SNAPSHOT` first: `roost snapshot-list %s` lists them",
		g->def->name, g->def->name);
}

int op_detach_disk(struct guest *g, const char *target, int64_t timeout_ms, struct err *err)
{
	json_t *entry = find_disk(g, target);
	if (entry)
		return check_no_layers(g, json_get_str(entry, "target", ""), err) < 0
			       ? -1
			       : attached_unplug(g, entry, timeout_ms, err);
	if (!definition_disk(g->def, target))
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no disk '%s'", g->def->name,
			       target),
		       err_hint(err, "`roost domblklist %s` lists them", g->def->name);
	err_set(err, ERR_REFUSED,
		"disk '%s' was there when guest '%s' started, and cannot be unplugged while it runs",
		target, g->def->name);
	return err_hint(err, "`roost detach-disk %s %s --config` takes it away at the next start",
		g->def->name, target);
}

/* ---- grow ------------------------------------------------------------------------------------------ */

int op_blockresize(struct guest *g, const char *word, uint64_t bytes, struct err *err)
{
	const json_t *entry = find_disk(g, word);
	const struct disk_def *d = definition_disk(g->def, word);
	const char *target = entry ? json_get_str(entry, "target", word) : d ? d->target : word;
	_cleanup_free_ char *node = block_top_node(g, target, err);
	uint64_t before, after;
	if (!node || block_node_size(g, node, &before, err) < 0)
		return -1;
	if (bytes % 512)
		return err_set(err, ERR_USAGE, "%llu bytes are no multiple of a sector's 512",
			(unsigned long long)bytes);
	if (bytes < before) {
		err_set(err, ERR_REFUSED,
			"disk '%s' is %s large: making it %s would cut off what is in it", node,
			str_size(before), str_size(bytes));
		return err_hint(err, "a disk only grows while its guest runs");
	}
	if (journal_begin(g, "blockresize",
		    json_pack("{s:s, s:I}", "target", node, "size", (json_int_t)bytes), err) < 0)
		return -1;
	failpoint("blockresize-begin");
	int result = guest_qmp(g, "block_resize",
		json_pack("{s:s, s:I}", "node-name", node, "size", (json_int_t)bytes), QMP_HEAVY_MS,
		NULL, err);
	failpoint("blockresize-before-end");
	journal_end(g);
	if (result < 0 || block_node_size(g, node, &after, err) < 0)
		return -1;
	if (after != bytes)
		return err_set(err, ERR_QEMU, "disk '%s' is %s large now, not %s", node,
			str_size(after), str_size(bytes));
	return 0;
}
