/* Which guests have an interface on a network. */
#ifndef ORCHESTRATOR_NETWORK_USERS_H
#define ORCHESTRATOR_NETWORK_USERS_H

#include "orchestrator/network.h"

/* Their names, sorted, as their records tell: a JSON array. */
json_t *network_users(const struct network *n, struct err *err);
/* The names of those that have a tap there now, each once; an empty array where there is no holder to ask. */
json_t *network_users_running(const struct network *n);
/* "guest 'a'", "guests 'a' and 'b'", "guests 'a', 'b' and 7 others"; freed by the caller. */
char *network_users_text(const json_t *names);

#endif
