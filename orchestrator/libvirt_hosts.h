/* The <host>s of a network's XML, which roost keeps addresses for (net-update). */
#ifndef ORCHESTRATOR_LIBVIRT_HOSTS_H
#define ORCHESTRATOR_LIBVIRT_HOSTS_H

#include "orchestrator/network.h"

/* Of {"mac", "name", "address"} each; an array of sentences about those that are not taken. */
json_t *libvirt_take_hosts(const struct network *n, const json_t *hosts);

#endif
