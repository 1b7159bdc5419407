/* Networks: which subnet one may have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "netsetup/address.h"
#include "orchestrator/host_routes.h"
#include "orchestrator/network.h"

/* The host's end of a network's uplink leads to that network itself. */
static bool is_own(const struct host_route *r, const struct network *n)
{
	return str_starts(r->interface, "rn-") && str_eq(r->interface + 3, n->id);
}

static const struct host_route *find_route(const struct host_route *routes, size_t count,
	const struct prefix *p, const struct network *n)
{
	for (size_t i = 0; i < count; i++)
		if (!is_own(&routes[i], n) && prefix_overlaps(&routes[i].to, p))
			return &routes[i];
	return NULL;
}

/* The addresses of all other networks that have a record; one that cannot be read has none. */
struct others {
	struct prefix *subnets;
	char **names;
	size_t count;
};

static void others_free(struct others *o)
{
	free(o->subnets);
	names_free(&o->names);
}

static int find_others(const struct network *n, struct others *out, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	size_t total;
	if (network_names(&names, &total, err) < 0)
		return -1;
	out->subnets = xcalloc(total + 1, sizeof(*out->subnets));
	out->names = xcalloc(total + 1, sizeof(*out->names));
	for (char **name = names; *name; name++) {
		struct err ignored = ERR_INIT;
		struct network other;
		/* `default` without a record would ask here again; whoever makes another one records it first */
		if (str_eq(*name, n->name) || network_load_recorded(*name, &other, &ignored) != 0 ||
			prefix_parse(other.address, &out->subnets[out->count], &ignored) < 0)
			continue;
		out->names[out->count++] = xstrdup(*name);
	}
	return 0;
}

static const char *find_other(const struct others *o, const struct prefix *p)
{
	for (size_t i = 0; i < o->count; i++)
		if (prefix_overlaps(&o->subnets[i], p))
			return o->names[i];
	return NULL;
}

/*
 * The n-th of those that are looked at, false behind the last: of 192.168.0.0/16 first 122, which libvirt's users know,
 * then those that follow; of 172.16.0.0/12 the upper half, for Docker begins with the lower one; of 10.0.0.0/8 what
 * is not near its beginning, where most people are.
 */
static bool candidate(unsigned n, struct prefix *out)
{
	*out = (struct prefix){.family = AF_INET, .bits = 24, .address = {192, 168, 0, 1}};
	if (n < 256) {
		out->address[2] = (uint8_t)(122 + n);
		return true;
	}
	n -= 256;
	out->address[0] = n < 2048 ? 172 : 10;
	out->address[1] = (uint8_t)(n < 2048 ? 24 + n / 256 : 128 + (n - 2048) / 256);
	out->address[2] = (uint8_t)n;
	return n < 2048 + 128 * 256;
}

int network_choose(struct network *n, struct err *err)
{
	_cleanup_free_ struct host_route *routes = NULL;
	_cleanup_(others_free) struct others others = {0};
	size_t count;
	struct prefix p;
	char text[ADDRESS_TEXT + 4];
	if (host_routes(AF_INET, &routes, &count, err) < 0 || find_others(n, &others, err) < 0)
		return -1;
	for (unsigned i = 0; candidate(i, &p); i++) {
		if (find_route(routes, count, &p, n) || find_other(&others, &p))
			continue;
		snprintf(n->address, sizeof(n->address), "%s", prefix_text(&p, text));
		return 0;
	}
	err_set(err, ERR_REFUSED, "network '%s': the host's routes leave no private subnet free",
		n->name);
	return err_hint(
		err, "define it with an address of your own choice: `address: 10.1.2.1/24`");
}

int network_check_subnet(const struct network *n, struct err *err)
{
	_cleanup_free_ struct host_route *routes = NULL;
	_cleanup_(others_free) struct others others = {0};
	size_t count;
	struct prefix p;
	char to[ADDRESS_TEXT + 4];
	if (n->mode == NETWORK_BRIDGE)
		return 0;
	if (prefix_parse(n->address, &p, err) < 0 ||
		host_routes(AF_INET, &routes, &count, err) < 0 || find_others(n, &others, err) < 0)
		return -1;
	const char *other = find_other(&others, &p);
	if (other)
		return err_set(err, ERR_REFUSED,
			"network '%s': the network '%s' has a part of %s already", n->name, other,
			n->address);
	const struct host_route *r = find_route(routes, count, &p, n);
	if (!r)
		return 0;
	err_set(err, ERR_REFUSED, "network '%s': the host reaches %s by %s, so %s is not free",
		n->name, prefix_text(&r->to, to), r->interface[0] ? r->interface : "another route",
		n->address);
	return err_hint(
		err, "give it another `address`, or leave that out: `roost net-edit %s`", n->name);
}
