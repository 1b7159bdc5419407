/*
 * What plugging an interface takes of roostd: an address on its network, and that the network is active. It is given back
 * when the interface was unplugged, and when the guest has ended.
 */
#include <string.h>

#include "base/str.h"
#include "orchestrator/network_address.h"
#include "orchestrator/network_up.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"

static int check_mac_free(const struct definition *d, const char *mac, struct err *err)
{
	for (size_t i = 0; i < d->nic_count; i++)
		if (str_eq(d->nics[i].mac, mac))
			return err_set(err, ERR_REFUSED, "guest '%s' has an interface %s already",
				d->name, mac);
	return 0;
}

/* It is the asker's until the keeper has plugged it in, then the guest's until it is unplugged or the guest ends. */
int op_nic_issue(const json_t *args, json_t **ret, struct err *err)
{
	struct nic_def n = {0};
	struct network network;
	struct network_address a;
	size_t index = (size_t)json_get_int(args, "index", NIC_PLUGGED);
	_cleanup_definition_ struct definition *d =
		record_read(json_get_str(args, "name", ""), err);
	if (!d || nic_from_json(json_object_get(args, "interface"), &n, err) < 0)
		return -1;
	if (n.kind == NIC_USER)
		return err_set(err, ERR_USAGE, "an interface of user networking has no address");
	if (!n.mac[0])
		mac_new(n.mac);
	const struct network_claim who = {.mac = n.mac,
		.guest = d->name,
		.uuid = d->uuid,
		.nic = index,
		.maker = (pid_t)json_get_int(json_object_get(args, "by"), "pid", 0)};
	if (check_mac_free(d, n.mac, err) < 0 || nic_network(&n, &network, err) < 0 ||
		network_address_take(&network, &who, n.address_fixed ? n.address : NULL, &a, err) <
			0 ||
		network_up(&network, err) < 0)
		return -1;
	memcpy(n.address, a.v4, sizeof(n.address));
	memcpy(n.address6, a.v6, sizeof(n.address6));
	*ret = json_pack("{s:o}", "interface", nic_to_json(&n));
	return 0;
}

int op_nic_release(const json_t *args, json_t **ret, struct err *err)
{
	const char *guest = json_get_str(args, "name", "");
	pid_t asker = (pid_t)json_get_int(json_object_get(args, "by"), "pid", 0);
	size_t i;
	json_t *nic;
	(void)ret, (void)err;
	json_array_foreach (json_object_get(args, "interfaces"), i, nic) {
		struct err ignored = ERR_INIT;
		struct network n;
		if (network_load(json_get_str(nic, "network", ""), &n, &ignored) == 0)
			network_address_unplugged(&n, json_get_str(nic, "mac", ""), guest, asker);
	}
	return 0;
}
