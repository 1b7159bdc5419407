/* The addresses of a guest's interfaces on networks: issued with the rest of its identity, and given back. */
#ifndef ORCHESTRATOR_NIC_ISSUE_H
#define ORCHESTRATOR_NIC_ISSUE_H

#include "orchestrator/definition.h"

/*
 * After MACs and UUID. Fills `address` and `address6` of all of d's interfaces on networks; those that `old` (NULL: none)
 * has as well stay what they are. On failure nothing is issued. ERR_NOT_FOUND: there is no such network. ERR_REFUSED: an
 * address that was asked for is another's.
 */
int nics_issue(struct definition *d, const struct definition *old, struct err *err);
/* Gives back what `d` has and `kept` (NULL: nobody) has not. */
void nics_release(const struct definition *d, const struct definition *kept);
/* Before the guest's folder is renamed; on failure nothing is. */
int nics_rename(const struct definition *d, const char *to, struct err *err);

#endif
