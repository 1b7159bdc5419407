/* Published ports of guests on a network: the side of who has rights in the host's namespace. */
#ifndef ORCHESTRATOR_NETWORK_PUBLISH_H
#define ORCHESTRATOR_NETWORK_PUBLISH_H

#include "orchestrator/definition.h"
#include "orchestrator/network.h"

/*
 * Leads `port` of the host to the guest behind `tap`, until that goes. `socket` is of publish_bind(), which told
 * `port` too; it stays the caller's, who closes it.
 */
int network_publish(const struct network *n, const char *tap, const struct forward *f, int socket,
	uint16_t port, struct err *err);
/*
 * ERR_REFUSED, with what to do instead, of a network whose addresses are not ours: to which of them a port should lead
 * nobody could say before the guest has one.
 */
int network_publish_check(const struct network *n, struct err *err);
/* f->host_port is the one that it got. ERR_NOT_FOUND: it is not published. */
int network_unpublish(
	const struct network *n, const char *tap, const struct forward *f, struct err *err);
/*
 * After a holder was killed: binds all that was published anew, and hands it to the new one. What meanwhile is
 * somebody else's is published no longer: the instance's events tell so, ROOST_PORT_LOST.
 */
void network_republish(const struct network *n);

#endif
