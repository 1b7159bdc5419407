/*
 * Links, addresses, routes and neighbours of one network namespace, over rtnetlink (libmnl).
 *
 * A handle belongs to the namespace that the process was in when it was opened, wherever the process
 * goes later. Each call is one request and its acknowledgement. An error has the kernel's own
 * sentence, where it sends one (NETLINK_EXT_ACK). Formats: linux/rtnetlink.h, if_link.h, neighbour.h.
 */
#ifndef NETSETUP_NETLINK_H
#define NETSETUP_NETLINK_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "netsetup/address.h"

struct netlink;

struct netlink *netlink_open(struct err *err);
void netlink_close(struct netlink *n);
#define _cleanup_netlink_ _cleanup_(netlink_cleanup)
void netlink_cleanup(struct netlink **n);

/* Its index; ERR_NOT_FOUND. */
int link_index(struct netlink *n, const char *name, struct err *err);
/* The same of one that is there and is a bridge: else ERR_NOT_FOUND, ERR_REFUSED. */
int bridge_index(struct netlink *n, const char *name, struct err *err);
/* What went through it, as the kernel counts: received is what came in by it. */
struct link_counters {
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors,
		tx_dropped;
};
int link_count(struct netlink *n, int link, struct link_counters *out, struct err *err);
/* The bridge that it is a port of; 0: none. */
int link_master(struct netlink *n, int link, struct err *err);
int link_up(struct netlink *n, int link, struct err *err);
/* What people see beside its name: at most 255 bytes. */
int link_set_alias(struct netlink *n, int link, const char *alias, struct err *err);
/* 68 to 65535 bytes; of a bridge, whatever its ports have later. */
int link_set_mtu(struct netlink *n, int link, unsigned mtu, struct err *err);
int link_mtu(const char *name, unsigned *mtu, struct err *err);
/* One that is gone already is success. */
int link_remove(struct netlink *n, int link, struct err *err);
/* Two ends of one cable: `name` here, `peer` in the namespace `where` (an fd; -1: here as well). */
int veth_make(struct netlink *n, const char *name, const char *peer, int where, struct err *err);

/*
 * A bridge without spanning tree or delay, up. Its MAC is fixed, for a bridge without one takes the
 * lowest of its ports' and changes it as they come and go. Returns its index.
 */
int bridge_make(struct netlink *n, const char *name, const struct mac *mac, struct err *err);
struct port_flags {
	bool isolated; /* exchanges nothing with other such ports */
};
/* Makes `link` one of the bridge's ports, up. A bridge takes 1023 (kernel: BR_MAX_PORTS). */
int port_join(struct netlink *n, int link, int bridge, struct port_flags flags, struct err *err);

/* It is there already: success. No duplicate address detection: who it belongs to is known. */
int address_add(struct netlink *n, int link, const struct prefix *p, struct err *err);
/* NULL as `to`: the default route of the gateway's family. */
int route_add(
	struct netlink *n, const struct prefix *to, const struct prefix *gateway, struct err *err);

/* Where packets go: for each route to one receiver, of all tables, until `fn` returns false. */
struct route {
	struct prefix to; /* 0 bits: the default route */
	int link;         /* 0: several */
	bool local;       /* to an address of this host's own */
	bool advertised;  /* by a router (RFC 4861) */
};
typedef bool route_fn(const struct route *found, void *context);
int routes(struct netlink *n, route_fn *fn, void *context, struct err *err);

/* Who has which address, as ARP and neighbour discovery have found: for each, until `fn` returns false. */
struct neighbour {
	int link;
	struct prefix address; /* all its bits */
	struct mac mac;
	bool reachable; /* proven lately; else it was so once */
};
typedef bool neighbour_fn(const struct neighbour *found, void *context);
int neighbours(struct netlink *n, neighbour_fn *fn, void *context, struct err *err);

#endif
