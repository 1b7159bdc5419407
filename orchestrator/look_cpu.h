/* What the vCPUs of a guest do. */
#ifndef ORCHESTRATOR_LOOK_CPU_H
#define ORCHESTRATOR_LOOK_CPU_H

#include "orchestrator/look.h"

/*
 * Of a running guest: [{"vcpu":0, "cpu":1, "state":"running", "time":NS, "thread":TID,
 * "affinity":[0,1]}, ...], by their numbers. `cpu` is the host's where it ran last.
 */
int look_vcpus(struct look *l, json_t **out, struct err *err);

#endif
