/*
 * The host's own firewall, as far as it concerns what passes through the host: the filters of hook `forward`, of nftables
 * and, where its tables are in use, of the older iptables (iptables-legacy, as a child). Each of them must let a packet pass;
 * what ours accepts, another may yet drop. As root.
 *
 * One that drops what no rule of its own accepts is looked at closer: where its owner has a place for other people's rules
 * (Docker: DOCKER-USER; ufw: ufw-user-forward) two are put there, for what comes from an interface and for what goes to it,
 * with the comment "roost-ID". Elsewhere (firewalld, which puts its tables back as they were, and rules made by
 * hand) it is said what to do.
 */
#ifndef NETSETUP_HOST_FIREWALL_H
#define NETSETUP_HOST_FIREWALL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "netsetup/address.h"

struct host_firewall;

/*
 * For one network. `id`: 8 hex digits. `interface`: the host's, to and from which packets shall pass; with `bridged` a bridge,
 * whose own frames br_netfilter sends through these filters as well: only those that stay on it.
 */
struct host_firewall *host_firewall_open(
	const char *id, const char *interface, bool bridged, struct err *err);
/* The network's own table goes, if it has an owner; rules in chains of others stay. */
void host_firewall_close(struct host_firewall *f);

/* A filter that drops what no rule of it accepts. */
struct host_filter {
	char kind[8]; /* nftables' family: "ip", "ip6", "inet"; "legacy", "legacy6" */
	char table[64], chain[64];
	char opening[64];  /* the chain of it that takes rules of others; "": none */
	const char *owner; /* "Docker", "ufw", "firewalld"; NULL: nobody that we know */
};
enum { HOST_FILTERS_MAX = 16 };
/* Returns how many there are, or -1. */
int host_firewall_filters(
	struct host_firewall *f, struct host_filter out[HOST_FILTERS_MAX], struct err *err);
/* "the chain FORWARD of table 'ip filter' (Docker)"; freed by the caller. */
char *host_filter_text(const struct host_filter *filter);
/* What to do about it: a command. Freed by the caller. */
char *host_filter_remedy(const struct host_filter *filter, const char *interface);

/* Opens all that have an opening, where they are not open yet. Returns how many were opened, or -1. */
int host_firewall_heal(struct host_firewall *f, struct err *err);
/* Takes those rules away, also those of a former holder. */
int host_firewall_unheal(struct host_firewall *f, struct err *err);

/* The IDs of networks that have such rules, each once, as far as chains are there that take them. */
json_t *host_firewall_marks(struct host_firewall *f, struct err *err);

/* Readable when rules of nftables have changed. */
int host_firewall_fd(const struct host_firewall *f);
/* Empties it. True: somebody else than a process of this name has changed them. */
bool host_firewall_changed(struct host_firewall *f);

/*
 * The network's own table on the host, `inet roost_ID`. It belongs to this process (a table with an owner): nobody else
 * changes it, `nft flush ruleset` passes it over, and it goes when this process does. On Linux before 5.12
 * it is an ordinary one.
 */
struct host_table {
	bool nat;                          /* else routed */
	struct prefix guests, guests6;     /* family 0: none */
	struct prefix transfer, transfer6; /* of the veth pair */
};
int host_table_put(struct host_firewall *f, const struct host_table *t, struct err *err);
bool host_table_is_there(struct host_firewall *f);
/* One that is not there is success. */
int host_table_remove(struct host_firewall *f, struct err *err);
/* Does somebody own that of the network `id`? Then it is active, whoever's it is. */
bool host_table_is_owned(struct host_firewall *f, const char *id);

/*
 * The proof that what guests send to the world passes the host's filters: datagrams that `send` sends from a guest's address
 * to `to` are counted behind all filters, at the interface by which they would leave, and dropped there: none leaves.
 * 1: one came so far; 0: none did within `wait_ms`; -1: it cannot be told.
 */
struct host_proof {
	struct prefix to;
	unsigned port;
	int (*send)(void *context, struct err *err);
	void *context;
	int wait_ms;
};
int host_firewall_prove(struct host_firewall *f, const struct host_proof *proof, struct err *err);

#endif
