/*
 * Interfaces of a running guest, plugged on a root port. The keeper makes no tap: the open files of one come with the
 * request, of who had it made (plug_nic.c).
 */
#include "orchestrator/attached.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/argv.h"
#include "orchestrator/journal.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/ports.h"

static bool mac_taken(struct guest *g, const char *mac)
{
	for (size_t i = 0; i < g->def->nic_count; i++)
		if (str_eq(g->def->nics[i].mac, mac))
			return true;
	return attached_find(g, "mac", mac) != NULL;
}

/* ---- the open files of a tap ---------------------------------------------------------------------- */

static char *fd_name(size_t index, char kind, size_t i)
{
	return str_fmt("net%zu%c%zu", index, kind, i);
}

/* Gives them to QEMU: "net100q0:net100q1". *names is NULL if there are none. */
static int give_fds(struct guest *g, size_t index, char kind, const int *fds, size_t count,
	char **names, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *name = fd_name(index, kind, i);
		if (guest_qmp_fds(g, "getfd", json_pack("{s:s}", "fdname", name), &fds[i], 1,
			    QMP_BLOCK_MS, NULL, err) < 0)
			return -1;
		buf_fmt(&text, "%s%s", i ? ":" : "", name);
	}
	*names = count ? buf_steal(&text) : NULL;
	return 0;
}

/* Those that no netdev has taken. */
static void take_fds_back(struct guest *g, size_t index, size_t count)
{
	for (size_t i = 0; i < 2 * count; i++) {
		struct err ignored = ERR_INIT;
		_cleanup_free_ char *name = fd_name(index, i < count ? 'q' : 'v', i % count);
		guest_qmp(g, "closefd", json_pack("{s:s}", "fdname", name), QMP_BLOCK_MS, NULL,
			&ignored);
	}
}

/* ---- plugging -------------------------------------------------------------------------------------- */

static int add_netdev(struct guest *g, const struct nic_def *n, size_t index,
	const json_t *forwards, const struct nic_tap *t, struct err *err)
{
	_cleanup_free_ char *queues = NULL, *vhosts = NULL;
	if (give_fds(g, index, 'q', t->queues, t->count, &queues, err) == 0 &&
		give_fds(g, index, 'v', t->vhosts, t->vhost_count, &vhosts, err) == 0 &&
		guest_qmp(g, "netdev_add", nic_netdev(n, index, forwards, queues, vhosts),
			QMP_BLOCK_MS, NULL, err) == 0)
		return 0;
	if (t->count)
		take_fds_back(g, index, t->count);
	return -1;
}

static int plug(struct guest *g, const struct nic_def *n, size_t index, int64_t port,
	const json_t *forwards, const struct nic_tap *t, struct err *err)
{
	_cleanup_free_ char *bus = str_fmt("rp%lld", (long long)port);
	_cleanup_free_ char *netdev = str_fmt("net%zu", index);
	struct err ignored = ERR_INIT;
	if (add_netdev(g, n, index, forwards, t, err) < 0)
		return -1;
	failpoint("attach-interface-after-netdev");
	json_t *device = nic_device(n, index);
	json_object_set_new(device, "bus", json_string(bus));
	json_object_set_new(device, "romfile", json_string(""));
	if (guest_qmp(g, "device_add", device, QMP_BLOCK_MS, NULL, err) == 0)
		return 0;
	guest_qmp(g, "netdev_del", json_pack("{s:s}", "id", netdev), QMP_BLOCK_MS, NULL, &ignored);
	return -1;
}

/* As the next keeper, a restore and `domiflist` want it. */
static json_t *new_entry(const struct nic_def *n, int64_t port, const json_t *forwards)
{
	size_t index = NIC_PLUGGED + (size_t)port;
	_cleanup_free_ char *device = str_fmt("nic%zu", index), *netdev = str_fmt("net%zu", index);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:o, s:O}", "kind", "interface", "port",
		(json_int_t)port, "device", device, "netdev", netdev, "mac", n->mac, "model",
		nic_model_name(n->model), "interface", nic_to_json(n), "forwards", forwards);
}

/* Its QEMU has no way to the host's network if all that it was started with are taps: op_start.c. */
static int check_reach(const struct guest *g, const struct nic_def *n, struct err *err)
{
	const struct identity *id = &g->def->issued;
	bool user = !g->def->nic_count || id->qemu_uid == id->keeper_uid; /* not root's */
	for (size_t i = 0; i < g->def->nic_count; i++)
		user = user || g->def->nics[i].kind == NIC_USER;
	if (n->kind != NIC_USER || user)
		return 0;
	err_set(err, ERR_REFUSED,
		"guest '%s' was started with no interface of user networking: its QEMU sees no network of the host's",
		g->def->name);
	return err_hint(err, "plug one on a network: `roost attach-interface %s network default`",
		g->def->name);
}

/* What came with the request: of a tap an open file for each queue, then perhaps as many of /dev/vhost-net. */
static int take_files(
	struct request *r, const struct nic_def *n, struct nic_tap *t, struct err *err)
{
	size_t queues = n->kind == NIC_USER ? 0 : n->queues ? n->queues : 1;
	while (t->count < queues && (t->queues[t->count] = request_take_fd(r)) >= 0)
		t->count++;
	while (t->vhost_count < queues && (t->vhosts[t->vhost_count] = request_take_fd(r)) >= 0)
		t->vhost_count++;
	if (t->count == queues && (!t->vhost_count || t->vhost_count == queues))
		return 0;
	return err_set(err, ERR_USAGE, "%zu open files came for an interface of %zu queues",
		t->count + t->vhost_count, queues);
}

/* Whose tap was made for it must be the port. */
static int choose_port(struct guest *g, const json_t *args, int64_t *port, struct err *err)
{
	int64_t wanted = json_get_int(args, "port", -1);
	if (wanted < 0 || pci_old(g->def->machine))
		return attached_free_port(g, port, err);
	if (wanted >= ROOT_PORTS || attached_port_taken(g, wanted)) {
		err_set(err, ERR_BUSY, "guest '%s': root port %lld is taken", g->def->name,
			(long long)wanted);
		return err_hint(err, "try again, or detach something first");
	}
	*port = wanted;
	return 0;
}

int op_attach_interface(
	struct guest *g, const json_t *args, struct request *files, json_t **ret, struct err *err)
{
	struct nic_def n = {0};
	int64_t port;
	_cleanup_nic_tap_ struct nic_tap t = {0};
	_cleanup_json_ json_t *forwards = json_array();
	json_array_extend(forwards, json_object_get(args, "forwards"));
	if (nic_from_json(json_object_get(args, "interface"), &n, err) < 0 ||
		take_files(files, &n, &t, err) < 0 || check_reach(g, &n, err) < 0 ||
		choose_port(g, args, &port, err) < 0)
		return -1;
	if (!n.mac[0])
		mac_new(n.mac);
	if (mac_taken(g, n.mac))
		return err_set(err, ERR_REFUSED, "guest '%s' has an interface %s already",
			g->def->name, n.mac);
	size_t index = NIC_PLUGGED + (size_t)port;
	if ((n.kind == NIC_USER && ports_choose(&n, index, forwards, err) < 0) ||
		journal_begin(g, "attach-interface",
			json_pack("{s:o, s:I, s:O}", "interface", nic_to_json(&n), "port",
				(json_int_t)port, "forwards", forwards),
			err) < 0)
		return -1;
	_cleanup_free_ char *device = str_fmt("nic%zu", index);
	link_forget(g, device);
	int result = plug(g, &n, index, port, forwards, &t, err);
	if (result == 0 && n.link_down)
		result = link_set(g, device, false, err);
	failpoint("attach-interface-after-device");
	if (result == 0)
		result = attached_add(g, new_entry(&n, port, forwards), err);
	journal_end(g);
	if (result == 0)
		*ret = json_pack("{s:s, s:s, s:O}", "mac", n.mac, "address", n.address, "forwards",
			forwards);
	return result;
}

int recover_attach_interface(struct guest *g, const json_t *journal, struct err *err)
{
	struct err ignored = ERR_INIT;
	struct nic_def n = {0};
	int64_t port = json_get_int(journal, "port", 0);
	if (nic_from_json(json_object_get(journal, "interface"), &n, err) < 0)
		return -1;
	json_t *entry = new_entry(&n, port, json_object_get(journal, "forwards"));
	if (!attached_find(g, "mac", n.mac) && device_exists(g, json_get_str(entry, "device", "")))
		return attached_add(g, entry, err);
	if (!attached_find(g, "mac", n.mac)) {
		guest_qmp(g, "netdev_del",
			json_pack("{s:O}", "id", json_object_get(entry, "netdev")), QMP_BLOCK_MS,
			NULL, &ignored);
		if (n.kind != NIC_USER)
			take_fds_back(g, NIC_PLUGGED + (size_t)port, n.queues ? n.queues : 1);
	}
	json_decref(entry);
	return 0;
}

int op_detach_interface(struct guest *g, const char *mac, int64_t timeout_ms, struct err *err)
{
	json_t *entry = attached_find(g, "mac", mac);
	if (entry)
		return attached_unplug(g, entry, timeout_ms, err);
	if (!mac_taken(g, mac))
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no interface %s", g->def->name,
			       mac),
		       err_hint(err, "`roost domiflist %s` lists them", g->def->name);
	err_set(err, ERR_REFUSED,
		"interface %s was there when guest '%s' started, and cannot be unplugged while it runs",
		mac, g->def->name);
	return err_hint(err, "take it out of the definition for the next start");
}
