#include "orchestrator/block_node.h"

#include <fcntl.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/snapshots.h"

/* "disk-vda", or "/machine/peripheral/disk-vda/virtio-backend": QEMU tells either. */
static bool is_device(const char *qdev, const char *id)
{
	const char *at = strstr(qdev, id);
	size_t len = strlen(id);
	return at && (at == qdev || at[-1] == '/') && (!at[len] || at[len] == '/');
}

static int no_disk(const struct guest *g, const char *target, struct err *err)
{
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no disk '%s' now", g->def->name, target);
	return err_hint(err, "`roost domblklist %s` lists them", g->def->name);
}

/* What QEMU calls the device of a disk. The variables' is the second flash chip: argv.c. */
static char *device_id(const char *target)
{
	return str_eq(target, SNAPSHOT_VARS) ? xstrdup("system.flash1")
					     : str_fmt("disk-%s", target);
}

char *block_top_node(struct guest *g, const char *target, struct err *err)
{
	_cleanup_json_ json_t *devices = NULL;
	_cleanup_free_ char *id = device_id(target);
	size_t i;
	json_t *device;
	if (guest_qmp(g, "query-block", NULL, QMP_HEAVY_MS, &devices, err) < 0)
		return NULL;
	json_array_foreach (devices, i, device) {
		const char *node =
			json_get_str(json_object_get(device, "inserted"), "node-name", NULL);
		if (node && is_device(json_get_str(device, "qdev", ""), id))
			return xstrdup(node);
	}
	no_disk(g, target, err);
	return NULL;
}

json_t *block_chain(struct guest *g, const char *target, struct err *err)
{
	_cleanup_json_ json_t *devices = NULL;
	_cleanup_free_ char *id = device_id(target);
	size_t i;
	json_t *device;
	if (guest_qmp(g, "query-blockstats", NULL, QMP_HEAVY_MS, &devices, err) < 0)
		return NULL;
	json_array_foreach (devices, i, device) {
		if (!is_device(json_get_str(device, "qdev", ""), id))
			continue;
		json_t *names = json_array();
		for (const json_t *n = device; n; n = json_object_get(n, "backing"))
			json_array_append(names, json_object_get(n, "node-name"));
		return names;
	}
	no_disk(g, target, err);
	return NULL;
}

int block_node_size(struct guest *g, const char *node, uint64_t *out, struct err *err)
{
	_cleanup_json_ json_t *nodes = NULL;
	size_t i;
	json_t *n;
	if (guest_qmp(g, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), QMP_HEAVY_MS,
		    &nodes, err) < 0)
		return -1;
	json_array_foreach (nodes, i, n)
		if (str_eq(json_get_str(n, "node-name", NULL), node)) {
			*out = (uint64_t)json_get_int(
				json_object_get(n, "image"), "virtual-size", 0);
			return 0;
		}
	return err_set(err, ERR_QEMU, "QEMU has no node '%s'", node);
}

/* One pass: nodes on which others stand cannot go yet. How many have gone. */
static size_t remove_some(struct guest *g, const char *prefix)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *nodes = NULL;
	size_t i, gone = 0;
	json_t *node;
	guest_qmp(g, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), QMP_HEAVY_MS, &nodes,
		&ignored);
	json_array_foreach (nodes, i, node)
		if (str_starts(json_get_str(node, "node-name", ""), prefix) &&
			guest_qmp(g, "blockdev-del",
				json_pack("{s:O}", "node-name", json_object_get(node, "node-name")),
				QMP_HEAVY_MS, NULL, &ignored) == 0)
			gone++;
	return gone;
}

static void remove_sets(struct guest *g, const char *prefix)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *sets = NULL;
	size_t i;
	json_t *set;
	guest_qmp(g, "query-fdsets", NULL, QMP_BLOCK_MS, &sets, &ignored);
	json_array_foreach (sets, i, set) {
		const json_t *first = json_array_get(json_object_get(set, "fds"), 0);
		if (str_starts(json_get_str(first, "opaque", ""), prefix))
			guest_qmp(g, "remove-fd",
				json_pack("{s:O}", "fdset-id", json_object_get(set, "fdset-id")),
				QMP_BLOCK_MS, NULL, &ignored);
	}
}

int block_add_layer(struct guest *g, const struct disk_def *d, int fd, const char *prefix,
	const char *below, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_free_ char *top = str_fmt("%stop", prefix), *file = str_fmt("%sfile", prefix);
	bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
	const struct disk_files layer = {
		.count = 1, .layers = {{.fd = -1, .qcow2 = true, .writable = writable}}};
	if (guest_qmp_fds(g, "add-fd", json_pack("{s:s}", "opaque", file), &fd, 1, QMP_BLOCK_MS,
		    &reply, err) < 0)
		return -1;
	json_t *node = disk_file_node(d, &layer, 0, (int)json_get_int(reply, "fdset-id", 0));
	json_object_set_new(node, "node-name", json_string(file));
	if (guest_qmp(g, "blockdev-add", node, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	json_t *format = disk_format_node(d, &layer, 0);
	json_object_set_new(format, "node-name", json_string(top));
	json_object_set_new(format, "file", json_string(file));
	if (below)
		json_object_set_new(format, "backing", json_string(below));
	return guest_qmp(g, "blockdev-add", format, QMP_BLOCK_MS, NULL, err);
}

/* "vda-1-file" of "vda-1", "vda-s3.file" of "vda-s3.top". */
static char *file_node(const char *node)
{
	size_t len = strlen(node) - (str_ends(node, ".top") ? strlen("top") : 0);
	return str_fmt("%.*s%s", (int)len, node, str_ends(node, ".top") ? "file" : "-file");
}

void block_remove_node(struct guest *g, const char *node)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *file = file_node(node);
	const char *const both[] = {node, file};
	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		guest_qmp(g, "blockdev-del", json_pack("{s:s}", "node-name", both[i]), QMP_HEAVY_MS,
			NULL, &ignored);
	remove_sets(g, file);
}

void block_remove_nodes(struct guest *g, const char *prefix)
{
	while (remove_some(g, prefix) > 0)
		;
	remove_sets(g, prefix);
}
