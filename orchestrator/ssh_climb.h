/*
 * The readiness ladder from TCP on (DESIGN.md 8). The line format is described in roost-ssh.c.
 */
#ifndef ORCHESTRATOR_SSH_CLIMB_H
#define ORCHESTRATOR_SSH_CLIMB_H

#include "orchestrator/ssh_params.h"

/* Climbs, reports on standard output, returns the exit status. */
int climb(const struct remote *r, const struct climb_params *p);

#endif
