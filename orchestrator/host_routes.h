/* Where the host's routes lead: a network of ours must not take an address range from them. */
#ifndef ORCHESTRATOR_HOST_ROUTES_H
#define ORCHESTRATOR_HOST_ROUTES_H

#include <net/if.h>

#include "netsetup/address.h"

struct host_route {
	struct prefix to;
	char interface[IF_NAMESIZE]; /* "" where there is none, or more than one */
};

/*
 * All of one family, in all of the namespace's routing tables, and its own addresses; not the default route,
 * nor the two halves that some write instead of it. Freed by the caller.
 */
int host_routes(int family, struct host_route **out, size_t *count, struct err *err);

#endif
