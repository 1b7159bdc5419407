/* Names and leases: what was issued to guests (network_address.h), told to dnsmasq. */
#include "orchestrator/holder.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_address.h"

/* just below those of guests; it owns what dnsmasq writes, and is the group of what that reads, nothing else */
enum { DNSMASQ_UID = 1899999999 };

static int read_one(const json_t *args, const char *key, int bits, struct prefix *out, bool *has,
	struct err *err)
{
	const char *text = json_get_str(args, key, "");
	_cleanup_free_ char *whole = str_fmt("%s/%d", text, bits);
	if (!text[0])
		return 0;
	*has = true;
	return prefix_parse(whole, out, err);
}

int names_add(struct holder *h, const json_t *args, struct err *err)
{
	struct prefix address4, address6;
	bool has4 = false, has6 = false;
	struct dhcp_host host = {.name = json_get_str(args, "guest", "")};
	if (name_check(host.name, "guest", err) < 0 ||
		mac_parse(json_get_str(args, "mac", ""), &host.mac, err) < 0 ||
		read_one(args, "address", 32, &address4, &has4, err) < 0 ||
		read_one(args, "address6", 128, &address6, &has6, err) < 0)
		return -1;
	host.address = has4 ? &address4 : NULL;
	host.address6 = has6 ? &address6 : NULL;
	return dhcp_add_host(h->dhcp, &host, err);
}

bool names_wait(const struct holder *h, const json_t *issued)
{
	bool runs = false;
	for (const struct port *p = h->ports; p; p = p->next) {
		if (!str_eq(json_get_str(p->told, "guest", NULL),
			    json_get_str(issued, "guest", "")))
			continue;
		if (str_eq(json_get_str(p->told, "mac", NULL), json_get_str(issued, "mac", "")) &&
			str_eq(json_get_str(p->told, "address", NULL),
				json_get_str(issued, "address", "")))
			return false;
		runs = true;
	}
	return runs;
}

/* One that cannot be read is nobody's address: `roost gc` looks at those. */
static int load(struct holder *h, struct err *err)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *issued;
	_cleanup_json_ json_t *all = network_addresses(h->network, err);
	json_array_foreach (all, i, issued)
		if (!names_wait(h, issued))
			names_add(h, issued, &ignored);
	return all ? 0 : -1;
}

int names_start(struct holder *h, struct err *err)
{
	static char *folder; /* dhcp.h: it must stay */
	const struct network *n = h->network;
	if (!folder && !(folder = network_run_path(n, NULL, err)))
		return -1;
	struct dhcp_network d = {.folder = folder,
		.bridge = HOLDER_BRIDGE,
		.domain = n->domain,
		.address = &h->net4,
		.address6 = h->has6 ? &h->net6 : NULL,
		.mtu = n->mtu,
		.dns = n->dns,
		.routes = h->way->interface != NULL,
		.routes6 = h->way->leads6,
		.server_count = n->dns_server_count,
		.uid = geteuid() == 0 && !h->user ? DNSMASQ_UID : 0};
	memcpy(d.servers, n->dns_servers, sizeof(d.servers));
	if (!n->dns_server_count) {
		d.resolv_file = h->way->resolv_file[0] ? h->way->resolv_file : NULL;
		d.server_count = h->way->server_count;
		memcpy(d.servers, h->way->servers, sizeof(d.servers));
	}
	h->dhcp = dhcp_open(&d, err);
	if (!h->dhcp || load(h, err) < 0)
		return -1;
	for (const struct port *p = h->ports; p; p = p->next)
		if (names_add(h, p->told, err) < 0)
			return -1;
	return dhcp_start(h->dhcp, err);
}
