/*
 * The older iptables, whose tables nftables does not show: its filter of what passes through the host, by its own program.
 * Where nobody has used it, it is not started: that alone would make its tables.
 */
#ifndef NETSETUP_LEGACY_FIREWALL_H
#define NETSETUP_LEGACY_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>

#include "netsetup/host_firewall.h"

/* Are its filters in use in this network namespace? It tells nobody when they change. */
bool legacy_is_used(void);
/* Appends those that drop to `out`, of which `count` are taken; returns how many are then. */
int legacy_filters(struct host_filter out[HOST_FILTERS_MAX], int count);

/* What shall pass: from an interface, to one, or both; NULL: any. */
struct passage {
	const char *from, *to;
};
/* Puts them into the opening of a "legacy" or "legacy6" filter, with this comment (no blanks). */
int legacy_open(const struct host_filter *filter, const struct passage *passages, size_t count,
	const char *comment, struct err *err);
/* How many rules in the opening have this comment? */
size_t legacy_count(const struct host_filter *filter, const char *comment);
/* Removes all rules with it from all openings. */
int legacy_remove(const char *comment, struct err *err);

/* Adds the IDs that rules' comments tell. */
void legacy_marks(json_t *marks);

/* A rule of ours has this comment, and behind it the network's ID. */
#define FILTER_MARK "roost-"
/* Adds the ID, if there is one in the comment and it is not there yet. What follows it is passed over. */
void filter_mark_add(json_t *marks, const char *comment);
/* The same of an ID. */
void filter_id_add(json_t *marks, const char *id);

/* The chains of a filter's table that take rules of others, by who has made them. */
struct filter_opening {
	const char *jump;    /* what the filter jumps to, if it is in use */
	const char *opening; /* where the rules go */
	const char *owner;
	bool last; /* behind the rules that are there, else before them */
};
extern const struct filter_opening filter_openings[];
extern const size_t filter_opening_count;
bool filter_opening_is_last(const char *opening);

#endif
