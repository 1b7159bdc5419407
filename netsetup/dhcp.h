/*
 * DHCP, DNS and router advertisements of a network: dnsmasq as a child, in the namespace that this process is in.
 *
 * It answers nobody but whom it was told of: an address is known before the guest first boots, and never leased
 * by chance. Guests are files in two folders that dnsmasq watches, so one more costs a fraction of a millisecond,
 * whatever their number. In `folder`:
 *
 *	dnsmasq.conf	made at each start
 *	dhcp/MAC	"52:54:00:12:34:56,192.168.122.10,infinite"	--dhcp-hostsdir
 *	dns/MAC		"192.168.122.10 web.default.internal web"	--hostsdir, and the same for IPv6
 *	leases		dnsmasq's own: EXPIRY MAC ADDRESS NAME CLIENT-ID
 *	log		what it says, never more than a few hundred KiB
 *
 * dnsmasq dies with this process. When it dies alone, dhcp_look() starts it anew.
 */
#ifndef NETSETUP_DHCP_H
#define NETSETUP_DHCP_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "netsetup/address.h"

struct dhcp_network {
	const char *folder; /* absolute, there */
	const char *bridge;
	const char *domain;            /* "default.internal" */
	const struct prefix *address;  /* the gateway's */
	const struct prefix *address6; /* NULL: no IPv6 */
	unsigned mtu;                  /* told to guests unless it is 1500 */
	bool dns;                      /* else guests are told `servers` themselves */
	bool routes, routes6;          /* the gateway leads somewhere, by IPv4 and by IPv6 */
	/* where DNS questions go that are not of this domain: to those of a resolv.conf(5) unless it is NULL, else the servers */
	const char *resolv_file;
	char servers[4][46];
	size_t server_count;
	uid_t uid; /* what dnsmasq runs as; 0: as this process */
};

struct dhcp;

/* dnsmasq, or what ROOST_DNSMASQ names. */
const char *dnsmasq_path(void);
/* Its folders, without guests: what was there goes. The network's strings must stay. */
struct dhcp *dhcp_open(const struct dhcp_network *network, struct err *err);
/* Returns when it serves. What it complains of is the error. */
int dhcp_start(struct dhcp *d, struct err *err);
/* Ends dnsmasq and waits for that. */
void dhcp_close(struct dhcp *d);
/* 0: it is just not there. */
pid_t dhcp_pid(const struct dhcp *d);

/* For the owner's poll(): at most 2 entries. */
size_t dhcp_poll_fds(const struct dhcp *d, struct pollfd *fds);
/* Takes what it says, sees that it ended, starts it anew. Never waits. */
void dhcp_look(struct dhcp *d);
/* When dhcp_look() is due though nothing stirs; DEADLINE_NONE as a rule. */
int64_t dhcp_deadline(const struct dhcp *d);

struct dhcp_host {
	struct mac mac;
	const char *name;              /* the guest's; lower-cased for DNS */
	const struct prefix *address;  /* NULL: none */
	const struct prefix *address6; /* NULL: none */
};
/* Answered from now on; what was told of that MAC before no longer. */
int dhcp_add_host(struct dhcp *d, const struct dhcp_host *host, struct err *err);
/* One that is not there is success. */
int dhcp_remove_host(struct dhcp *d, const struct mac *mac, struct err *err);

#endif
