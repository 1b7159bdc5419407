/*
 * What plugging an interface takes of roostd: an address on its network, and that the network is active. It is given back
 * when the interface was unplugged, and when the guest has ended; so is what it ran with and is defined with no more.
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

static bool has(const struct definition *d, const json_t *nic)
{
	for (size_t i = 0; d && i < d->nic_count; i++)
		if (str_eq(d->nics[i].network, json_get_str(nic, "network", "")) &&
			str_eq(d->nics[i].mac, json_get_str(nic, "mac", "")) &&
			str_eq(d->nics[i].address, json_get_str(nic, "address", "")))
			return true;
	return false;
}

/* Its keeper wrote that it had it, who is not believed. */
static bool is_its(const struct network *n, const char *address, const char *guest)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *all = network_addresses(n, &ignored);
	size_t i;
	json_t *file;
	json_array_foreach (all, i, file)
		if (str_eq(json_get_str(file, "address", NULL), address))
			return str_eq(json_get_str(file, "guest", NULL), guest);
	return false;
}

/* What it is known by while it does not run: its definition, which was changed while it did. */
static void tell_defined(const struct definition *d)
{
	for (size_t i = 0; i < d->nic_count; i++) {
		const struct nic_def *nic = &d->nics[i];
		const struct network_claim who = {.mac = nic->mac,
			.guest = d->name,
			.uuid = d->uuid,
			.nic = i,
			.may_move = true};
		struct err ignored = ERR_INIT;
		struct network n;
		struct network_address a;
		if (nic->kind == NIC_NETWORK && nic->address[0] &&
			network_load(nic->network, &n, &ignored) == 0)
			network_address_take(&n, &who, nic->address, &a, &ignored);
	}
}

int op_nic_release(const json_t *args, json_t **ret, struct err *err)
{
	const char *guest = json_get_str(args, "name", "");
	pid_t asker = (pid_t)json_get_int(json_object_get(args, "by"), "pid", 0);
	struct err ignored = ERR_INIT;
	bool changed =
		json_get_bool(args, "changed", false); /* networks_plugged(): no client says so */
	_cleanup_definition_ struct definition *d = record_read(guest, &ignored);
	size_t i;
	json_t *nic;
	(void)ret, (void)err;
	if (d && changed)
		tell_defined(d);
	json_array_foreach (json_object_get(args, "interfaces"), i, nic) {
		const char *mac = json_get_str(nic, "mac", ""),
			   *address = changed ? json_get_str(nic, "address", NULL) : NULL;
		struct network n;
		if (network_load(json_get_str(nic, "network", ""), &n, &ignored) < 0)
			continue;
		if (!address)
			network_address_unplugged(&n, mac, guest, asker);
		else if (!has(d, nic) && is_its(&n, address, guest))
			network_address_drop(&n, address, mac);
	}
	return 0;
}
