/* A tap of a network that outlived its holder: the way back into its namespace. */
#ifndef ORCHESTRATOR_NETWORK_TAP_H
#define ORCHESTRATOR_NETWORK_TAP_H

#include "base/err.h"

/*
 * An open file of one of the taps in $RUN/n/ID/ports, taken out of who holds it: the guest's QEMU, or
 * who has asked for it. Close-on-exec. -1, ERR_NOT_FOUND: none lives.
 */
int network_find_tap(const char *id, struct err *err);

#endif
