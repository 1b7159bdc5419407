/* What the dnsmasq of an active network has leased: $RUN/n/ID/leases. */
#ifndef ORCHESTRATOR_NETWORK_LEASES_H
#define ORCHESTRATOR_NETWORK_LEASES_H

#include "orchestrator/network.h"

/*
 * [{"expires": seconds since 1970 or 0, "mac":, "protocol": "ipv4", "address":, "prefix":, "hostname":, "client_id":}], the
 * last two where they are known; `mac`: only that one's, NULL: all.
 */
json_t *network_leases(const struct network *n, const char *mac, struct err *err);

#endif
