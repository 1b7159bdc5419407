/*
 * Starting a guest from what was saved of it: the same QEMU with the same devices at the same places,
 * those included that were plugged, and then its RAM and their state out of the file.
 *
 * The client has opened the file and the plugged disks with his own rights and has looked at them; the
 * rest is a start like any other (op_start.c), until the CPUs would go.
 */
#include "orchestrator/save.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/argv.h"
#include "orchestrator/attached.h"
#include "orchestrator/network_address.h"
#include "orchestrator/record.h"

enum { SET_PLUGGED = 500, NIC_INDEX = 100 }; /* fdsets apart from those of argv.c and of add-fd */

/* ---- before QEMU ----------------------------------------------------------------------------------- */

static int take_layers(
	struct restore *r, const json_t *entry, struct request *files, struct err *err)
{
	size_t i;
	json_t *layer;
	if (r->plugged_count == DISKS_MAX)
		return err_set(err, ERR_USAGE, "more than %d disks were plugged", DISKS_MAX);
	struct disk_files *f = &r->plugged[r->plugged_count++];
	json_array_foreach (json_object_get(entry, "layers"), i, layer) {
		int fd = i < CHAIN_MAX ? request_take_fd(files) : -1;
		if (fd < 0)
			return err_set(err, ERR_USAGE, "a file of disk '%s' did not come",
				json_get_str(entry, "target", "?"));
		f->layers[f->count++] = (struct disk_layer){.fd = fd,
			.qcow2 = json_get_bool(layer, "qcow2", false),
			.writable = json_get_bool(layer, "writable", false),
			.ours = json_get_bool(layer, "ours", false)};
	}
	return f->count ? 0 : err_set(err, ERR_USAGE, "a plugged disk has no file");
}

/* The definition that it ran by, under the identity that the guest has now. */
static int take_definition(struct guest *g, const json_t *facts, struct err *err)
{
	const json_t *told = json_object_get(facts, "definition");
	if (!json_is_object(told))
		return err_set(err, ERR_USAGE, "the save file has no definition");
	_cleanup_definition_ struct definition *d = definition_from_json(told, err);
	if (!d)
		return err_prefix(err, "the definition in the save file");
	if (!str_eq(d->name, g->def->name) || !str_eq(d->uuid, g->def->uuid))
		return err_set(err, ERR_REFUSED, "what was saved is guest '%s' with the UUID %s",
			d->name, d->uuid);
	free(d->issued.host_key);
	d->issued = g->def->issued;
	d->issued.host_key = xstrdup(g->def->issued.host_key);
	/* RAM that one accelerator has run is not another's */
	d->accel = str_eq(json_get_str(facts, "accel", ""), "kvm") ? ACCEL_KVM : ACCEL_TCG;
	definition_free(g->def);
	g->def = TAKE(d);
	return 0;
}

int restore_prepare(struct guest *g, const json_t *facts, struct request *files, struct err *err)
{
	size_t i;
	json_t *entry;
	if (take_definition(g, facts, err) < 0)
		return -1;
	struct restore *r = g->restore = xcalloc(1, sizeof(*r));
	r->facts = json_deep_copy(facts);
	r->stream = request_take_fd(files);
	if (r->stream < 0)
		return err_set(err, ERR_USAGE, "no save file came with the request");
	json_array_foreach (json_object_get(r->facts, "plugged"), i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "disk") &&
			take_layers(r, entry, files, err) < 0)
			return -1;
	return 0;
}

void restore_free(struct guest *g)
{
	struct restore *r = TAKE(g->restore);
	if (!r)
		return;
	cleanup_close(&r->stream);
	for (size_t i = 0; i < r->plugged_count; i++)
		disk_files_close(&r->plugged[i]);
	json_decref(r->facts);
	free(r);
}

/* ---- the command line ------------------------------------------------------------------------------- */

static void add_json(struct launch *l, const char *option, json_t *value)
{
	launch_arg(l, "%s", option);
	launch_arg_json(l, value);
}

static void set_port(json_t *device, const json_t *entry)
{
	_cleanup_free_ char *bus = str_fmt("rp%lld", (long long)json_get_int(entry, "port", 0));
	json_object_set_new(device, "bus", json_string(bus));
}

static int add_disk(struct guest *g, struct launch *l, json_t *entry, struct disk_files *f,
	int *set, struct err *err)
{
	struct disk_def d = {0};
	_cleanup_json_ json_t *asked = disk_of_plugged(entry);
	json_t *nodes = json_array(), *sets = json_array();
	json_object_set_new(entry, "nodes", nodes);
	json_object_set_new(entry, "sets", sets);
	json_object_del(entry, "layers");
	if (disk_from_json(asked, &d, err) < 0)
		return err_prefix(err, "a disk that was plugged");
	guest_add_place(g, d.target, f->layers[0].fd);
	for (size_t layer = f->count; layer-- > 0; (*set)++) {
		_cleanup_free_ char *file = disk_node(d.target, layer, true);
		_cleanup_free_ char *format = disk_node(d.target, layer, false);
		launch_arg(l, "-add-fd");
		launch_arg(l, "fd=%d,set=%d,opaque=%s", launch_fd(l, TAKE_FD(f->layers[layer].fd)),
			*set, file);
		add_json(l, "-blockdev", disk_file_node(&d, f, layer, *set));
		add_json(l, "-blockdev", disk_format_node(&d, f, layer));
		json_array_insert_new(sets, 0, json_integer(*set));
		json_array_insert_new(nodes, 0, json_string(file));
		json_array_insert_new(nodes, 0, json_string(format));
	}
	json_t *device = disk_device(&d);
	if (d.bus == BUS_VIRTIO)
		set_port(device, entry);
	add_json(l, "-device", device);
	disk_free(&d);
	return 0;
}

/* Its address may be another's by now, which is refused. What it runs with, or what is plugged, tells already that it is ours. */
static int take_address(
	const struct guest *g, const struct nic_def *n, size_t index, struct err *err)
{
	const struct network_claim who = {.mac = n->mac,
		.guest = g->def->name,
		.uuid = g->def->uuid,
		.nic = index,
		.maker = -1,
		.may_move = true};
	struct network network;
	struct network_address a;
	if (n->kind != NIC_NETWORK)
		return 0;
	return nic_network(n, &network, err) < 0
		       ? -1
		       : network_address_take(
				 &network, &who, n->address[0] ? n->address : NULL, &a, err);
}

int restore_addresses(struct guest *g, struct err *err)
{
	if (record_keep_running(g->run, g->def, err) < 0)
		return -1;
	for (size_t i = 0; i < g->def->nic_count; i++)
		if (take_address(g, &g->def->nics[i], i, err) < 0)
			return -1;
	return 0;
}

/* One on a network gets another tap; what was published for it is published again. */
static int add_nic(struct guest *g, struct launch *l, json_t *entry, struct err *err)
{
	struct nic_def n = {0};
	_cleanup_nic_tap_ struct nic_tap t = {0};
	const struct nic_of of = {.guest = g->def->name,
		.id = g->def->issued.id,
		.index = NIC_PLUGGED + (size_t)json_get_int(entry, "port", 0)};
	if (nic_from_json(json_object_get(entry, "interface"), &n, err) < 0)
		return err_prefix(err, "an interface that was plugged");
	if (n.kind != NIC_USER) {
		json_t *forwards = json_array();
		json_object_set_new(entry, "forwards", forwards);
		if (take_address(g, &n, of.index, err) < 0 ||
			nic_tap_open(&n, &of, forwards, &t, err) < 0)
			return -1;
	}
	_cleanup_free_ char *queues = launch_fds(l, t.queues, &t.count);
	_cleanup_free_ char *vhosts = launch_fds(l, t.vhosts, &t.vhost_count);
	json_t *device = nic_device(&n, of.index);
	set_port(device, entry);
	json_object_set_new(device, "romfile", json_string(""));
	add_json(l, "-netdev",
		nic_netdev(&n, of.index, json_object_get(entry, "forwards"), queues, vhosts));
	add_json(l, "-device", device);
	return 0;
}

int restore_argv(struct guest *g, struct launch *l, struct err *err)
{
	struct restore *r = g->restore;
	int set = SET_PLUGGED;
	size_t i, disk = 0;
	json_t *entry, *cpu;
	launch_arg(l, "-incoming");
	launch_arg(l, "defer");
	json_array_foreach (json_object_get(r->facts, "cpus"), i, cpu)
		add_json(l, "-device", json_incref(cpu));
	json_array_foreach (json_object_get(r->facts, "plugged"), i, entry) {
		const char *kind = json_get_str(entry, "kind", "");
		if (str_eq(kind, "medium"))
			continue;                     /* it is in the definition */
		json_object_del(entry, "unplugging"); /* that wish has ended with its QEMU */
		if (attached_add(g, json_incref(entry), err) < 0 ||
			(str_eq(kind, "disk") &&
				add_disk(g, l, entry, &r->plugged[disk++], &set, err) < 0) ||
			(str_eq(kind, "interface") && add_nic(g, l, entry, err) < 0) ||
			attached_save(g, err) < 0)
			return -1;
	}
	g->status.memory = json_get_int(r->facts, "memory", g->status.memory);
	g->status.vcpus = json_get_int(r->facts, "current_vcpus", g->status.vcpus);
	/* its boot began long ago: it need not say anything more on its console */
	int64_t from = json_get_int(r->facts, "console_from", g->status.console_from);
	if (from >= 0 && from < g->status.console_from)
		g->status.console_from = from;
	return 0;
}

/* ---- RAM ------------------------------------------------------------------------------------------- */

int restore_load(struct guest *g, struct err *err)
{
	if (migration_tell_events(g, err) < 0 ||
		guest_qmp_fds(g, "getfd", json_pack("{s:s}", "fdname", "restore"),
			&g->restore->stream, 1, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	failpoint("restore-after-getfd");
	if (guest_qmp(g, "migrate-incoming", json_pack("{s:s}", "uri", "fd:restore"), QMP_HEAVY_MS,
		    NULL, err) < 0)
		return -1;
	failpoint("restore-loading");
	if (migration_await(g, "loading RAM", err) < 0)
		return -1;
	failpoint("restore-loaded");
	return 0;
}

/* One that was not told yet where its RAM is will never be: the file is as it was, another start takes it. */
int restore_adopt(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *info = NULL;
	if (migration_status(g, &info, err) < 0)
		return -1;
	if (str_eq(json_get_str(info, "status", "none"), "none"))
		return op_destroy(g, "failed to start: its keeper died", false, err);
	return migration_await(g, "loading RAM", err) < 0 ? -1 : 1;
}
