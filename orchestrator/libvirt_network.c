/* A network's XML. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"

/* "24" as well as "255.255.255.0"; -1: neither. */
static int bits_of(const xmlNode *ip)
{
	struct in_addr mask;
	const char *netmask = x_attr(ip, "netmask");
	if (x_attr(ip, "prefix"))
		return (int)x_number(ip, "prefix", 0);
	if (!netmask || inet_pton(AF_INET, netmask, &mask) != 1)
		return -1;
	uint32_t m = ntohl(mask.s_addr);
	int bits = __builtin_popcount(m);
	return m == (bits ? 0xffffffffU << (32 - bits) : 0) ? bits : -1;
}

/* NULL: an address can be kept for it. */
static const char *why_not(
	const json_t *hosts, const char *subnet, int bits, const char *mac, const char *address)
{
	struct in_addr net, one;
	size_t i;
	json_t *other;
	if (!mac || !address)
		return "only hosts with a MAC address and an address are taken";
	if (inet_pton(AF_INET, subnet, &net) != 1 || inet_pton(AF_INET, address, &one) != 1 ||
		bits < 1 || bits > 32 || ((ntohl(net.s_addr) ^ ntohl(one.s_addr)) >> (32 - bits)))
		return "its address is not of this network";
	if (net.s_addr == one.s_addr)
		return "its address is the network's own";
	json_array_foreach (hosts, i, other)
		if (str_eq(json_get_str(other, "mac", NULL), mac) ||
			str_eq(json_get_str(other, "address", NULL), address))
			return "another host has its address, or its MAC address";
	return NULL;
}

static void tell_ranges(struct reading *r, xmlNode *dhcp)
{
	for (xmlNode *range = x_child(dhcp, "range"); range; range = x_next(range))
		x_note(r, range, false,
			"guests have an address each from before their first boot here");
}

static void read_hosts(struct reading *r, xmlNode *dhcp, const char *subnet, int bits)
{
	json_t *hosts = json_array();
	for (xmlNode *h = x_child(dhcp, "host"); h; h = x_next(h)) {
		const char *mac = x_attr(h, "mac"), *name = x_attr(h, "name"),
			   *ip = x_attr(h, "ip");
		_cleanup_free_ char *lower = lower_hex(mac);
		const char *why = why_not(hosts, subnet, bits, lower, ip);
		if (why)
			x_note(r, h, false, "%s", why);
		else
			json_array_append_new(hosts, json_pack("{s:s, s:s*, s:s}", "mac", lower,
							     "name", name, "address", ip));
	}
	tell_ranges(r, dhcp);
	json_object_set_new(r->more, "hosts", hosts);
}

/* Guests' IPv6 addresses are made of their MAC addresses, and told by advertisements. */
static void tell_six(struct reading *r, xmlNode *ip)
{
	xmlNode *dhcp = x_child(ip, "dhcp");
	for (xmlNode *h = x_child(dhcp, "host"); h; h = x_next(h))
		x_note(r, h, false, "its IPv6 address is made of its MAC address here");
	tell_ranges(r, dhcp);
}

static void read_addresses(struct reading *r, xmlNode *network, bool isolated)
{
	bool four = false;
	for (xmlNode *ip = x_child(network, "ip"); ip; ip = x_next(ip)) {
		const char *address = x_attr(ip, "address");
		bool six = x_attr_is(ip, "family", "ipv6") || (address && strchr(address, ':'));
		int bits = bits_of(ip);
		x_attr(ip, "localPtr");
		if (!address || bits < 0 || (six ? bits != 64 : four)) {
			x_note(r, ip, !six && !four, "%s",
				six ? "only one address of IPv6 with a prefix of 64 bits is taken"
				: four ? "a network has one IPv4 subnet here"
				       : "has no address with a netmask");
			continue;
		}
		json_object_set_new(
			r->out, six ? "address6" : "address", json_sprintf("%s/%d", address, bits));
		if (six) {
			tell_six(r, ip);
			continue;
		}
		four = true;
		xmlNode *dhcp = x_child(ip, "dhcp");
		if (!dhcp)
			x_remark(r, ip, "had no DHCP: guests are told their addresses by it here");
		read_hosts(r, dhcp, address, bits);
	}
	if (!four)
		x_note(r, network, true, "a network without an IPv4 address has no equivalent%s",
			isolated ? "" : ": name the host's bridge instead");
	if (!json_object_get(r->out, "address6"))
		put(r->out, "address6", "none");
}

/* All that leaves goes out under the host's address here, IPv6, too, by whichever ports are free. */
static void read_nat(struct reading *r, xmlNode *network, xmlNode *forward)
{
	xmlNode *nat = x_child(forward, "nat"), *port = x_child(nat, "port");
	enum { FIRST = 1024, LAST = 65535 }; /* libvirt's own default */
	bool six = x_attr_is(nat, "ipv6", "yes");
	if (x_number(port, "start", FIRST) != FIRST || x_number(port, "end", LAST) != LAST)
		x_note(r, port, false, "the host chooses the ports here");
	for (xmlNode *ip = x_child(network, "ip"); ip && !six; ip = x_next(ip))
		if (x_attr_is(ip, "family", "ipv6"))
			x_remark(r, ip, "goes out under the host's address here");
}

/* Whose bridge it is, and what leads out. */
static bool read_mode(struct reading *r, xmlNode *network)
{
	xmlNode *forward = x_child(network, "forward"), *bridge = x_child(network, "bridge");
	const char *mode = x_attr(forward, "mode"), *name = x_attr(bridge, "name");
	static const char *const of_no_meaning[] = {"stp", "delay", "macTableManager"};
	for (size_t i = 0; i < ARRAY_SIZE(of_no_meaning); i++)
		x_attr(bridge, of_no_meaning[i]);
	if (str_eq(mode, "bridge")) {
		const char *dev = x_attr(x_child(forward, "interface"), "dev");
		put(r->out, "mode", "bridge");
		put(r->out, "bridge", name);
		if (!name)
			x_note(r, forward, true,
				"macvtap cannot be taken: make a bridge with '%.15s' in it and name that",
				dev                      ? dev
				: x_attr(forward, "dev") ? x_attr(forward, "dev")
							 : "the device");
		return true;
	}
	if (name) {
		put(r->more, "bridge", name);
		x_note_attr(r, bridge, "name", false,
			"'%.15s': its bridge is in a network namespace of its own here, and has no name on the host",
			name);
	}
	x_pass_children(network, "mac");
	if (!forward)
		put(r->out, "mode", "isolated");
	else if (!mode || str_eq(mode, "nat") || str_eq(mode, "open") || str_eq(mode, "route"))
		put(r->out, "mode", !mode || str_eq(mode, "nat") ? "nat" : "routed");
	else
		x_note(r, forward, true,
			"only modes nat, route, open, bridge and none are taken, not '%.20s'",
			mode);
	if (str_eq(json_get_str(r->out, "mode", NULL), "nat"))
		read_nat(r, network, forward);
	if (x_attr(forward, "dev"))
		x_note_attr(
			r, forward, "dev", false, "guests go out by whichever way the host goes");
	x_pass_children(forward, "interface");
	return false;
}

static void read_names(struct reading *r, xmlNode *network)
{
	xmlNode *domain = x_child(network, "domain"), *dns = x_child(network, "dns");
	json_t *servers = json_array();
	x_attr(domain, "localOnly");
	put(r->out, "domain", x_attr(domain, "name"));
	if (x_attr_is(dns, "enable", "no"))
		json_object_set_new(r->out, "dns", json_false());
	for (xmlNode *f = x_child(dns, "forwarder"); f; f = x_next(f)) {
		const char *address = x_attr(f, "addr");
		if (address && !x_attr(f, "domain") && json_array_size(servers) < 4)
			json_array_append_new(servers, json_string(address));
		else
			x_note(r, f, false, "only four servers for all names are taken");
	}
	if (json_array_size(servers))
		json_object_set(r->out, "dns_servers", servers);
	json_decref(servers);
}

void libvirt_read_network(struct reading *r, xmlNode *network)
{
	_cleanup_free_ char *name = x_child_text(network, "name"),
			    *written = x_child_text(network, "uuid"), *uuid = lower_hex(written);
	unsigned mtu = x_number(x_child(network, "mtu"), "size", 0);
	put(r->out, "name", name);
	put(r->out, "uuid", uuid);
	x_attr(network, "connections");
	if (mtu)
		json_object_set_new(r->out, "mtu", json_integer(mtu));
	if (!read_mode(r, network)) {
		read_addresses(r, network, str_eq(json_get_str(r->out, "mode", ""), "isolated"));
		read_names(r, network);
	}
	x_tell_rest(r, network);
}

void libvirt_read_host(struct reading *r, xmlNode *host)
{
	_cleanup_free_ char *mac = lower_hex(x_attr(host, "mac"));
	put(r->out, "mac", mac);
	put(r->out, "name", x_attr(host, "name"));
	put(r->out, "address", x_attr(host, "ip"));
	x_tell_rest(r, host);
}
