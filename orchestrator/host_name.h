/*
 * Guests as hosts of ssh: NAME.roost is the guest NAME.
 */
#ifndef ORCHESTRATOR_HOST_NAME_H
#define ORCHESTRATOR_HOST_NAME_H

#include "orchestrator/connect.h"

#define HOST_SUFFIX ".roost"

/* As guest_find(), and NAME.roost as well. */
int guest_of_host(const char *word, struct found *out, struct err *err);

#endif
