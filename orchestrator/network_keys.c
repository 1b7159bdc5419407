/* Networks: the keys, what their values must be, and what is derived from a name. */
#include "orchestrator/network_keys.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "netsetup/address.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/paths.h"

static const char *const mode_names[] = {
	[NETWORK_NAT] = "nat",
	[NETWORK_ROUTED] = "routed",
	[NETWORK_ISOLATED] = "isolated",
	[NETWORK_BRIDGE] = "bridge",
};
static_assert(ARRAY_SIZE(mode_names) == NETWORK_MODE_MAX, "a word is missing");
static const struct words mode_words = WORDS(mode_names);

const char *network_mode_name(enum network_mode mode)
{
	return mode_names[mode];
}

/* ---- what is derived from the name ----------------------------------------------------------- */

/* FNV-1a */
static uint32_t hash32(const char *text)
{
	uint32_t h = 2166136261U;
	for (; *text; text++)
		h = (h ^ (uint8_t)tolower((unsigned char)*text)) * 16777619U;
	return h;
}

static uint64_t hash64(const char *text)
{
	uint64_t h = 14695981039346656037U;
	for (; *text; text++)
		h = (h ^ (uint8_t)tolower((unsigned char)*text)) * 1099511628211U;
	return h;
}

void network_identify(struct network *n)
{
	snprintf(n->id, sizeof(n->id), "%08x", hash32(n->name));
}

/* Of this machine, this instance, this name. */
static uint64_t own_number(const struct network *n, const char *purpose)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf machine = {0};
	file_read(AT_FDCWD, "/etc/machine-id", 64, &machine, &ignored);
	unsigned uid = paths_are_system() ? 0 : (unsigned)geteuid();
	_cleanup_free_ char *all =
		str_fmt("%s/%u/%s/%s", machine.data ? machine.data : "", uid, n->name, purpose);
	return hash64(all);
}

/* A prefix of one's own, RFC 4193: fd, 40 bits that others hardly have, no subnet. */
void network_derive_address6(const struct network *n, char out[48])
{
	uint64_t own = own_number(n, "ula");
	snprintf(out, 48, "fd%02x:%x:%x::1/64", (unsigned)(own >> 56),
		(unsigned)(own >> 40) & 0xffff, (unsigned)(own >> 24) & 0xffff);
}

/* Version 8 of RFC 9562: made by a rule of one's own. */
void network_derive_uuid(const struct network *n, char out[37])
{
	uint64_t a = own_number(n, "uuid"), b = own_number(n, "second half");
	snprintf(out, 37, "%08x-%04x-8%03x-%04x-%012llx", (unsigned)(a >> 32),
		(unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
		((unsigned)(b >> 48) & 0x3fff) | 0x8000, (unsigned long long)(b & 0xffffffffffff));
}

/* ---- what a value must be --------------------------------------------------------------------- */

static int check_network_name(const char *text, const struct node *n, struct err *err)
{
	if (name_check(text, "network", err) < 0)
		return node_locate(n, err);
	if (!str_starts(text, NETWORK_OF_BRIDGE))
		return 0;
	node_error(n, err, "'%s': networks of bridges that the host has are called so", text);
	return err_hint(err,
		"give it another name; an interface with `bridge: %.15s` needs no network of that name",
		text + strlen(NETWORK_OF_BRIDGE));
}

static int check_bridge(const char *text, const struct node *n, struct err *err)
{
	_cleanup_free_ char *name = str_fmt(NETWORK_OF_BRIDGE "%s", text);
	struct err why = ERR_INIT;
	if (name_check(name, "network", &why) < 0)
		return node_error(n, err, "'%s' is not the name of a bridge", text);
	return 0;
}

static int check_domain(const char *text, const struct node *n, struct err *err)
{
	size_t label = 0;
	for (const char *p = text;; p++) {
		if (*p == '.' || !*p) {
			if (label == 0 || label > 63)
				break;
			label = 0;
			if (!*p)
				return 0;
		} else if (isalnum((unsigned char)*p) || (label && strchr("-_", *p))) {
			label++;
		} else {
			break;
		}
	}
	return node_error(n, err, "'%s' is not a domain, such as lab.internal", text);
}

static int check_dns_server(const char *text, const struct node *n, struct err *err)
{
	unsigned char address[16];
	if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, address) == 1)
		return 0;
	return node_error(n, err, "'%s' is not an address", text);
}

static uint32_t host_bits(const struct prefix *p)
{
	uint32_t address;
	memcpy(&address, p->address, sizeof(address));
	return ntohl(address) & (0xffffffffU >> p->bits);
}

/* The subnet itself, 10.0.0.0/24, is what people write as well: then its first address is the gateway's. */
static int read_address(const struct node *n, void *base, struct err *err)
{
	struct network *net = base;
	struct err why = ERR_INIT;
	struct prefix p;
	const char *text;
	char written[ADDRESS_TEXT + 4];
	if (node_text(n, false, &text, err) < 0)
		return -1;
	if (prefix_parse(text, &p, &why) < 0 || p.family != AF_INET)
		return node_error(n, err,
			"'%.60s' is not a gateway's address with its network's bits, such as 192.168.50.1/24",
			text);
	if (p.bits < 8 || p.bits > 29)
		return node_error(n, err, "'%s': a network has 8 to 29 bits", text);
	if (p.address[0] == 0 || p.address[0] == 127 || p.address[0] >= 224)
		return node_error(n, err, "'%s' is not a network that hosts may have", text);
	if (host_bits(&p) == 0xffffffffU >> p.bits)
		return node_error(n, err, "'%s' is its network's broadcast address", text);
	if (host_bits(&p) == 0)
		p.address[3] |= 1;
	snprintf(net->address, sizeof(net->address), "%s", prefix_text(&p, written));
	return 0;
}

static json_t *write_address(const void *base)
{
	const struct network *n = base;
	return n->address[0] ? json_string(n->address) : NULL;
}

static int read_address6(const struct node *n, void *base, struct err *err)
{
	struct network *net = base;
	struct err why = ERR_INIT;
	struct prefix p;
	const char *text;
	char written[ADDRESS_TEXT + 4];
	static const uint8_t none[8];
	if (node_text(n, false, &text, err) < 0)
		return -1;
	net->address6[0] = '\0';
	if (str_eq(text, "none"))
		return 0;
	if (prefix_parse(text, &p, &why) < 0 || p.family != AF_INET6)
		return node_error(n, err,
			"'%.60s' is neither none nor a gateway's address, such as fd12:3456:789a::1/64",
			text);
	if (p.bits != 64)
		return node_error(
			n, err, "'%s': guests give themselves addresses in a /64 only", text);
	if ((p.address[0] & 0xe0) != 0x20 && (p.address[0] & 0xfe) != 0xfc)
		return node_error(
			n, err, "'%s' is neither global nor a network's own (fd..)", text);
	if (memcmp(p.address + 8, none, sizeof(none)) == 0)
		p.address[15] = 1;
	snprintf(net->address6, sizeof(net->address6), "%s", prefix_text(&p, written));
	return 0;
}

static json_t *write_address6(const void *base)
{
	const struct network *n = base;
	if (n->mode == NETWORK_BRIDGE)
		return NULL;
	return json_string(n->address6[0] ? n->address6 : "none");
}

/* ---- the whole -------------------------------------------------------------------------------- */

static void set_defaults(void *thing)
{
	((struct network *)thing)->dns = true;
}

static int check_foreign(struct network *n, const struct node *map, struct err *err)
{
	static const char *const ours[] = {"address", "address6", "domain", "dns", "dns_servers"};
	if (!n->bridge[0]) {
		node_error(node_place(map, "mode"), err, "mode bridge needs the key 'bridge'");
		return err_hint(err,
			"bridge: BR names the bridge that the host has; without `mode: bridge` the network gets its own");
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		const struct node *key = node_get(map, ours[i]);
		if (key && node_by_people(key))
			return node_error(key, err,
				"addresses and names on the host's bridge '%s' are not ours to give",
				n->bridge);
	}
	n->dns = false;
	return 0;
}

static int check_network(void *thing, const struct node *map, struct err *err)
{
	struct network *n = thing;
	enum { IPV6_MTU_MIN = 1280 };
	network_identify(n);
	if (n->bridge[0] && !node_get(map, "mode"))
		n->mode = NETWORK_BRIDGE;
	if (n->mode == NETWORK_BRIDGE)
		return check_foreign(n, map, err);
	if (n->bridge[0])
		return node_error(node_place(map, "bridge"), err,
			"only mode bridge uses a bridge that the host has");
	bool too_small = n->mtu && n->mtu < IPV6_MTU_MIN;
	if (!node_get(map, "address6") && !too_small)
		network_derive_address6(n, n->address6);
	if (n->address6[0] && too_small)
		return node_error(
			node_place(map, "mtu"), err, "IPv6 needs %d bytes at least", IPV6_MTU_MIN);
	if (!n->domain[0])
		for (const char *p = strcat(strcpy(n->domain, n->name), ".internal"); *p; p++)
			n->domain[p - n->domain] = (char)tolower((unsigned char)*p);
	return 0;
}

static const struct key dns_server_item = {.type = KEY_CHARS, .max = 45, .check = check_dns_server};

#define AT(member) .offset = offsetof(struct network, member)
static const struct key network_rows[] = {
	{"name", KEY_CHARS, KEY_REQUIRED | KEY_CASE, AT(name), .max = 63,
		.check = check_network_name, .doc = "what it is called"},
	{"uuid", KEY_CHARS, AT(uuid), .max = 36, .check = check_uuid, .doc = "default: a new one"},
	{"mode", KEY_WORD, AT(mode), .words = &mode_words,
		.doc = "nat: guests go out under the host's address; routed: under their own; isolated: not at all; bridge: they are on one that the host has"},
	{"bridge", KEY_CHARS, KEY_CASE, AT(bridge), .max = 15, .check = check_bridge,
		.doc = "in mode bridge: the host's bridge"},
	{"address", KEY_OWN, .read = read_address, .write = write_address,
		.doc = "the gateway's IPv4 address and the network's bits, such as `192.168.50.1/24`; default: a free one"},
	{"address6", KEY_OWN, .read = read_address6, .write = write_address6,
		.doc = "the same of IPv6, `/64`, or none; default: a prefix of its own (RFC 4193)"},
	{"domain", KEY_CHARS, AT(domain), .max = 79, .check = check_domain,
		.doc = "the guests' domain; default: the name and `.internal`"},
	{"dns", KEY_BOOL, AT(dns), .doc = "the gateway answers names"},
	{"dns_servers", KEY_LIST, KEY_SPARSE, AT(dns_servers),
		.aux = offsetof(struct network, dns_server_count), .max = NETWORK_DNS_SERVERS_MAX,
		.item = &dns_server_item, .size = sizeof(((struct network *)0)->dns_servers[0]),
		.doc = "who is asked for other names; default: whom the host asks"},
	{"mtu", KEY_NUMBER, KEY_SPARSE, AT(mtu), .min = MTU_MIN, .max = MTU_MAX,
		.doc = "the largest packet; default 1500"},
	{"autostart", KEY_BOOL, AT(autostart), .doc = "started by `roost boot`"},
};
#undef AT
const struct keys network_keys = {
	network_rows, ARRAY_SIZE(network_rows), set_defaults, check_network};
