/* Host ports that are forwarded into a guest by user networking. */
#ifndef ORCHESTRATOR_PORTS_H
#define ORCHESTRATOR_PORTS_H

#include "orchestrator/definition.h"

/*
 * Appends forward_told() (publish.h) for each forward of the interface, with a
 * free port where none was asked for. A port that is taken is ERR_BUSY, before QEMU is asked.
 */
int ports_choose(const struct nic_def *n, size_t index, json_t *list, struct err *err);

#endif
