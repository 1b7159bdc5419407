/* The addresses of a guest's interfaces on networks: issued with the rest of its identity, and given back. */
#ifndef ORCHESTRATOR_NIC_ISSUE_H
#define ORCHESTRATOR_NIC_ISSUE_H

#include "orchestrator/definition.h"

/* By which of its interfaces a guest was announced as a host, and where, before it took that place. */
struct nic_hosts {
	json_t *files[NICS_MAX];
};
void nic_hosts_drop(struct nic_hosts *hosts);
#define _cleanup_nic_hosts_ _cleanup_(nic_hosts_drop)

/*
 * After MACs and UUID. Fills `address` and `address6` of all of d's interfaces on networks; those that `old` (NULL: none)
 * has as well stay what they are. On failure all is as it was; `hosts` is for nics_undo(). ERR_NOT_FOUND: there is no such
 * network. ERR_REFUSED: an address that was asked for is another's.
 */
int nics_issue(struct definition *d, const struct definition *old, struct nic_hosts *hosts,
	struct err *err);
/* What follows has failed: all is as it was before. */
void nics_undo(
	const struct definition *d, const struct definition *old, const struct nic_hosts *hosts);
/* Gives back what `d` has and `kept` (NULL: nobody) has not. */
void nics_release(const struct definition *d, const struct definition *kept);
/* Before the guest's folder is renamed; on failure nothing is. */
int nics_rename(const struct definition *d, const char *to, struct err *err);

#endif
