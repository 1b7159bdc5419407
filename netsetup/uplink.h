/*
 * The uplink of a network: what leads from its namespace to the world. It is made and kept by roost-net's outer process,
 * in the host's namespace and with the caller's own rights:
 *
 * As root a veth pair, `rn-ID` here and `up0` inside, with a small network of its own between them (of 100.64.0.0/10, the
 * space of RFC 6598 for just that, or of 10.0.0.0/8: one that overlaps none of the host's routes; for IPv6 a unique local
 * one of the ID). The host has a route to the guests through it, so `ssh user@ADDRESS` works from there. What the host
 * does with what passes through it: host_firewall.h. IPv4 forwarding is switched on; that of IPv6 only where the host
 * does not live by router advertisements, of which Linux would take none any more.
 *
 * As another user slirp4netns, whose tap is `up0`: without access to the host's own loopback. It is started anew when it dies.
 *
 * Calling sequence: uplink_open() before the inner process is made, which so knows what is in uplink_inside();
 * uplink_up() once its namespace is there; then poll uplink_poll_fds() and call uplink_look(), also when uplink_deadline()
 * passes; uplink_down(). Inside, forwarding must be switched on, duplicate address detection off for new interfaces, and
 * guards be installed with the uplink "up0"; the interface may come, go and come again.
 *
 * Nothing outlives who holds it but, after kill -9, rules in chains of others: the next uplink_up() of the same ID removes
 * them, and uplink_sweep().
 */
#ifndef NETSETUP_UPLINK_H
#define NETSETUP_UPLINK_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"
#include "netsetup/address.h"

enum uplink_mode {
	UPLINK_NONE, /* isolated: nothing is made */
	UPLINK_NAT, /* what leaves has the host's address; none but the host begins connections to guests */
	UPLINK_ROUTED,  /* as it is: others must have a route to the guests by this host (root) */
	UPLINK_BRIDGED, /* a bridge of the host's own: only its firewall is looked after (root) */
};

struct uplink_plan {
	const char *network; /* its name, for what is said */
	const char *id;      /* 8 hex digits */
	enum uplink_mode mode;
	const struct prefix *address, *address6; /* the gateway's; NULL: none */
	const char *bridge;                      /* UPLINK_BRIDGED: its name */
	unsigned mtu;                            /* 0: 1500 */
	bool again; /* guests are in it already: what the firewall drops is a problem of theirs, no error */
};

/* What the inner process has to know. */
struct uplink_inside {
	const char *interface; /* "up0"; NULL: none, now and later */
	bool masquerade;       /* the guards must: up0's address is all that the other side knows */
	/* who may begin connections to guests by the uplink; of family 0: nobody */
	struct prefix from, from6;
	/* who calls guests under the gateway's address: the host; of family 0: nobody */
	struct prefix host, host6;
	bool leads6; /* IPv6 goes further than the host */
	/* where names are asked: those of the file, which may change, or, if there is none, the servers */
	char resolv_file[64];
	char servers[4][46];
	size_t server_count;
};

struct uplink;

/* Copies the plan. ERR_REFUSED: the host has a route to what are the guests' addresses. */
struct uplink *uplink_open(const struct uplink_plan *plan, struct err *err);
const struct uplink_inside *uplink_inside(const struct uplink *u);
/*
 * Makes it, for the network namespace of process `inner`, after removing what a former one of this ID left. Blocks: as
 * root some ms, slirp4netns takes some 100. ERR_REFUSED: the host's firewall drops what comes from guests; the message
 * says in which chain, the hint what to do.
 * A missing slirp4netns is no error: uplink_status() says so.
 */
int uplink_up(struct uplink *u, pid_t inner, struct err *err);
/* Removes all that it made, and frees it; NULL is allowed. Forwarding stays switched on. */
void uplink_down(struct uplink *u);

/* For the owner's poll(): at most 2 entries. */
size_t uplink_poll_fds(const struct uplink *u, struct pollfd *fds);
int64_t uplink_deadline(const struct uplink *u);
/* Puts right what others have changed, starts slirp4netns anew. True if uplink_status() changed. */
bool uplink_look(struct uplink *u);

/*
 * {"kind": "veth", "slirp4netns", "bridge" or "none", "interface": "up0", "host": "rn-ID", "pid": slirp4netns', "works": true,
 *  "problem": what keeps it from working and, "hint", what to do; "notes": [what was changed on this host, or is lacking]}
 */
json_t *uplink_status(const struct uplink *u);

/*
 * The filters of the host's that drop what no rule of theirs accepts, for `roost validate`: [{"filter": "the chain ...",
 * "opened": will be, by itself, "remedy": "`...`"}]. As root.
 */
json_t *uplink_filters(const char *interface, struct err *err);

/*
 * What uplinks have on the host, or have left there: [{"id": network's, "alive": it is active, maybe of another instance,
 * "rules": in chains of others, "link": rn-ID is there, so its namespace is}]; and the removal of all that one of an ID has.
 */
json_t *uplink_traces(struct err *err);
int uplink_sweep(const char *id, struct err *err);

#endif
