/* What net.sock understands: one row each. */
#include "orchestrator/holder.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "netsetup/tap.h"

static int tap(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	int fds[TAP_QUEUES_MAX];
	size_t count = 0;
	(void)ret;
	if (port_add(h, args, &r->peer, fds, &count, err) < 0)
		return -1;
	server_return_fds(h->server, r, NULL, fds, count);
	while (count > 0)
		close(fds[--count]);
	return 1;
}

static struct port *want_port(const struct holder *h, const json_t *args, struct err *err)
{
	const char *name = json_get_str(args, "tap", "");
	struct port *p = port_find(h, name);
	if (!p)
		err_set(err, ERR_NOT_FOUND, "network '%s' has no tap '%.40s'", h->network->name,
			name);
	return p;
}

static int untap(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct port *p = want_port(h, args, err);
	(void)r, (void)ret;
	if (!p || link_remove(h->links, p->link, err) < 0)
		return -1;
	port_drop(h, p);
	return 0;
}

static int publish(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct port *p = want_port(h, args, err);
	_cleanup_close_ int fd = request_take_fd(r);
	(void)ret;
	return p ? publish_add(h, p, args, &fd, err) : -1;
}

static int unpublish(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct port *p = want_port(h, args, err);
	(void)r, (void)ret;
	return p ? publish_remove(h, p, args, err) : -1;
}

/* ---- names ---------------------------------------------------------------------------------------- */

static int want_names(const struct holder *h, struct err *err)
{
	return h->dhcp ? 0
		       : err_set(err, ERR_REFUSED,
				 "network '%s' is the host's bridge '%s': its names are not ours",
				 h->network->name, h->bridge_name);
}

static int host(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	(void)r, (void)ret;
	if (want_names(h, err) < 0)
		return -1;
	ports_look(h); /* the guest may just have ended */
	return names_wait(h, args) ? 0 : names_add(h, args, err);
}

static int unhost(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct mac mac;
	(void)r, (void)ret;
	if (want_names(h, err) < 0 || mac_parse(json_get_str(args, "mac", ""), &mac, err) < 0)
		return -1;
	return dhcp_remove_host(h->dhcp, &mac, err);
}

/* ---- a connection from inside --------------------------------------------------------------------- */

static int read_target(const struct holder *h, const json_t *args, struct sockaddr_storage *out,
	socklen_t *len, struct err *err)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	struct prefix p;
	const char *address = json_get_str(args, "address", "");
	int64_t port = json_get_int(args, "port", 0);
	_cleanup_free_ char *whole = str_fmt("%s/%d", address, strchr(address, ':') ? 128 : 32);
	if (port < 1 || port > UINT16_MAX)
		return err_set(err, ERR_USAGE, "there is no port %lld", (long long)port);
	if (prefix_parse(whole, &p, err) < 0)
		return -1;
	if (h->own && !prefix_has(&h->net4, p.family, p.address) &&
		!(h->has6 && prefix_has(&h->net6, p.family, p.address)))
		return err_set(err, ERR_USAGE, "address %s is not of network '%s'", address,
			h->network->name);
	*out = (struct sockaddr_storage){.ss_family = (sa_family_t)p.family};
	if (p.family == AF_INET) {
		memcpy(&four->sin_addr, p.address, sizeof(four->sin_addr));
		four->sin_port = htons((uint16_t)port);
		*len = sizeof(*four);
	} else {
		memcpy(&six->sin6_addr, p.address, sizeof(six->sin6_addr));
		six->sin6_port = htons((uint16_t)port);
		*len = sizeof(*six);
	}
	return 0;
}

/* It is only begun: who asked waits for it. */
static int dial(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct sockaddr_storage target;
	socklen_t len = 0;
	(void)ret;
	if (read_target(h, args, &target, &len, err) < 0)
		return -1;
	_cleanup_close_ int fd =
		socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&target, len) < 0 && errno != EINPROGRESS)
		return err_errno(err, "cannot connect to %s port %lld",
			json_get_str(args, "address", ""),
			(long long)json_get_int(args, "port", 0));
	server_return_fds(h->server, r, NULL, &fd, 1);
	return 1;
}

/* ---- looking -------------------------------------------------------------------------------------- */

static json_t *list_taps(const struct holder *h)
{
	json_t *out = json_array();
	for (const struct port *p = h->ports; p; p = p->next)
		json_array_append(out, p->told);
	return out;
}

static int status(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	(void)args, (void)r, (void)err;
	*ret = json_pack("{s:s, s:i, s:s, s:o, s:i, s:O, s:o}", "name", h->network->name, "pid",
		(int)getpid(), "bridge", h->bridge_name, "taps", list_taps(h), "dnsmasq",
		h->dhcp ? (int)dhcp_pid(h->dhcp) : 0, "uplink", h->uplink, "definition",
		network_to_json(h->network));
	return 0;
}

/* As the guest sees it: what the tap has sent is what the guest has received. */
static int counters(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct link_counters c;
	struct port *p = want_port(h, args, err);
	(void)r;
	if (!p || link_count(h->links, p->link, &c, err) < 0)
		return -1;
	*ret = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_bytes",
		(json_int_t)c.tx_bytes, "rx_packets", (json_int_t)c.tx_packets, "rx_errs",
		(json_int_t)c.tx_errors, "rx_drop", (json_int_t)c.tx_dropped, "tx_bytes",
		(json_int_t)c.rx_bytes, "tx_packets", (json_int_t)c.rx_packets, "tx_errs",
		(json_int_t)c.rx_errors, "tx_drop", (json_int_t)c.rx_dropped);
	return 0;
}

static int drops(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	size_t i;
	json_t *one;
	(void)args, (void)r;
	*ret = guard_drops(h->guard, err);
	json_array_foreach (*ret, i, one) {
		const struct port *p = port_find(h, json_get_str(one, "tap", ""));
		if (!p)
			continue;
		json_object_set(one, "guest", json_object_get(p->told, "guest"));
		json_object_set(one, "nic", json_object_get(p->told, "nic"));
	}
	return *ret ? 0 : -1;
}

struct on_bridge {
	int bridge;
	json_t *out;
};

static bool add_neighbour(const struct neighbour *found, void *context)
{
	struct on_bridge *c = context;
	char address[ADDRESS_TEXT], mac[MAC_TEXT];
	if (found->link == c->bridge)
		json_array_append_new(c->out, json_pack("{s:s, s:s, s:s, s:b}", "address",
						      prefix_address_text(&found->address, address),
						      "mac", mac_text(&found->mac, mac), "source",
						      "neighbours", "reachable", found->reachable));
	return true;
}

/* What guests on a foreign bridge have been heard to use: nobody issues addresses to them. */
static int add_learned(const struct holder *h, json_t *out, struct err *err)
{
	size_t i;
	json_t *one;
	_cleanup_json_ json_t *learned = guard_learned(h->guard, err);
	json_array_foreach (learned, i, one) {
		json_object_set_new(one, "source", json_string("learned"));
		json_array_append(out, one);
	}
	return learned ? 0 : -1;
}

static int look_neighbours(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	struct on_bridge c = {.bridge = h->bridge, .out = json_array()};
	(void)args, (void)r;
	*ret = c.out;
	if (!h->own && add_learned(h, c.out, err) < 0)
		return -1;
	return neighbours(h->links, add_neighbour, &c, err);
}

static int check(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r;
	*ret = holder_check(self, err);
	return *ret ? 0 : -1;
}

static int quit(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct holder *h = self;
	(void)args, (void)r, (void)ret, (void)err;
	h->quit = true;
	return 0;
}

static int look_commands(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)self, (void)args, (void)r, (void)err;
	*ret = command_list(holder_commands);
	return 0;
}

#define TAP                                                                                        \
	{                                                                                          \
		"tap", ARG_STR, false, "its name"                                                  \
	}

const struct command holder_commands[] = {
	{"query-commands", "These commands.", NULL, CMD_QUICK, look_commands},
	{"net-tap",
		"Makes a tap, with its names and guards; answers with an open file for each queue.",
		ARGS(TAP, {"guest", ARG_STR, false, "whose it is"},
			{"nic", ARG_INT, false, "which of its interfaces, from 0"},
			{"mac", ARG_STR, false, "the one MAC that may be used"},
			{"address", ARG_STR, true, "its IPv4 address"},
			{"address6", ARG_STR, true, "its IPv6 address"},
			{"queues", ARG_INT, true, "1 unless told"},
			{"mtu", ARG_INT, true, "the network's unless told"},
			{"isolated", ARG_BOOL, true, "reaches the gateway, and no other guest"},
			{"strict6", ARG_BOOL, true, "no IPv6 address but its own"}),
		CMD_CHANGING, tap},
	{"net-untap", "Removes a tap, whoever holds it.", ARGS(TAP), CMD_CHANGING, untap},
	{"net-publish",
		"Leads a port of the host, whose bound or listening socket comes with it, to a port of a guest.",
		ARGS(TAP, {"host", ARG_STR, false, "address of the host"},
			{"port", ARG_INT, false, "port of the host"},
			{"guest_port", ARG_INT, false, "port of the guest"},
			{"udp", ARG_BOOL, true, "UDP instead of TCP"}),
		CMD_CHANGING, publish},
	{"net-unpublish", "Ends that.",
		ARGS(TAP, {"host", ARG_STR, false, "address of the host"},
			{"port", ARG_INT, false, "port of the host"},
			{"udp", ARG_BOOL, true, "UDP instead of TCP"}),
		CMD_CHANGING, unpublish},
	{"net-host", "Names a guest and leases it its address, whether it runs or not.",
		ARGS({"mac", ARG_STR, false, "its interface's"},
			{"guest", ARG_STR, false, "its name"}, {"address", ARG_STR, true, "IPv4"},
			{"address6", ARG_STR, true, "IPv6"}),
		CMD_CHANGING, host},
	{"net-unhost", "Forgets name and lease of an interface.",
		ARGS({"mac", ARG_STR, false, "the interface's"},
			{"address", ARG_STR, true, "its address"}),
		CMD_CHANGING, unhost},
	{"net-dial", "Begins a TCP connection from inside; answers with the socket.",
		ARGS({"address", ARG_STR, false, "of this network"},
			{"port", ARG_INT, false, "to connect to"}),
		CMD_QUICK, dial},
	{"net-status", "What there is of the network.", NULL, CMD_QUICK, status},
	{"net-counters", "What went through a tap, as its guest sees it.", ARGS(TAP), CMD_QUICK,
		counters},
	{"net-check", "What is not as it should be: bridge, taps, guards.", NULL, CMD_QUICK, check},
	{"net-drops", "What the guards have dropped.", NULL, CMD_QUICK, drops},
	{"net-neighbours",
		"Who was seen with which address: by the host, and on a foreign bridge by the guards.",
		NULL, CMD_QUICK, look_neighbours},
	{"net-quit", "Ends the network.", NULL, CMD_CHANGING, quit},
	{0},
};
