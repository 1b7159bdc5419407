/* Plugging an interface into a running guest, from the command line. */
#ifndef ORCHESTRATOR_PLUG_NIC_H
#define ORCHESTRATOR_PLUG_NIC_H

#include "orchestrator/connect.h"

/*
 * `nic` is as in guest.json, without a MAC if none is wished for. One on a network gets its address of roostd and its tap
 * of the network's holder, and the keeper gets the open files: it has no way to either. *reply: {"mac", "forwards"}.
 */
int plug_nic(const struct found *f, const json_t *nic, json_t **reply, struct err *err);
/*
 * One of look_nics() (look_net.h), which then has its address no longer. `args` (stolen) may hold "timeout-ms", how
 * long the guest may take.
 */
int unplug_nic(
	const struct found *f, const json_t *nic, json_t *args, json_t **reply, struct err *err);

#endif
