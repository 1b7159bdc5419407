/* The keys of a network: what people write, and its record. Used by network.c; man pages print them. */
#ifndef ORCHESTRATOR_NETWORK_KEYS_H
#define ORCHESTRATOR_NETWORK_KEYS_H

#include "orchestrator/definition_keys.h"
#include "orchestrator/network.h"

extern const struct keys network_keys;

/* What is derived from the name alone, and on each host, for each user, another. */
void network_identify(struct network *n);
void network_derive_address6(const struct network *n, char out[48]);
void network_derive_uuid(const struct network *n, char out[37]);

#endif
