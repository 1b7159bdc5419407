/*
 * The guards of a network: two nftables tables in its namespace, through libnftables (text in, JSON out).
 *
 * `bridge roost` looks at each frame that comes from a guest, before the bridge does, and lets pass only
 * what that guest may say: from its own MAC; ARP for its own IPv4 address (and probes, RFC 5227); IPv4 from
 * that address, and a DHCP client's requests; IPv6 from the network's prefix or a link-local address (an address
 * of its own choice: RFC 7217, RFC 8981), or with `strict6` from the issued one alone. What servers and routers
 * say (DHCP, router advertisement, redirect) and all that is none of these (VLAN tags, spanning tree)
 * is dropped. Every drop is counted by guest and reason, for as long as the guest has its tap. (What goes to the group addresses that no bridge hands on,
 * LLDP for one, ends in the bridge and is not seen here: IEEE 802.1D, table 7-10.)
 *
 * `inet roost` looks at what leaves the bridge: to the uplink and back; to the namespace itself
 * only what dnsmasq and ping want. What a guest sends to the gateway for another guest is dropped: neighbours
 * reach each other through the bridge, and who is isolated shall not come around by the router.
 *
 * Who is isolated exchanges no frame with another guest, whether that is isolated or not.
 *
 * The rules are constant; a guest is an element of each of a few hash sets, so that it costs the same with one
 * guest and with a thousand. It may be added before its tap exists: no moment is unguarded.
 */
#ifndef NETSETUP_GUARD_H
#define NETSETUP_GUARD_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "netsetup/address.h"

struct guard;

/*
 * Of the namespace that this process is in, now and at each later call. `table` names both: GUARD_TABLE in a namespace
 * of the network's own, one of its own where other networks are, too.
 */
#define GUARD_TABLE "roost"
enum { GUARD_TABLE_MAX = 32 };
struct guard *guard_open(const char *table, struct err *err);
void guard_close(struct guard *g);
#define _cleanup_guard_ _cleanup_(guard_cleanup)
void guard_cleanup(struct guard **g);

struct guard_network {
	/*
	 * A bridge that is somebody else's, in the host's namespace: there is no `inet` table then, nor anything
	 * of the following. Its guests' addresses are not issued by us: any is let pass, and learned.
	 */
	bool foreign;
	const char *bridge;
	struct mac gateway;           /* the bridge's */
	const struct prefix *prefix6; /* NULL: no IPv6 but link-local */
	const char *uplink;           /* an interface; NULL: none */
	bool masquerade;              /* what leaves by the uplink gets its address */
	/* who may begin connections to guests by the uplink; NULL: nobody */
	const struct prefix *from, *from6;
	/*
	 * Who of them calls under the gateway's address, so that the answer comes back by this network, whatever other networks the
	 * guest is on, and whether it has a default route or not; NULL: nobody.
	 */
	const struct prefix *host, *host6;
};

struct guard_port {
	const char *tap;
	struct mac mac;
	const struct prefix *address4; /* NULL: none, so no IPv4 */
	const struct prefix *address6; /* wanted with `strict6` alone */
	bool strict6;
	bool isolated; /* exchanges nothing with other guests */
	bool also; /* not a port, but what one may say besides: from these addresses, another interface's of the same guest */
};
/*
 * Both tables anew with these guests, in one transaction: nobody who is connected already is unguarded meanwhile. What was
 * dropped of them before stays counted.
 */
int guard_install(struct guard *g, const struct guard_network *network,
	const struct guard_port *ports, size_t count, struct err *err);
/* Removes them; that they are not there is success. Where the namespace ends, they go by themselves. */
int guard_uninstall(struct guard *g, struct err *err);
/* In one transaction: wholly or not at all. */
int guard_add(struct guard *g, const struct guard_port *port, struct err *err);
/*
 * Is it all as it was installed and added? [{"kind": "table" or "element", "name":, "why": a sentence}] tells what is not; a
 * guest that is a guest's no longer is one, too. NULL with *err: it cannot be read.
 */
json_t *guard_check(struct guard *g, bool foreign, const struct guard_port *ports, size_t count,
	struct err *err);
/* The same words as were added. */
int guard_remove(struct guard *g, const struct guard_port *port, struct err *err);

/*
 * What was dropped: [{"tap":, "reason":, "packets":, "bytes":}], only what was dropped at all. Reasons: "mac",
 * "arp", "ipv4", "ipv6", "dhcp-server", "router" (advertisements, redirects), "protocol" (all else).
 */
json_t *guard_drops(struct guard *g, struct err *err);
/*
 * On a foreign bridge: which addresses guests have used in the last hours, from their ARP and neighbour discovery:
 * [{"tap":, "mac":, "address":, "left": seconds until it is forgotten}], the one that was used last has most left.
 */
json_t *guard_learned(struct guard *g, struct err *err);

#endif
