#include "netsetup/uplink_parts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "netsetup/netlink.h"

/* ---- the host's settings -------------------------------------------------------------------------- */

const char setting_forward4[] = "/proc/sys/net/ipv4/ip_forward";
const char setting_forward6[] = "/proc/sys/net/ipv6/conf/all/forwarding";

struct prefix net_of(struct prefix p)
{
	for (unsigned i = p.bits; i < 128; i++)
		p.address[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return p;
}

/* ---- routes --------------------------------------------------------------------------------------- */

/* What is behind another network's end lets in nobody from a third: it is no part of the world. */
static bool is_of_a_network(int link)
{
	char name[IF_NAMESIZE];
	return if_indextoname((unsigned)link, name) && str_starts(name, "rn-");
}

static bool see_route(const struct route *r, void *context)
{
	struct ways *w = context;
	const struct prefix *guests = r->to.family == AF_INET ? w->guests : w->guests6;
	char path[96];
	if (r->link && r->link == w->own)
		return true;
	/* a wider one of the host's does not reach guests any more, and works on; a narrower one would take some away */
	if (guests && r->to.bits >= guests->bits && prefix_overlaps(&r->to, guests)) {
		w->taken = r->to;
		w->taken_link = r->link;
	}
	if (r->local || r->link == 1)
		return true;
	if (r->to.bits == 0 && r->to.family == AF_INET)
		w->leads = true;
	else if (r->to.bits == 0)
		w->leads6 = true;
	else if (r->to.family == AF_INET && r->to.bits <= 30 && !is_of_a_network(r->link))
		w->somewhere = r->to;
	char name[IF_NAMESIZE];
	if (!r->advertised || !if_indextoname((unsigned)r->link, name))
		return true;
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	if (setting_is(path, '1'))
		snprintf(w->advertised_by, sizeof(w->advertised_by), "%s", name);
	return true;
}

int uplink_see_ways(struct uplink *u, struct err *err)
{
	struct ways w = {.guests = u->address.family ? &u->address : NULL,
		.guests6 = u->address6.family ? &u->address6 : NULL,
		.own = (int)if_nametoindex(u->host)};
	_cleanup_netlink_ struct netlink *n = netlink_open(err);
	if (!n || routes(n, see_route, &w, err) < 0)
		return -1;
	u->ways = w;
	return 0;
}

static int refuse_taken(const struct uplink *u, struct err *err)
{
	char net[ADDRESS_TEXT + 4], link[IF_NAMESIZE + 4] = "several interfaces";
	if (!u->ways.taken.family)
		return 0;
	if_indextoname((unsigned)u->ways.taken_link, link);
	err_set(err, ERR_REFUSED, "it cannot have its addresses: this host has a route to %s by %s",
		prefix_text(&u->ways.taken, net), link);
	return err_hint(err, "`roost net-edit %s` gives it others", u->network);
}

struct overlap {
	const struct prefix *with;
	int own;
	bool found;
};

static bool see_overlap(const struct route *r, void *context)
{
	struct overlap *o = context;
	if (r->to.bits > 0 && r->link != o->own && prefix_overlaps(&r->to, o->with))
		o->found = true;
	return !o->found;
}

/* FNV-1a, 32 bits. */
static uint32_t hash(const char *text, uint32_t number)
{
	uint32_t h = 2166136261;
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 16777619;
	for (unsigned i = 0; i < 4; i++)
		h = (h ^ (number >> 8 * i & 0xff)) * 16777619;
	return h ^ h >> 15;
}

/* The same for the same ID, as long as the host's routes leave room for it. */
static int choose_transfer(struct uplink *u, struct err *err)
{
	enum { TRIES = 64, SHARED_TRIES = 48 };
	_cleanup_netlink_ struct netlink *n = netlink_open(err);
	if (!n)
		return -1;
	for (uint32_t i = 0; i < TRIES; i++) {
		uint32_t h = hash(u->id, i) & ~3U;
		uint32_t base = i < SHARED_TRIES ? 0x64400000 | (h & 0x3fffff)  /* 100.64.0.0/10 */
						 : 0x0a000000 | (h & 0xffffff); /* 10.0.0.0/8 */
		struct prefix net = {.family = AF_INET, .bits = 30};
		struct overlap o = {.with = &net, .own = u->ways.own};
		for (unsigned k = 0; k < 4; k++)
			net.address[k] = (uint8_t)(base >> (24 - 8 * k));
		if (prefix_overlaps(&net, &u->address))
			continue;
		if (routes(n, see_overlap, &o, err) < 0)
			return -1;
		if (o.found)
			continue;
		u->ends[0] = u->ends[1] = net;
		u->ends[0].address[3] = (uint8_t)(net.address[3] + 1);
		u->ends[1].address[3] = (uint8_t)(net.address[3] + 2);
		return 0;
	}
	err_set(err, ERR_REFUSED,
		"this host's routes leave no room in 100.64.0.0/10 and 10.0.0.0/8 for the way to it");
	return err_hint(err, "make it `mode: isolated`");
}

/* fd72:6f6f:ID::/126, a unique local one (RFC 4193). */
static void choose_transfer6(struct uplink *u)
{
	uint32_t id = (uint32_t)strtoul(u->id, NULL, 16);
	for (unsigned i = 0; i < 2; i++)
		u->ends6[i] = (struct prefix){.family = AF_INET6,
			.bits = 126,
			.address = {0xfd, 0x72, 0x6f, 0x6f, (uint8_t)(id >> 24),
				(uint8_t)(id >> 16), (uint8_t)(id >> 8),
				(uint8_t)id, [15] = (uint8_t)(1 + i)}};
}

/* ---- what the inner process has to know ----------------------------------------------------------- */

/* Those of a resolv.conf that are reached from elsewhere than the host itself. */
static size_t read_servers(const char *path, char out[4][46])
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	char *save = NULL;
	size_t count = 0;
	if (file_read(AT_FDCWD, path, 65536, &text, &ignored) < 0)
		return 0;
	for (char *line = text.data ? strtok_r(text.data, "\n", &save) : NULL; line && count < 4;
		line = strtok_r(NULL, "\n", &save)) {
		char address[46];
		uint8_t bytes[16];
		if (sscanf(line, "nameserver %45[0-9a-fA-F.:]", address) == 1 &&
			!str_starts(address, "127.") && strcmp(address, "::1") != 0 &&
			(inet_pton(AF_INET, address, bytes) == 1 ||
				inet_pton(AF_INET6, address, bytes) == 1))
			snprintf(out[count++], 46, "%s", address);
	}
	return count;
}

static void find_servers(struct uplink *u)
{
	/* where systemd-resolved writes whom it asks itself (systemd-resolved.service(8)) */
	static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	struct uplink_inside *in = &u->inside;
	for (size_t i = 0; i < ARRAY_SIZE(files) && !in->server_count; i++) {
		in->server_count = read_servers(files[i], in->servers);
		if (in->server_count)
			snprintf(in->resolv_file, sizeof(in->resolv_file), "%s", files[i]);
	}
	if (!in->server_count)
		uplink_note(u,
			"this host names no DNS server that guests could reach: `dns_servers` of the network may");
}

static void find_ipv6(struct uplink *u)
{
	if (!u->address6.family || !u->ways.leads6)
		return;
	if (u->veth && !setting_is(setting_forward6, '1') && u->ways.advertised_by[0]) {
		uplink_note(u,
			"guests have no IPv6 to the world: this host takes its own route from advertisements, which it "
			"would no longer do; `sysctl net.ipv6.conf.%s.accept_ra=2 net.ipv6.conf.all.forwarding=1`, "
			"then start the network again",
			u->ways.advertised_by);
		return;
	}
	u->inside.leads6 = true;
}

static int plan_veth(struct uplink *u, struct err *err)
{
	if (refuse_taken(u, err) < 0 || choose_transfer(u, err) < 0)
		return -1;
	u->inside.host = u->ends[0];
	u->inside.host.bits = 32;
	u->inside.from = u->inside.host;
	if (u->mode == UPLINK_ROUTED)
		u->inside.from = (struct prefix){.family = AF_INET};
	if (u->address6.family) {
		choose_transfer6(u);
		u->inside.host6 = u->ends6[0];
		u->inside.host6.bits = 128;
		u->inside.from6 = u->inside.host6;
		if (u->mode == UPLINK_ROUTED)
			u->inside.from6 = (struct prefix){.family = AF_INET6};
	}
	find_servers(u);
	return 0;
}

static int plan_slirp(struct uplink *u, struct err *err)
{
	static const char *const nets[] = {"10.0.2.0/24", "10.0.3.0/24"};
	if (u->mode == UPLINK_ROUTED) {
		err_set(err, ERR_REFUSED, "only root's networks are routed");
		return err_hint(err, "`mode: nat` works for everybody");
	}
	for (size_t i = 0; i < ARRAY_SIZE(nets); i++) {
		struct prefix net;
		if (prefix_parse(nets[i], &net, err) < 0)
			return -1;
		if (i + 1 < ARRAY_SIZE(nets) && prefix_overlaps(&net, &u->address))
			continue;
		snprintf(u->slirp_net, sizeof(u->slirp_net), "%s", nets[i]);
		break;
	}
	u->inside.masquerade = true;
	u->inside.server_count = 1;
	snprintf(u->inside.servers[0], sizeof(u->inside.servers[0]), "%.*s3",
		(int)strlen("10.0.2."), u->slirp_net);
	return 0;
}

int uplink_plan(struct uplink *u, struct err *err)
{
	if (uplink_see_ways(u, err) < 0 || (u->veth ? plan_veth(u, err) : plan_slirp(u, err)) < 0)
		return -1;
	find_ipv6(u);
	return 0;
}
