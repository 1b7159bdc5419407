/* Interfaces of a running guest: user networking, plugged on a root port. */
#include "orchestrator/attached.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/argv.h"
#include "orchestrator/journal.h"
#include "orchestrator/ports.h"

enum {
	FIRST_INDEX = 100
}; /* ids of plugged ones: nic100 + root port, apart from the definition's */

static bool mac_taken(struct guest *g, const char *mac)
{
	for (size_t i = 0; i < g->def->nic_count; i++)
		if (str_eq(g->def->nics[i].mac, mac))
			return true;
	return attached_find(g, "mac", mac) != NULL;
}

static int plug(struct guest *g, const struct nic_def *n, size_t index, int64_t port,
	const json_t *forwards, struct err *err)
{
	_cleanup_free_ char *bus = str_fmt("rp%lld", (long long)port);
	_cleanup_free_ char *netdev = str_fmt("net%zu", index);
	struct err ignored = ERR_INIT;
	if (guest_qmp(g, "netdev_add", nic_netdev(n, index, forwards, NULL, NULL), QMP_BLOCK_MS,
		    NULL, err) < 0)
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

static json_t *new_entry(
	const char *mac, const char *model, bool restricted, int64_t port, const json_t *forwards)
{
	size_t index = FIRST_INDEX + (size_t)port;
	_cleanup_free_ char *device = str_fmt("nic%zu", index), *netdev = str_fmt("net%zu", index);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:b, s:O}", "kind", "interface", "port",
		(json_int_t)port, "device", device, "netdev", netdev, "mac", mac, "model", model,
		"restrict", restricted, "forwards", forwards);
}

int op_attach_interface(struct guest *g, const json_t *nic, json_t **ret, struct err *err)
{
	struct nic_def n = {0};
	int64_t port;
	_cleanup_json_ json_t *forwards = json_array();
	if (nic_from_json(nic, &n, err) < 0 || attached_free_port(g, &port, err) < 0)
		return -1;
	if (!n.mac[0])
		mac_new(n.mac);
	if (mac_taken(g, n.mac))
		return err_set(err, ERR_REFUSED, "guest '%s' has an interface %s already",
			g->def->name, n.mac);
	size_t index = FIRST_INDEX + (size_t)port;
	if (ports_choose(&n, index, forwards, err) < 0 ||
		journal_begin(g, "attach-interface",
			json_pack("{s:s, s:s, s:b, s:I, s:O}", "mac", n.mac, "model",
				nic_model_name(n.model), "restrict", n.restricted, "port",
				(json_int_t)port, "forwards", forwards),
			err) < 0)
		return -1;
	int result = plug(g, &n, index, port, forwards, err);
	failpoint("attach-interface-after-device");
	if (result == 0)
		result = attached_add(g,
			new_entry(n.mac, nic_model_name(n.model), n.restricted, port, forwards),
			err);
	journal_end(g);
	if (result == 0)
		*ret = json_pack("{s:s, s:O}", "mac", n.mac, "forwards", forwards);
	return result;
}

int recover_attach_interface(struct guest *g, const json_t *journal, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *mac = json_get_str(journal, "mac", "");
	json_t *entry = new_entry(mac, json_get_str(journal, "model", "virtio"),
		json_get_bool(journal, "restrict", false), json_get_int(journal, "port", 0),
		json_object_get(journal, "forwards"));
	if (!attached_find(g, "mac", mac) && device_exists(g, json_get_str(entry, "device", "")))
		return attached_add(g, entry, err);
	if (!attached_find(g, "mac", mac))
		guest_qmp(g, "netdev_del",
			json_pack("{s:O}", "id", json_object_get(entry, "netdev")), QMP_BLOCK_MS,
			NULL, &ignored);
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
