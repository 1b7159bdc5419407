/*
 * Networks: what one is, and its record, $STATE/networks/NAME.json.
 *
 * A record is made and replaced whole by roostd's workers (under root: root's; members of the group may read it). The
 * network `default` is there without one: its subnet is chosen when it is looked at, and recorded when
 * it is first used, that is before a route of its own leads there. So is `bridge-BR`, for a guest's
 * interface that says `bridge: BR`: it never gets a record.
 *
 * What runs of a network is its holder (network_up.h); $RUN/n/ID/ is the holder's.
 */
#ifndef ORCHESTRATOR_NETWORK_H
#define ORCHESTRATOR_NETWORK_H

#include "base/json.h"
#include "orchestrator/definition_node.h"

#define NETWORK_RECORD_VERSION 1
#define NETWORK_DEFAULT        "default"
#define NETWORK_OF_BRIDGE      "bridge-"

enum network_mode {
	NETWORK_NAT,      /* guests reach what the host reaches, under the host's address */
	NETWORK_ROUTED,   /* the same under their own: others must know the way back */
	NETWORK_ISOLATED, /* guests reach each other and the gateway, nothing else */
	NETWORK_BRIDGE,   /* they are on a bridge that the host has; nothing of it is ours */
	NETWORK_MODE_MAX
};
const char *network_mode_name(enum network_mode mode);

enum { NETWORK_DNS_SERVERS_MAX = 4 };

struct network {
	char name[64];
	char id[9]; /* a hash of the name, lower-cased */
	char uuid[37];
	enum network_mode mode;
	char address[20];  /* the gateway's: "192.168.122.1/24"; "" in mode bridge */
	char address6[48]; /* "fd12:3456:789a::1/64"; "": no IPv6 but link-local */
	char bridge[16];   /* mode bridge: the host's */
	char domain[80];   /* "default.internal"; "" in mode bridge */
	unsigned mtu;      /* 0: 1500, in mode bridge: the bridge's */
	bool dns;          /* dnsmasq answers names */
	bool autostart;
	/* asked for what is not ours, instead of those that the host asks */
	char dns_servers[NETWORK_DNS_SERVERS_MAX][46];
	size_t dns_server_count;
	bool implicit; /* there is no record (yet) */
};

/* ERR_NOT_FOUND with a hint; ERR_REFUSED for a record that cannot be believed. */
int network_load(const char *name, struct network *out, struct err *err);
/* The same of one that has a record; 1 if there is none. */
int network_load_recorded(const char *name, struct network *out, struct err *err);
/* That of `bridge: BRIDGE`. Whether the host has such a bridge is not looked at. */
int network_of_bridge(const char *bridge, struct network *out, struct err *err);
/* NAME or UUID of one, as people write it. */
int network_find(const char *word, struct network *out, struct err *err);
/* The names of all that have a record, and `default`: sorted, as dir_names() gives them. */
int network_names(char ***names, size_t *count, struct err *err);

/* Held while records are compared and changed; its closing releases it. Not around network_settle(), which takes it. */
int networks_lock(struct err *err);
/* Writes the record. */
int network_save(const struct network *n, struct err *err);
/* Removes it; what it has issued is left, and means nothing without. */
int network_remove(const struct network *n, struct err *err);
/*
 * Records `default` before its first use; nothing to do for others. If somebody else has recorded it meanwhile,
 * *n becomes that.
 */
int network_settle(struct network *n, struct err *err);

/* As the record holds it, without "roost". */
json_t *network_to_json(const struct network *n);
/* As people write it: what is not as it would be anyway. */
json_t *network_dump(const struct network *n);
/*
 * Checked. What may be left out is filled in, but for the address, which then is "" (network_choose()), and
 * the UUID. `default` with implicit false.
 */
int network_from_json(const json_t *json, struct network *out, struct err *err);
int network_from_node(const struct node *root, struct network *out, struct err *err);

/*
 * Gives it a subnet that neither a route of the host's nor another network has: of 192.168.122.0/24 and those that
 * follow the first such. network_subnet.c
 */
int network_choose(struct network *n, struct err *err);
/* Does the host reach its subnet by another interface, or has another network a part of it? ERR_REFUSED says which. */
int network_check_subnet(const struct network *n, struct err *err);

/* "$RUN/n/ID/FILE", or with NULL the folder; freed by the caller. */
char *network_run_path(const struct network *n, const char *file, struct err *err);
/* Is there a holder? Is its lock taken, that is. */
bool network_active(const struct network *n);

#endif
