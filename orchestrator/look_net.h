/*
 * What is known of a guest's interfaces. Of user networking roost knows the forwards; addresses and
 * counters only the guest itself knows: QEMU counts nothing there, and no host interface is behind it.
 */
#ifndef ORCHESTRATOR_LOOK_NET_H
#define ORCHESTRATOR_LOOK_NET_H

#include "orchestrator/look.h"

/*
 * [{"interface":"nic0", "type":"user", "mac":"52:54:00:...", "forwards":[{"protocol":"tcp",
 * "address":"127.0.0.1", "port":N, "guest_port":22}]}, ...]: the definition's, then what was plugged.
 */
json_t *look_nics(const struct look *l, struct err *err);
/* The one whose name or MAC is `word`; borrowed. */
json_t *look_nic(const struct look *l, const json_t *nics, const char *word, struct err *err);

enum { AGENT_LOOK_MS = 5000 }; /* virsh gives an agent as long */
/* The guest's own interfaces, as agent_interfaces() tells them. */
int look_guest_interfaces(struct look *l, int64_t timeout_ms, json_t **out, struct err *err);

/* The counters of an interface of ours in what the guest told, by virsh's names; borrowed. */
const json_t *look_nic_counters(const json_t *guests, const json_t *nic, struct err *err);
extern const char *const nic_counters[]; /* those names, "rx_bytes" first; NULL-terminated */

#endif
