/*
 * What the files uplink*.c share.
 */
#ifndef NETSETUP_UPLINK_PARTS_H
#define NETSETUP_UPLINK_PARTS_H

#include <net/if.h>
#include <stdint.h>

#include "base/fs.h"
#include "netsetup/host_firewall.h"
#include "netsetup/slirp.h"
#include "netsetup/uplink.h"

enum { UPLINK_NOTES_MAX = 6 };

/* What the host's routes say of a network. */
struct ways {
	int own; /* the host's end of the veth pair, whose routes are ours */
	const struct prefix *guests, *guests6;
	struct prefix taken; /* a route to guests' addresses; family 0: none */
	int taken_link;
	bool leads, leads6;      /* there is a default route */
	struct prefix somewhere; /* else a network that is reached by one; family 0: none */
	char advertised_by
		[IF_NAMESIZE]; /* where the kernel takes the IPv6 default route from advertisements; "": nowhere */
};

struct uplink {
	char network[64], id[9], bridge[IF_NAMESIZE], host[IF_NAMESIZE];
	enum uplink_mode mode;
	struct prefix address, address6; /* family 0: none */
	unsigned mtu;
	bool veth, again;
	struct uplink_inside inside;
	char slirp_net[20];
	pid_t inner;
	struct ways ways;
	struct prefix ends[2],
		ends6[2]; /* the veth pair's addresses: the host's and the inner one */
	struct host_firewall *firewall;
	struct slirp *slirp;
	bool works, proven;
	struct err problem; /* of kind ERR_NONE: none */
	char *notes[UPLINK_NOTES_MAX];
	size_t note_count;
	bool changed; /* somebody has changed the firewall: it is to be looked at */
	int64_t look_at, calm_until;
};

/* Something that people should know; the same words only once. */
void uplink_note(struct uplink *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- uplink_plan.c: looks at the host, changes nothing ---- */

/* Reads u->ways anew. */
int uplink_see_ways(struct uplink *u, struct err *err);
/* Fills in u->inside and what goes with it. */
int uplink_plan(struct uplink *u, struct err *err);
/* The network that an address lies in; of family 0 if it is. */
struct prefix net_of(struct prefix p);
extern const char setting_forward4[], setting_forward6[];

/* ---- uplink_veth.c: root's ---- */

int uplink_veth_up(struct uplink *u, struct err *err);
int uplink_bridged_up(struct uplink *u, struct err *err);
void uplink_veth_down(struct uplink *u);
/* Puts right what others have changed. */
int uplink_veth_check(struct uplink *u, struct err *err);

#endif
