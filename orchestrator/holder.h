/*
 * A network's holder: the inner process of roost-net, in the network's namespace. It serves QMP on net.sock
 * (holder_commands.c) and keeps what it has made right: guards, names and ports go with a guest's tap, dnsmasq is
 * started anew when it dies.
 *
 * What guests need of it to talk is the kernel's: bridge, guards and taps live on as long as a guest has its tap, whatever
 * becomes of the holder. The next one finds in `ports` what they were told, and puts it back.
 *
 * Nothing here waits once it serves. What it still may then: netsetup/confine.h.
 */
#ifndef ORCHESTRATOR_HOLDER_H
#define ORCHESTRATOR_HOLDER_H

#include "base/json.h"
#include "base/proc.h"
#include "netsetup/dhcp.h"
#include "netsetup/guard.h"
#include "netsetup/link_watch.h"
#include "netsetup/netlink.h"
#include "netsetup/nft_watch.h"
#include "netsetup/uplink.h"
#include "orchestrator/network.h"
#include "qmp/command.h"
#include "qmp/server.h"

#define HOLDER_BRIDGE "br0" /* in the network's namespace; in mode bridge it is the host's */

/* A guest's tap. */
struct port {
	struct port *next;
	char tap[16];
	int link;     /* its index */
	json_t *told; /* as net-tap said it, with "pid" and "start" of who has asked */
	struct mac mac;
	bool has4, has6;
	struct prefix address4, address6;
	bool strict6;
};

struct holder {
	const struct network *network;
	const struct uplink_inside *way; /* to the world */
	bool own;  /* the namespace is the network's own; not in mode bridge */
	bool user; /* in a user namespace: not the host's root */
	const char *bridge_name;
	int run, ports_dir; /* $RUN/n/ID and `ports` in it */
	struct netlink *links;
	struct link_watch *watch;
	struct guard *guard;
	struct nft_watch *rules; /* somebody else has changed some: ours, perhaps */
	bool rules_changed;      /* to be looked at, not before */
	int64_t rules_calm;
	int bridge; /* its index */
	struct prefix net4, net6;
	bool has6;
	struct dhcp *dhcp; /* NULL in mode bridge */
	struct server *server;
	struct port *ports;
	struct published *published;
	int proxies;      /* an epoll of theirs: one has ended */
	int alive[2];     /* a pipe: what they read of it is our end */
	int lock;         /* of a folder that was made anew; -1: it is outer's */
	int64_t home_due; /* when to look whether the folder is there */
	pid_t parent;     /* outer's pid */
	int outer;        /* the other half of roost-net */
	json_t *uplink;   /* what that has told of it */
	bool quit;        /* ended in order: nothing stays */
};

/*
 * The inner process, to its end. `outer` is the link to the process `parent`, `tap` one of a former holder's, taken, or -1.
 * The exit status. holder.c
 */
int holder_run(const struct network *n, const struct uplink_inside *way, int run, int outer,
	pid_t parent, int tap);

/* net.sock, also once more where it has vanished. */
int holder_listen(struct holder *h, struct err *err);
/*
 * Into the lock itself, which so stays the same file, and by one write, so that it is never half there: who holds
 * it, and whether it has come up, for roostd, which watches both. holder_home.c
 */
int holder_write(int lock, const struct network *n, const struct proc *inner, pid_t outer, bool up,
	struct err *err);
void home_look(struct holder *h);

/* What `outer` and the holder say to each other: one JSON object a line. Blocks for at most `ms`. roost-net.c */
int outer_say(int outer, json_t *stolen);
json_t *outer_hear(int outer, int64_t ms, struct err *err);

/* The network's guards, anew. */
int holder_guard(struct holder *h, struct err *err);
/*
 * What is not as it should be: [{"kind", "name", "why"}], as guard_check() tells it, and of kinds "bridge", "tap", "uplink", "names" and "leases".
 * holder_check.c
 */
json_t *holder_check(struct holder *h, struct err *err);
/* Puts guards back that somebody else has changed. */
void rules_look(struct holder *h);
int64_t rules_deadline(const struct holder *h);

/* Ports: holder_ports.c */
struct port *port_find(const struct holder *h, const char *tap);
/* Makes the tap, as net-tap says. fds[0..*count-1] become the caller's. */
int port_add(struct holder *h, const json_t *args, const struct sock_peer *peer, int *fds,
	size_t *count, struct err *err);
/* Its file in `ports`, as p->told says now. */
int port_write(const struct holder *h, const struct port *p, struct err *err);
/* It is the holder's no longer: guards and file go. The tap itself is whose who holds it. */
void port_drop(struct holder *h, struct port *p);
int ports_open(struct holder *h, struct err *err);
/* Those of a former holder whose taps still live. */
int ports_find(struct holder *h, struct err *err);
/* The network's guards with those of all ports, at one stroke. */
int ports_guard(struct holder *h, const struct guard_network *network, struct err *err);
json_t *ports_check_guards(struct holder *h, struct err *err);
/* Those that are not on the bridge: it is a new one. */
int ports_join(struct holder *h, struct err *err);
/* Takes up what has happened to taps. */
void ports_look(struct holder *h);

/* Names and leases of guests, running or not: {"mac","guest","address","address6"}. holder_names.c */
int names_add(struct holder *h, const json_t *args, struct err *err);
/* Not yet to be told: its guest runs on this network with other interfaces than this, by which it is known until it ends. */
bool names_wait(const struct holder *h, const json_t *issued);
/* dnsmasq, with all that was issued. */
int names_start(struct holder *h, struct err *err);

/*
 * Published ports of `port`: {"host","port","guest_port","udp"}, and the socket of the host's, which is taken.
 * holder_publish.c
 */
int publish_add(struct holder *h, struct port *port, const json_t *args, int *fd, struct err *err);
int publish_remove(struct holder *h, struct port *port, const json_t *args, struct err *err);
/* All those of a tap that has gone. */
void publish_drop(struct holder *h, const char *tap);
int publish_open(struct holder *h, struct err *err);
/* In order, so that nothing goes on alone. */
void publish_close(struct holder *h);
/* Starts anew what has died. */
void publish_look(struct holder *h);
int64_t publish_deadline(const struct holder *h);

extern const struct command holder_commands[];

#endif
