#include "netsetup/uplink_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "netsetup/legacy_firewall.h"
#include "netsetup/netlink.h"

enum {
	PROVE_MS =
		1500, /* a packet takes microseconds, but the host may be busy; ARP asks again after 1 s */
	CARRIER_MS = 1000,
	PROOF_PORT = 9, /* discard (RFC 863) */
};

/* Others may have come to rely on it by the time that the network ends: nobody switches it off again. */
static int switch_on(struct uplink *u, const char *path, const char *what, struct err *err)
{
	if (setting_is(path, '1'))
		return 0;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) < 0)
		return err_errno(err, "cannot switch on forwarding of %s, '%s'", what, path);
	uplink_note(u, "forwarding of %s was off on this host: it has been switched on", what);
	return 0;
}

/* ---- into the namespace and back ------------------------------------------------------------------ */

/* Where we are, to return to; -1 with *err. */
static int enter(pid_t inner, struct err *err)
{
	_cleanup_free_ char *path = str_fmt("/proc/%d/ns/net", (int)inner);
	_cleanup_close_ int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int there = open(path, O_RDONLY | O_CLOEXEC);
	if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
		return err_errno(err, "cannot enter the network's namespace");
	return TAKE_FD(here);
}

/* A process that cannot go back must not go on: it would change the wrong namespace. */
static void leave(int *back)
{
	if (*back >= 0 && setns(*back, CLONE_NEWNET) < 0)
		abort();
	cleanup_close(back);
}
#define _cleanup_leave_ _cleanup_(leave)

static int set_up_inside(struct uplink *u, struct err *err)
{
	int link;
	_cleanup_leave_ int back = enter(u->inner, err);
	if (back < 0)
		return -1;
	_cleanup_netlink_ struct netlink *n = netlink_open(err);
	if (!n || (link = link_index(n, "up0", err)) < 0 ||
		address_add(n, link, &u->ends[1], err) < 0 ||
		(u->ends6[1].family && address_add(n, link, &u->ends6[1], err) < 0) ||
		link_set_mtu(n, link, u->mtu, err) < 0 || link_up(n, link, err) < 0)
		return -1;
	if (route_add(n, NULL, &u->ends[0], err) < 0)
		return -1;
	return u->ends6[0].family ? route_add(n, NULL, &u->ends6[0], err) : 0;
}

/*
 * The end that is up first learns of the other one by a task of the kernel's own; until then it drops what it is to send,
 * the answer to ARP for one, which is not asked for again within a second.
 */
static void wait_for_carrier(const char *link)
{
	struct ifreq r = {0};
	int64_t deadline = deadline_in(CARRIER_MS);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", link);
	while (clock_ms() < deadline && ioctl(fd, SIOCGIFFLAGS, &r) == 0 &&
		!(r.ifr_flags & IFF_RUNNING))
		poll(NULL, 0, 1);
}

/* Nobody else can have an address there: IPv6 need not look for a second before it speaks. A kernel without IPv6: fine. */
static void skip_detection(const char *link)
{
	_cleanup_free_ char *path = str_fmt("/proc/sys/net/ipv6/conf/%s/accept_dad", link);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	(void)!write(fd, "0", 1);
}

static int set_up_veth(struct uplink *u, struct err *err)
{
	int link;
	_cleanup_free_ char *path = str_fmt("/proc/%d/ns/net", (int)u->inner);
	_cleanup_close_ int there = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_netlink_ struct netlink *n = netlink_open(err);
	if (there < 0)
		return err_errno(err, "cannot open the network's namespace");
	if (!n || veth_make(n, u->host, "up0", there, err) < 0)
		return -1;
	skip_detection(u->host);
	if ((link = link_index(n, u->host, err)) < 0 ||
		address_add(n, link, &u->ends[0], err) < 0 ||
		(u->ends6[0].family && address_add(n, link, &u->ends6[0], err) < 0) ||
		link_set_mtu(n, link, u->mtu, err) < 0 || link_up(n, link, err) < 0 ||
		set_up_inside(u, err) < 0)
		return -1;
	wait_for_carrier(u->host);
	struct prefix guests = net_of(u->address), guests6 = net_of(u->address6);
	if (guests.family && route_add(n, &guests, &u->ends[1], err) < 0)
		return -1;
	return guests6.family ? route_add(n, &guests6, &u->ends6[1], err) : 0;
}

/* ---- the proof ------------------------------------------------------------------------------------ */

struct sender {
	int fd;
	struct sockaddr_storage to;
	socklen_t len;
};

static socklen_t socket_address(struct sockaddr_storage *out, const struct prefix *p, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (p->family == AF_INET) {
		*in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
		memcpy(&in->sin_addr, p->address, 4);
		return sizeof(*in);
	}
	*in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&in6->sin6_addr, p->address, 16);
	return sizeof(*in6);
}

static int send_one(void *context, struct err *err)
{
	struct sender *s = context;
	if (sendto(s->fd, "roost", 5, 0, (struct sockaddr *)&s->to, s->len) < 0 &&
		errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != EACCES)
		return err_errno(err, "cannot send from the network's namespace");
	return 0;
}

/* In the namespace, with the gateway's address, whether it has that yet or not. */
static int open_sender(const struct uplink *u, const struct prefix *from, struct err *err)
{
	const int on = 1;
	bool v4 = from->family == AF_INET;
	struct sockaddr_storage own;
	socklen_t len = socket_address(&own, from, 0);
	_cleanup_leave_ int back = enter(u->inner, err);
	if (back < 0)
		return -1;
	_cleanup_close_ int fd = socket(from->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
		setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
			v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&own, len) < 0)
		return err_errno(err, "cannot open a socket in the network's namespace");
	return TAKE_FD(fd);
}

/* Only an address of this host's own can be bound: what is sent to one of those passes on to nowhere. */
static bool is_own(const struct prefix *address)
{
	struct sockaddr_storage to;
	socklen_t len = socket_address(&to, address, 0);
	_cleanup_close_ int fd = socket(address->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && bind(fd, (struct sockaddr *)&to, len) == 0;
}

/* Where a packet to the world goes: an address that nobody has (RFC 5737, RFC 3849), by the default route. */
static bool proof_target(const struct uplink *u, int family, struct prefix *out)
{
	static const struct prefix nowhere = {.family = AF_INET,
					   .address = {192, 0, 2, 1},
					   .bits = 32},
				   nowhere6 = {.family = AF_INET6,
					   .address = {0x20, 1, 0xd, 0xb8, [15] = 1},
					   .bits = 128};
	if (family == AF_INET6) {
		*out = nowhere6;
		return u->inside.leads6;
	}
	*out = nowhere;
	if (!u->ways.leads && u->ways.somewhere.family) {
		*out = net_of(u->ways.somewhere);
		out->address[3]++;
		if (is_own(out))
			out->address[3]++;
	}
	return u->ways.leads || u->ways.somewhere.family;
}

static int prove(struct uplink *u, const struct prefix *from, struct err *err)
{
	struct sender sender = {.fd = -1};
	struct host_proof proof = {
		.port = PROOF_PORT, .send = send_one, .context = &sender, .wait_ms = PROVE_MS};
	if (!from->family || !proof_target(u, from->family, &proof.to))
		return 1;
	_cleanup_close_ int fd = open_sender(u, from, err);
	if (fd < 0)
		return -1;
	sender.fd = fd;
	sender.len = socket_address(&sender.to, &proof.to, PROOF_PORT);
	return host_firewall_prove(u->firewall, &proof, err);
}

/* Who has dropped it: the first filter of that family without an opening, else with one. */
static int blame(struct uplink *u, int family, struct err *err)
{
	struct host_filter filters[HOST_FILTERS_MAX];
	const struct host_filter *who = NULL;
	int count = host_firewall_filters(u->firewall, filters, err);
	for (int i = 0; i < count; i++) {
		bool v6 = strchr(filters[i].kind, '6') != NULL;
		if ((strcmp(filters[i].kind, "inet") == 0 || v6 == (family == AF_INET6)) &&
			(!who || (who->opening[0] && !filters[i].opening[0])))
			who = &filters[i];
	}
	if (!who) {
		err_set(err, ERR_REFUSED,
			"what guests send does not pass this host, though no filter drops all that it does not know");
		return err_hint(
			err, "`nft list ruleset` shows what this host drops on hook forward");
	}
	_cleanup_free_ char *chain = host_filter_text(who);
	_cleanup_free_ char *remedy =
		host_filter_remedy(who, u->mode == UPLINK_BRIDGED ? u->bridge : u->host);
	err_set(err, ERR_REFUSED, "this host's firewall drops what guests send to the world: %s",
		chain);
	return err_hint(err, "%s", remedy);
}

/* Where a bridge's frames lead nobody knows, so nothing is proven: some rule of the host's may well let them pass. */
static int note_bridged(struct uplink *u, struct err *err)
{
	struct host_filter filters[HOST_FILTERS_MAX];
	int count = host_firewall_filters(u->firewall, filters, err);
	for (int i = 0; i < count; i++) {
		_cleanup_free_ char *filter = host_filter_text(&filters[i]);
		if (!filters[i].opening[0])
			uplink_note(u,
				"this host's firewall sees what passes the bridge %s, and may drop it: %s; "
				"`sysctl net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0`",
				u->bridge, filter);
	}
	return count < 0 ? -1 : 0;
}

/* Opens what can be opened, and proves that this is enough. What is lacking for IPv6 alone is only noted. */
static int pass_firewall(struct uplink *u, struct err *err)
{
	struct err err6 = ERR_INIT;
	int opened = host_firewall_heal(u->firewall, err);
	if (opened < 0)
		return -1;
	if (opened)
		uplink_note(u,
			"this host's firewall drops what it does not know: rules marked roost-%s let the network through",
			u->id);
	if (u->mode == UPLINK_BRIDGED)
		return note_bridged(u, err);
	int came = prove(u, &u->address, err);
	if (came <= 0)
		return came < 0 ? -1 : blame(u, AF_INET, err);
	u->proven = u->ways.leads;
	if (u->inside.leads6 && prove(u, &u->address6, &err6) == 0) {
		blame(u, AF_INET6, &err6);
		uplink_note(u, "no IPv6 to the world: %s; %s", err6.message, err6.hint);
	}
	return 0;
}

/* ---- up and down ---------------------------------------------------------------------------------- */

static int remove_link(const char *name, struct err *err)
{
	_cleanup_netlink_ struct netlink *n = netlink_open(err);
	struct err why = ERR_INIT;
	int link = n ? link_index(n, name, &why) : -1;
	if (n && link < 0 && why.kind != ERR_NOT_FOUND)
		*err = why;
	if (link < 0)
		return n && why.kind == ERR_NOT_FOUND ? 0 : -1;
	return link_remove(n, link, err);
}

/* First the table: that of a process that lives is not removed, and then nothing is. */
static int sweep(struct host_firewall *f, const char *host, struct err *err)
{
	struct err why = ERR_INIT;
	if (host_table_remove(f, &why) < 0) {
		err_set(err, ERR_REFUSED,
			"another roost-net of this host has a network of this name: %s",
			why.message);
		return err_hint(err, "give one of the two another name");
	}
	return host_firewall_unheal(f, err) < 0 ? -1 : remove_link(host, err);
}

int uplink_sweep(const char *id, struct err *err)
{
	_cleanup_free_ char *host = str_fmt("rn-%s", id);
	struct host_firewall *f = host_firewall_open(id, host, false, err);
	int result = f ? sweep(f, host, err) : -1;
	host_firewall_close(f);
	return result;
}

static void add_links(json_t *ids)
{
	struct if_nameindex *links = if_nameindex();
	for (struct if_nameindex *l = links; l && l->if_name; l++)
		if (str_starts(l->if_name, "rn-"))
			filter_id_add(ids, l->if_name + strlen("rn-"));
	if (links)
		if_freenameindex(links);
}

json_t *uplink_traces(struct err *err)
{
	struct host_firewall *f = host_firewall_open("", "", false, err);
	_cleanup_json_ json_t *ids = f ? host_firewall_marks(f, err) : NULL;
	json_t *out = ids ? json_array() : NULL, *id;
	size_t i, with_rules = json_array_size(ids);
	if (ids)
		add_links(ids);
	json_array_foreach (ids, i, id) {
		const char *text = json_string_value(id);
		_cleanup_free_ char *link = str_fmt("rn-%s", text);
		json_array_append_new(
			out, json_pack("{s:s, s:b, s:b, s:b}", "id", text, "alive",
				     host_table_is_owned(f, text), "rules", i < with_rules, "link",
				     if_nametoindex(link) != 0));
	}
	host_firewall_close(f);
	return out;
}

json_t *uplink_filters(const char *interface, struct err *err)
{
	struct host_filter filters[HOST_FILTERS_MAX];
	struct host_firewall *f = host_firewall_open("", interface, false, err);
	int count = f ? host_firewall_filters(f, filters, err) : -1;
	host_firewall_close(f);
	if (count < 0)
		return NULL;
	json_t *out = json_array();
	for (int i = 0; i < count; i++) {
		_cleanup_free_ char *text = host_filter_text(&filters[i]);
		_cleanup_free_ char *remedy = host_filter_remedy(&filters[i], interface);
		json_array_append_new(out, json_pack("{s:s, s:b, s:s}", "filter", text, "opened",
						   filters[i].opening[0] != 0, "remedy", remedy));
	}
	return out;
}

static int put_table(struct uplink *u, struct err *err)
{
	struct host_table t = {.nat = u->mode == UPLINK_NAT,
		.guests = net_of(u->address),
		.guests6 = net_of(u->address6),
		.transfer = net_of(u->ends[0]),
		.transfer6 = net_of(u->ends6[0])};
	return host_table_put(u->firewall, &t, err);
}

int uplink_veth_up(struct uplink *u, struct err *err)
{
	struct host_firewall *f = host_firewall_open(u->id, u->host, false, err);
	if (!f || sweep(f, u->host, err) < 0) {
		host_firewall_close(f); /* what is there is another's */
		return -1;
	}
	u->firewall = f;
	if (switch_on(u, setting_forward4, "IPv4", err) < 0 ||
		(u->inside.leads6 && switch_on(u, setting_forward6, "IPv6", err) < 0) ||
		set_up_veth(u, err) < 0 || put_table(u, err) < 0)
		return -1;
	if (!u->again)
		return pass_firewall(u, err);
	pass_firewall(u, &u->problem);
	return 0;
}

/* The bridge's own frames come through the host's filters, as br_netfilter does it; nothing can be proven: where do they lead? */
int uplink_bridged_up(struct uplink *u, struct err *err)
{
	if (!setting_is("/proc/sys/net/bridge/bridge-nf-call-iptables", '1') &&
		!setting_is("/proc/sys/net/bridge/bridge-nf-call-ip6tables", '1'))
		return 0;
	u->firewall = host_firewall_open(u->id, u->bridge, true, err);
	if (!u->firewall || host_firewall_unheal(u->firewall, err) < 0)
		return -1;
	return pass_firewall(u, err);
}

void uplink_veth_down(struct uplink *u)
{
	struct err ignored = ERR_INIT;
	if (!u->firewall)
		return;
	host_firewall_unheal(u->firewall, &ignored);
	if (u->veth) {
		host_table_remove(u->firewall, &ignored);
		remove_link(u->host, &ignored);
	}
	host_firewall_close(u->firewall);
	u->firewall = NULL;
}

int uplink_veth_check(struct uplink *u, struct err *err)
{
	if (u->veth && (switch_on(u, setting_forward4, "IPv4", err) < 0 ||
			       (!host_table_is_there(u->firewall) && put_table(u, err) < 0) ||
			       (!u->proven && uplink_see_ways(u, err) < 0)))
		return -1;
	return pass_firewall(u, err);
}
