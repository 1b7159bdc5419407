#include "orchestrator/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/sock.h"
#include "base/str.h"
#include "netsetup/confine.h"
#include "netsetup/namespace.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/paths.h"

enum {
	BACKLOG = 64,
	UPLINK_MS = 15000, /* slirp4netns takes some 100 ms */
	FDS_MAX = SERVER_CLIENTS_MAX + 16,
};

/* ---- the namespace and what is in it -------------------------------------------------------------- */

/* Its MAC must not change with its ports': a locally administered one, of the network's ID. */
static struct mac bridge_mac(const struct network *n)
{
	unsigned id = (unsigned)strtoul(n->id, NULL, 16);
	return (struct mac){{0x02, 0x72, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
		(uint8_t)(id >> 8), (uint8_t)id}};
}

static int read_addresses(struct holder *h, struct err *err)
{
	const struct network *n = h->network;
	if (prefix_parse(n->address, &h->net4, err) < 0)
		return -1;
	h->has6 = n->address6[0];
	return h->has6 ? prefix_parse(n->address6, &h->net6, err) : 0;
}

/* Into the namespace; from there on outer's end is ours, which a change of the user namespace would have undone. */
static int enter(const struct holder *h, int taken, struct err *err)
{
	_cleanup_close_ int tap = taken;
	if (h->own && (tap >= 0 ? namespace_of_tap(tap, err) : namespace_new(err)) < 0)
		return -1;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != h->parent)
		return err_set(err, ERR_GONE, "the outer process of roost-net has ended");
	return 0;
}

static int set_all(const struct holder *h, struct err *err)
{
	const char *routes = h->way->interface ? "1" : "0";
	struct err ignored = ERR_INIT;
	/* one CPU does it all where this cannot be had */
	namespace_steer(HOLDER_BRIDGE, &ignored);
	/* not in every kernel a namespace's own; the guards do without */
	namespace_set("net/bridge/bridge-nf-call-iptables", "0", &ignored);
	namespace_set("net/bridge/bridge-nf-call-ip6tables", "0", &ignored);
	/* nobody else has our addresses: there is no second of asking before the first packet */
	namespace_set("net/ipv6/conf/default/accept_dad", "0", &ignored);
	/* the gateway's link-local address is given by us, and known at once */
	if (namespace_set("net/ipv6/conf/" HOLDER_BRIDGE "/addr_gen_mode", "1", err) < 0 ||
		namespace_set("net/ipv6/conf/" HOLDER_BRIDGE "/accept_ra", "0", err) < 0)
		return -1;
	if (namespace_set("net/ipv6/conf/all/forwarding", routes, err) < 0)
		return -1;
	return namespace_set("net/ipv4/ip_forward", routes, err);
}

/* A former holder's is taken as it is. */
static int lay_bridge(struct holder *h, struct err *err)
{
	struct mac mac = bridge_mac(h->network);
	struct prefix local;
	int lo = link_index(h->links, "lo", err);
	if (lo < 0 || link_up(h->links, lo, err) < 0 || prefix_parse("fe80::1/64", &local, err) < 0)
		return -1;
	h->bridge = link_index(h->links, HOLDER_BRIDGE, err);
	if (h->bridge < 0 && err->kind == ERR_NOT_FOUND) {
		*err = (struct err)ERR_INIT;
		h->bridge = bridge_make(h->links, HOLDER_BRIDGE, &mac, err);
	}
	if (h->bridge < 0 || set_all(h, err) < 0 ||
		link_set_mtu(h->links, h->bridge, h->network->mtu ? h->network->mtu : 1500, err) <
			0 ||
		address_add(h->links, h->bridge, &h->net4, err) < 0)
		return -1;
	if (!h->has6)
		return 0;
	if (address_add(h->links, h->bridge, &local, err) < 0)
		return -1;
	return address_add(h->links, h->bridge, &h->net6, err);
}

static int guard_own(struct holder *h, struct err *err)
{
	const struct uplink_inside *way = h->way;
	struct guard_network guards = {.bridge = HOLDER_BRIDGE,
		.gateway = bridge_mac(h->network),
		.prefix6 = h->has6 ? &h->net6 : NULL,
		.uplink = way->interface,
		.masquerade = way->masquerade,
		.from = way->from.family ? &way->from : NULL,
		.from6 = way->from6.family ? &way->from6 : NULL,
		.host = way->host.family ? &way->host : NULL,
		.host6 = way->host6.family ? &way->host6 : NULL};
	return ports_guard(h, &guards, err);
}

int holder_guard(struct holder *h, struct err *err)
{
	struct guard_network foreign = {.foreign = true, .bridge = h->bridge_name};
	return h->own ? guard_own(h, err) : ports_guard(h, &foreign, err);
}

/* Guards first: who lives on from a former holder's time may have been cut off the bridge, and comes back to it. */
static int lay(struct holder *h, struct err *err)
{
	if (h->own ? lay_bridge(h, err) < 0
		   : (h->bridge = bridge_index(h->links, h->bridge_name, err)) < 0)
		return -1;
	return holder_guard(h, err) < 0 ? -1 : ports_join(h, err);
}

/* ---- with outer ----------------------------------------------------------------------------------- */

/* What outer says of the uplink, also later when it changes. */
static int take_uplink(struct holder *h, int64_t ms, struct err *err)
{
	_cleanup_json_ json_t *said = outer_hear(h->outer, ms, err);
	json_t *uplink = json_object_get(said, "uplink");
	if (!said)
		return -1;
	if (!uplink) {
		json_to_err(json_object_get(said, "error"), err);
		return -1;
	}
	json_decref(h->uplink);
	h->uplink = json_incref(uplink);
	return 0;
}

/* Outer makes it in the host's namespace, and needs ours. */
static int want_uplink(struct holder *h, struct err *err)
{
	if (outer_say(h->outer, json_pack("{s:b}", "namespace", 1)) < 0)
		return err_errno(err, "cannot speak with the outer process of roost-net");
	return take_uplink(h, UPLINK_MS, err);
}

/* ---- the whole ------------------------------------------------------------------------------------ */

int ports_open(struct holder *h, struct err *err)
{
	if (mkdirat(h->run, "ports", 0750) < 0 && errno != EEXIST)
		return err_errno(err, "cannot make the folder 'ports'");
	h->ports_dir = dir_open(h->run, "ports", err);
	return h->ports_dir < 0 ? -1 : 0;
}

static int open_kernel(struct holder *h, struct err *err)
{
	_cleanup_free_ char *table =
		h->own ? xstrdup(GUARD_TABLE) : str_fmt(GUARD_TABLE "-%s", h->network->id);
	h->links = netlink_open(err);
	h->watch = h->links ? link_watch_open(err) : NULL;
	h->rules = h->watch ? nft_watch_open(err) : NULL;
	h->guard = h->rules ? guard_open(table, err) : NULL;
	return h->guard ? publish_open(h, err) : -1;
}

int holder_listen(struct holder *h, struct err *err)
{
	_cleanup_free_ char *path = network_run_path(h->network, "net.sock", err);
	int listener = path ? sock_listen_shared(path, BACKLOG, err) : -1;
	if (listener < 0)
		return -1;
	if (h->server)
		server_set_listener(h->server, listener);
	else
		h->server = server_new(listener, ROOST_VERSION);
	return 0;
}

/* What it needs root for is done. */
static int drop(struct err *err)
{
	_cleanup_free_ char *above = str_fmt("%s/..", paths_run(err));
	return confine(above, err);
}

static int set_up(struct holder *h, int tap, struct err *err)
{
	if ((h->own && read_addresses(h, err) < 0) || enter(h, tap, err) < 0)
		return -1;
	failpoint("holder-entered");
	if (ports_open(h, err) < 0 || open_kernel(h, err) < 0 || ports_find(h, err) < 0 ||
		lay(h, err) < 0)
		return -1;
	failpoint("holder-laid");
	if (want_uplink(h, err) < 0 || drop(err) < 0 || (h->own && names_start(h, err) < 0))
		return -1;
	failpoint("holder-named");
	return holder_listen(h, err);
}

static void run(struct holder *h, struct request *r)
{
	const struct command *c = command_find(holder_commands, r->command);
	struct err err = ERR_INIT;
	json_t *value = NULL;
	int result = c ? command_check_args(c, r->args, &err)
		       : err_set(&err, ERR_NOT_FOUND, "there is no command '%.64s'", r->command);
	if (result == 0)
		result = c->handler(h, r->args, r, &value, &err);
	if (result == 0)
		server_return(h->server, r, value);
	else if (result < 0) {
		json_decref(value);
		server_error(h->server, r, &err);
	}
}

static void serve(struct holder *h)
{
	struct request *r;
	server_pump(h->server);
	while ((r = server_next(h->server)))
		run(h, r);
}

static void doze(struct holder *h, int signals)
{
	struct pollfd fds[FDS_MAX];
	size_t n = 0;
	int64_t until = h->dhcp ? dhcp_deadline(h->dhcp) : DEADLINE_NONE;
	int64_t proxies = publish_deadline(h);
	until = h->home_due < until ? h->home_due : until;
	until = rules_deadline(h) < until ? rules_deadline(h) : until;
	fds[n++] = (struct pollfd){.fd = signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = h->outer, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = link_watch_fd(h->watch), .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = h->proxies, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = nft_watch_fd(h->rules), .events = POLLIN};
	if (h->dhcp)
		n += dhcp_poll_fds(h->dhcp, fds + n);
	n += server_poll_fds(h->server, fds + n, FDS_MAX - n);
	poll(fds, n, deadline_left(proxies < until ? proxies : until));
	struct err ignored = ERR_INIT;
	if (fds[1].revents && take_uplink(h, 0, &ignored) < 0)
		_exit(err_exit_code(ERR_GONE)); /* its death is ours, and roostd sees to both */
}

/* What QEMUs hold stays, but it is no network any more. */
static void take_down(struct holder *h)
{
	struct err ignored = ERR_INIT;
	failpoint("holder-ending");
	unlinkat(h->run, "net.sock", 0);
	publish_close(h);
	dhcp_close(h->dhcp);
	if (!h->own)
		guard_uninstall(h->guard, &ignored);
	else if (h->ports)
		link_remove(h->links, h->bridge, &ignored);
	if (h->lock >= 0) /* which outer does not know */
		unlinkat(h->run, "holder", 0);
}

int holder_run(const struct network *n, const struct uplink_inside *way, int run_dir, int outer,
	pid_t parent, int tap)
{
	struct err err = ERR_INIT;
	struct holder h = {.network = n,
		.way = way,
		.own = n->mode != NETWORK_BRIDGE,
		.user = geteuid() != 0,
		.run = run_dir,
		.lock = -1,
		.ports_dir = -1,
		.parent = parent,
		.outer = outer};
	h.bridge_name = h.own ? HOLDER_BRIDGE : n->bridge;
	int signals = signals_catch(NULL, &err);
	if (signals < 0 || set_up(&h, tap, &err) < 0) {
		outer_say(outer, json_pack("{s:o}", "error", json_from_err(&err)));
		dhcp_close(h.dhcp);
		return err_exit_code(err.kind);
	}
	failpoint("holder-serves");
	outer_say(outer, json_pack("{s:{}}", "return"));
	while (!h.quit) {
		serve(&h);
		ports_look(&h);
		publish_look(&h);
		rules_look(&h);
		home_look(&h);
		if (h.dhcp)
			dhcp_look(h.dhcp);
		if (!h.quit)
			doze(&h, signals);
		h.quit = h.quit || signals_take(signals);
	}
	server_pump(h.server);
	take_down(&h);
	return 0;
}
