/*
 * Networks: hosts on one that are no guests, and ports that are published of guests that run. Runs in workers of
 * roostd; a holder that runs hears of it.
 */
#include "orchestrator/roostd.h"

#include <stdio.h>
#include <strings.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_address.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_publish.h"
#include "orchestrator/paths.h"
#include "orchestrator/publish.h"

/* ---- hosts ---------------------------------------------------------------------------------------- */

/* The names of guests and of other hosts: each is one DNS name here. */
static int check_host_name(const char *name, const char *mac, const json_t *all, struct err *err)
{
	_cleanup_names_ char **guests = NULL;
	size_t i;
	json_t *file;
	if (name_check(name, "host", err) < 0 || guests_names(&guests, NULL, err) < 0)
		return -1;
	for (char **guest = guests; *guest; guest++)
		if (strcasecmp(*guest, name) == 0)
			return err_set(err, ERR_REFUSED, "'%s' is the name of a guest", name);
	json_array_foreach (all, i, file) {
		const char *host = network_address_host(file);
		if (host && strcasecmp(host, name) == 0 &&
			!str_eq(json_get_str(file, "mac", NULL), mac))
			return err_set(err, ERR_REFUSED, "'%s' is the name of the host with %s",
				name, json_get_str(file, "mac", ""));
	}
	return 0;
}

/* In the names of the network every host has one. */
static char *name_by(const char *mac)
{
	char *name = str_fmt("host-%s", mac);
	for (char *p = name; *p; p++)
		*p = *p == ':' ? '-' : *p;
	return name;
}

static int add(const struct network *n, const json_t *args, const json_t *all, json_t **ret,
	struct err *err)
{
	const char *mac = json_get_str(args, "mac", "");
	_cleanup_free_ char *made = name_by(mac);
	const char *name = json_get_str(args, "name", made);
	struct network_address got;
	if (check_host_name(name, mac, all, err) < 0)
		return err_prefix(err, "network '%s'", n->name);
	if (network_address_take_host(
		    n, mac, name, json_get_str(args, "address", NULL), &got, err) < 0)
		return -1;
	*ret = json_pack("{s:s, s:s, s:s, s:s, s:s}", "network", n->name, "mac", mac, "name", name,
		"address", got.v4, "address6", got.v6);
	return 0;
}

static int drop(const struct network *n, const json_t *args, const json_t *all, json_t **ret,
	struct err *err)
{
	const char *mac = json_get_str(args, "mac", ""), *name = json_get_str(args, "name", "");
	size_t i;
	json_t *file;
	json_array_foreach (all, i, file) {
		const char *its_mac = json_get_str(file, "mac", ""),
			   *host = network_address_host(file);
		if (!host || (!str_eq(its_mac, mac) && strcasecmp(host, name) != 0))
			continue;
		if (network_address_drop_host(n, json_get_str(file, "address", ""), its_mac, err) <
			0)
			return -1;
		*ret = json_copy(file);
		json_object_set_new(*ret, "guest", json_string(host));
		return 0;
	}
	err_set(err, ERR_NOT_FOUND, "network '%s' has no host '%s'", n->name, mac[0] ? mac : name);
	return err_hint(err, "only those that `roost net-update` has added are meant, no guests");
}

int op_network_host(const json_t *args, json_t **ret, struct err *err)
{
	struct network n;
	if (network_load(json_get_str(args, "network", ""), &n, err) < 0 ||
		network_settle(&n, err) < 0)
		return -1;
	if (n.mode == NETWORK_BRIDGE)
		return err_set(err, ERR_REFUSED,
			"network '%s' is the host's bridge '%s': addresses there are not ours to give",
			n.name, n.bridge);
	_cleanup_json_ json_t *all = network_addresses(&n, err);
	if (!all)
		return -1;
	return json_get_bool(args, "remove", false) ? drop(&n, args, all, ret, err)
						    : add(&n, args, all, ret, err);
}

/* ---- published ports ------------------------------------------------------------------------------ */

/* The first tap on the network of a guest that runs. */
static int find_tap(const struct network *n, const char *guest, char out[16], struct err *err)
{
	_cleanup_json_ json_t *status = NULL;
	int64_t first = INT64_MAX;
	size_t i;
	json_t *tap;
	if (network_call(
		    n, "net-status", NULL, NULL, 0, &status, NULL, NULL, NETWORK_CALL_MS, err) < 0)
		return -1;
	json_array_foreach (json_object_get(status, "taps"), i, tap) {
		int64_t nic = json_get_int(tap, "nic", 0);
		if (!str_eq(json_get_str(tap, "guest", NULL), guest) || nic >= first)
			continue;
		first = nic;
		snprintf(out, 16, "%s", json_get_str(tap, "tap", ""));
	}
	if (first < INT64_MAX)
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' does not run on network '%s'", guest, n->name);
	return err_hint(err, "--config publishes it from its next start on");
}

static int publish(const struct network *n, const char *tap, struct forward *f, struct err *err)
{
	uint16_t port = 0;
	_cleanup_close_ int fd = publish_bind(f, &port, err);
	if (fd < 0 || network_publish(n, tap, f, fd, port, err) < 0)
		return -1;
	f->host_port = port;
	return 0;
}

static int unpublish(
	const struct network *n, const char *tap, const struct forward *f, struct err *err)
{
	if (f->host_port)
		return network_unpublish(n, tap, f, err);
	err_set(err, ERR_USAGE, "which of the host's ports is published no longer is not told");
	return err_hint(err, "write it as it was published: [ADDRESS:]PORT:GUEST_PORT[/tcp|/udp]");
}

int op_network_publish(const json_t *args, json_t **ret, struct err *err)
{
	const char *guest = json_get_str(args, "guest", "");
	struct network n;
	struct forward f;
	char tap[16];
	if (network_load(json_get_str(args, "network", ""), &n, err) < 0 ||
		publish_parse(json_get_str(args, "port", ""), &f, err) < 0 ||
		network_publish_check(&n, err) < 0 || find_tap(&n, guest, tap, err) < 0 ||
		(json_get_bool(args, "remove", false) ? unpublish(&n, tap, &f, err)
						      : publish(&n, tap, &f, err)) < 0)
		return -1;
	*ret = json_pack("{s:s, s:s, s:s, s:i, s:i, s:b}", "network", n.name, "guest", guest,
		"host", f.host, "port", (int)f.host_port, "guest_port", (int)f.guest_port, "udp",
		f.udp);
	return 0;
}
