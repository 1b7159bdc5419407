/*
 * The taps of a guest's interfaces: made by the holder of their network, handed to QEMU as open files.
 *
 * A guest's tap is called "t", its id, and the number of the interface in two digits to the base 36: those that were
 * plugged are numbered from NIC_PLUGGED on. With the last open file of it the tap goes, and with the tap its guards
 * and its published ports.
 */
#ifndef ORCHESTRATOR_NIC_TAP_H
#define ORCHESTRATOR_NIC_TAP_H

#include "orchestrator/definition.h"
#include "orchestrator/network.h"

enum { NIC_PLUGGED = 100, NIC_TAP_MAX = 16 };

/* The open files of one interface. All zero: it has no tap. */
struct nic_tap {
	int queues[QUEUES_MAX];
	size_t count;
	int vhosts[QUEUES_MAX]; /* of /dev/vhost-net: as many, or none */
	size_t vhost_count;
};
void nic_tap_close(struct nic_tap *t);
#define _cleanup_nic_tap_ _cleanup_(nic_tap_close)

/* Whose interface it is. */
struct nic_of {
	const char *guest, *id;
	size_t index;
};
void nic_tap_name(const struct nic_of *of, char out[NIC_TAP_MAX]);
/* Its network. */
int nic_network(const struct nic_def *n, struct network *out, struct err *err);
/*
 * Starts the network unless it is active, makes the tap, leads the published ports to it. What is published, with the ports
 * that they got, is added to `forwards` as ports_choose() does. A port that is taken is ERR_BUSY, before anything is made.
 */
int nic_tap_open(const struct nic_def *n, const struct nic_of *of, json_t *forwards,
	struct nic_tap *out, struct err *err);

#endif
