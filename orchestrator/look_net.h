/*
 * What is known of a guest's interfaces. Of those on a network its record tells the addresses, and the kernel counts
 * what goes through the tap. Of user networking roost knows the forwards; addresses and counters only the guest
 * itself knows: QEMU counts nothing there, and no host interface is behind it.
 */
#ifndef ORCHESTRATOR_LOOK_NET_H
#define ORCHESTRATOR_LOOK_NET_H

#include "orchestrator/look.h"
#include "orchestrator/network.h"

/*
 * [{"interface":"nic0", "type":"network", "source":"default", "model":"virtio", "mac":"52:54:00:...", "tap":"t...",
 * "link":"up", "addresses":[{"protocol":"ipv4", "address":..., "prefix":24}], "forwards":[{"protocol":"tcp",
 * "address":"127.0.0.1", "port":N, "guest_port":22}]}, ...]: the definition's, then what was plugged. `source` is null
 * of type "user", `tap` where there is none: of that type, and of a guest that does not run.
 */
json_t *look_nics(const struct look *l, struct err *err);
/* The one whose name or MAC is `word`; borrowed. */
json_t *look_nic(const struct look *l, const json_t *nics, const char *word, struct err *err);

enum { AGENT_LOOK_MS = 5000 }; /* virsh gives an agent as long */
/* The network of an interface of type "network" or "bridge". */
int look_nic_network(const json_t *nic, struct network *out, struct err *err);
/* What went through it, by virsh's names: of the tap, or as the guest's agent counts. Owned by the caller. */
json_t *look_nic_count(struct look *l, const json_t *nic, struct err *err);
/* The guest's own interfaces, as agent_interfaces() tells them. */
int look_guest_interfaces(struct look *l, int64_t timeout_ms, json_t **out, struct err *err);

/* The counters of an interface of ours in what the guest told, by virsh's names; borrowed. */
const json_t *look_nic_counters(const json_t *guests, const json_t *nic, struct err *err);
extern const char *const nic_counters[]; /* those names, "rx_bytes" first; NULL-terminated */

#endif
