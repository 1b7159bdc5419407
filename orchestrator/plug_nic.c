#include "orchestrator/plug_nic.h"

#include "base/clock.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/argv.h"
#include "orchestrator/look.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/record.h"

/* The first root port that nothing is plugged into; the keeper looks whether that still holds. */
static int64_t free_port(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *plugged = look_plugged(f);
	_cleanup_definition_ struct definition *d = record_read(f->name, &ignored);
	for (int64_t port = 0; port < ROOT_PORTS; port++) {
		bool taken = d && pci_port_taken(d, port);
		size_t i;
		json_t *entry;
		json_array_foreach (plugged, i, entry)
			taken = taken || json_get_int(entry, "port", -1) == port;
		if (!taken)
			return port;
	}
	return ROOT_PORTS; /* the keeper refuses it */
}

static int call_keeper(
	struct qmp *keeper, json_t *args, const struct nic_tap *t, json_t **reply, struct err *err)
{
	int fds[2 * QUEUES_MAX];
	size_t count = 0;
	for (size_t i = 0; i < t->count; i++)
		fds[count++] = t->queues[i];
	for (size_t i = 0; i < t->vhost_count && 2 * t->count <= SOCK_FDS_MAX; i++)
		fds[count++] = t->vhosts[i];
	return qmp_call_fds(keeper, "roost-attach-interface", args, fds, count,
		deadline_in(OPERATION_MS), reply, err);
}

/* Nobody waits for its success: roostd does it at the guest's end at the latest, or `roost gc`. */
static void release(const struct found *f, const char *network, const char *mac)
{
	struct err ignored = ERR_INIT;
	json_t *reply = NULL;
	if (supervisor_call("roost-nic-release",
		    json_pack("{s:s, s:[{s:s, s:s}]}", "name", f->name, "interfaces", "network",
			    network, "mac", mac),
		    &reply, &ignored) == 0)
		json_decref(reply);
}

static int plug_tap(const struct found *f, struct qmp *keeper, const json_t *nic, json_t **reply,
	struct err *err)
{
	struct nic_def n = {0};
	_cleanup_nic_tap_ struct nic_tap t = {0};
	_cleanup_json_ json_t *issued = NULL, *forwards = json_array();
	int64_t port = free_port(f);
	const struct nic_of of = {
		.guest = f->name, .id = f->id, .index = NIC_PLUGGED + (size_t)port};
	if (supervisor_call("roost-nic-issue",
		    json_pack("{s:s, s:O, s:I}", "name", f->name, "interface", nic, "index",
			    (json_int_t)of.index),
		    &issued, err) < 0)
		return -1;
	nic = json_object_get(issued, "interface");
	if (nic_from_json(nic, &n, err) < 0)
		return -1;
	if (nic_tap_open(&n, &of, forwards, &t, err) == 0 &&
		call_keeper(keeper,
			json_pack("{s:O, s:I, s:O}", "interface", nic, "port", (json_int_t)port,
				"forwards", forwards),
			&t, reply, err) == 0)
		return 0;
	if (n.kind == NIC_NETWORK)
		release(f, n.network, n.mac);
	return -1;
}

/* Its keeper first: to a guest that does not run nothing is issued. */
int plug_nic(const struct found *f, const json_t *nic, json_t **reply, struct err *err)
{
	struct nic_def n = {0};
	const struct nic_tap none = {0};
	struct qmp *keeper = nic_from_json(nic, &n, err) < 0 ? NULL : guest_connect(f, err);
	if (!keeper)
		return -1;
	int result = n.kind == NIC_USER ? call_keeper(keeper, json_pack("{s:O}", "interface", nic),
						  &none, reply, err)
					: plug_tap(f, keeper, nic, reply, err);
	qmp_close(keeper);
	return result;
}

int unplug_nic(
	const struct found *f, const json_t *nic, json_t *args, json_t **reply, struct err *err)
{
	const char *mac = json_get_str(nic, "mac", "");
	json_object_set_new(args, "mac", json_string(mac));
	if (guest_call(f->name, "roost-detach-interface", args, reply, err) < 0)
		return -1;
	if (str_eq(json_get_str(nic, "type", ""), "network"))
		release(f, json_get_str(nic, "source", ""), mac);
	return 0;
}
