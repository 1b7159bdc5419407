/*
 * Networks: defined, undefined, started, ended, changed. Run in workers of roostd, so that one that is slow to start
 * keeps nobody waiting.
 *
 * A change is one file that is replaced whole. What of it the holder must know it learns at the next start of the
 * network, but for hosts and published ports (op_network_update.c).
 */
#include "orchestrator/roostd.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/str.h"
#include "netsetup/address.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/network_address.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_up.h"
#include "orchestrator/network_users.h"

static int load(const json_t *args, struct network *out, struct err *err)
{
	return network_load(json_get_str(args, "network", ""), out, err);
}

static json_t *tell(const struct network *n)
{
	return json_pack(
		"{s:s, s:s, s:b}", "name", n->name, "uuid", n->uuid, "active", network_active(n));
}

/* ---- define --------------------------------------------------------------------------------------- */

/* Two names that differ in case only would be one domain; who is asked for by a UUID is one network; the id is what
   tells their folders in $RUN apart. */
static int check_name_free(const struct network *n, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (network_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct network other;
		struct err ignored = ERR_INIT;
		if (strcasecmp(*name, n->name) == 0)
			return err_set(err, ERR_REFUSED,
				"network '%s' exists already, and its name differs in case only",
				*name);
		if (network_load(*name, &other, &ignored) < 0)
			continue;
		if (n->uuid[0] && strcasecmp(other.uuid, n->uuid) == 0)
			return err_set(err, ERR_REFUSED,
				"network '%s' exists already, and has the UUID %s", *name, n->uuid);
		if (str_eq(other.id, n->id))
			return err_set(err, ERR_REFUSED,
				"the names '%s' and '%s' have the same short id: choose another one",
				n->name, *name);
	}
	return 0;
}

/* The subnet's own address, or its broadcast address. */
static bool is_edge(const struct prefix *net, const struct prefix *host)
{
	uint32_t bits;
	memcpy(&bits, host->address, sizeof(bits));
	bits = ntohl(bits) & (0xffffffffU >> net->bits);
	return net->family == AF_INET && (bits == 0 || bits == 0xffffffffU >> net->bits);
}

static bool fits(const char *subnet, const char *address)
{
	struct err ignored = ERR_INIT;
	struct prefix net, host;
	_cleanup_free_ char *whole = str_fmt("%s/%d", address, strchr(address, ':') ? 128 : 32);
	if (prefix_parse(subnet, &net, &ignored) < 0 || prefix_parse(whole, &host, &ignored) < 0)
		return false;
	bool gateways = memcmp(net.address, host.address, net.family == AF_INET ? 4 : 16) == 0;
	return prefix_has(&net, host.family, host.address) && !gateways && !is_edge(&net, &host);
}

/* Guests keep the addresses that were issued to them. */
static int check_issued_fit(const struct network *n, struct err *err)
{
	size_t i;
	json_t *file;
	_cleanup_json_ json_t *all = network_addresses(n, err);
	json_array_foreach (all, i, file) {
		const char *v4 = json_get_str(file, "address", ""),
			   *v6 = json_get_str(file, "address6", "");
		bool fit4 = n->address[0] && fits(n->address, v4);
		bool fit6 = !v6[0] || (n->address6[0] && fits(n->address6, v6));
		if ((fit4 && fit6) || network_address_is_void(file))
			continue;
		err_set(err, ERR_REFUSED, "network '%s': '%s' has the address %s there already",
			n->name, json_get_str(file, "guest", ""), fit4 ? v6 : v4);
		return err_hint(err,
			"another network may have the new addresses; undefine the guests of this one to change its own");
	}
	return all ? 0 : -1;
}

static int fill_in(struct network *n, const struct network *old, struct err *err)
{
	struct err ignored = ERR_INIT;
	bool bridge = n->mode == NETWORK_BRIDGE;
	if (!n->uuid[0] && old)
		memcpy(n->uuid, old->uuid, sizeof(n->uuid));
	else if (!n->uuid[0])
		uuid_new(n->uuid);
	/* it stays, unless the host has a route of its own there by now */
	if (!bridge && !n->address[0] && old && network_check_subnet(old, &ignored) == 0)
		memcpy(n->address, old->address, sizeof(n->address));
	if (!bridge && !n->address[0] && network_choose(n, err) < 0)
		return -1;
	if (old && str_eq(old->address, n->address))
		return 0;
	return network_check_subnet(n, err);
}

int op_network_define(const json_t *args, json_t **ret, struct err *err)
{
	struct err ignored = ERR_INIT;
	struct network n, old, first;
	if (network_from_json(json_object_get(args, "definition"), &n, err) < 0)
		return -1;
	/* `default` is given its subnet before another network is */
	if (network_load(NETWORK_DEFAULT, &first, &ignored) == 0)
		network_settle(&first, &ignored);
	_cleanup_close_ int lock = networks_lock(err);
	int none = lock < 0 ? -1 : network_load_recorded(n.name, &old, err);
	if (none == 0 && json_get_bool(args, "new", false))
		return err_set(err, ERR_REFUSED, "network '%s' exists already, with the UUID %s",
			n.name, old.uuid);
	/* what one of that name has left that was undefined by a worker that was killed */
	if (none < 0 ||
		(none && (check_name_free(&n, err) < 0 || network_addresses_remove(&n, err) < 0)) ||
		fill_in(&n, none ? NULL : &old, err) < 0 || check_issued_fit(&n, err) < 0 ||
		network_save(&n, err) < 0)
		return -1;
	*ret = tell(&n);
	json_object_set_new(*ret, "changed", json_boolean(!none));
	return 0;
}

/* ---- undefine ------------------------------------------------------------------------------------- */

int op_network_undefine(const json_t *args, json_t **ret, struct err *err)
{
	struct network n;
	if (load(args, &n, err) < 0)
		return -1;
	if (str_eq(n.name, NETWORK_DEFAULT) || n.implicit) {
		err_set(err, ERR_REFUSED, "network '%s' is always there", n.name);
		return err_hint(
			err, "`roost net-destroy %s` ends it until it is wanted again", n.name);
	}
	if (network_active(&n)) {
		err_set(err, ERR_REFUSED, "network '%s' is active", n.name);
		return err_hint(err, "`roost net-destroy %s` first", n.name);
	}
	_cleanup_json_ json_t *users = network_users(&n, err);
	if (!users)
		return -1;
	if (json_array_size(users)) {
		_cleanup_free_ char *text = network_users_text(users);
		err_set(err, ERR_REFUSED, "network '%s' is used by %s", n.name, text);
		return err_hint(err, "`roost edit` gives them another network");
	}
	_cleanup_close_ int lock = networks_lock(err);
	if (lock < 0 || network_remove(&n, err) < 0)
		return -1;
	failpoint("network-unrecorded");
	if (network_addresses_remove(&n, err) < 0)
		return -1;
	*ret = tell(&n);
	return 0;
}

/* ---- start, destroy ------------------------------------------------------------------------------- */

/* Its holder is stopped, or hangs. */
static bool is_silent(const struct network *n)
{
	struct err why = ERR_INIT;
	return network_call_once(n, "net-status", &why) < 0 && why.kind == ERR_TIMEOUT;
}

int op_network_start(const json_t *args, json_t **ret, struct err *err)
{
	struct network n;
	if (load(args, &n, err) < 0)
		return -1;
	if (network_active(&n) && !is_silent(&n))
		return err_set(err, ERR_REFUSED, "network '%s' is active already", n.name);
	/* of one that is silent what asks for the uplink has another one take the place */
	if (network_up(&n, err) < 0)
		return -1;
	*ret = tell(&n);
	json_object_set_new(*ret, "uplink", network_uplink(&n));
	return 0;
}

int op_network_destroy(const json_t *args, json_t **ret, struct err *err)
{
	struct network n;
	if (load(args, &n, err) < 0)
		return -1;
	if (!network_active(&n)) {
		err_set(err, ERR_REFUSED, "network '%s' is not active", n.name);
		return err_hint(err, "`roost net-start %s` starts it", n.name);
	}
	json_t *cut_off = network_users_running(&n);
	if (network_down(&n, err) < 0) {
		json_decref(cut_off);
		return -1;
	}
	*ret = tell(&n);
	json_object_set_new(*ret, "cut_off", cut_off);
	return 0;
}

/* ---- autostart ------------------------------------------------------------------------------------ */

int op_network_autostart(const json_t *args, json_t **ret, struct err *err)
{
	struct network n;
	if (load(args, &n, err) < 0 || network_settle(&n, err) < 0)
		return -1;
	if (n.implicit) {
		err_set(err, ERR_REFUSED,
			"network '%s' stands for the host's bridge '%s' and has no record", n.name,
			n.bridge);
		return err_hint(
			err, "`roost net-define` makes one of that bridge under another name");
	}
	_cleanup_close_ int lock = networks_lock(err);
	if (lock < 0 || network_load_recorded(n.name, &n, err) != 0)
		return lock < 0 || err->kind
			       ? -1
			       : err_set(err, ERR_GONE, "network '%s' was undefined meanwhile",
					 n.name);
	n.autostart = json_get_bool(args, "autostart", true);
	if (network_save(&n, err) < 0)
		return -1;
	*ret = tell(&n);
	return 0;
}
