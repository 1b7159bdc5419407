/*
 * How a port of a running guest is reached from here: through the holder of its network, which dials inside and hands
 * over the socket, or by a port of the host that user networking forwards. No privilege is needed for either, and no
 * route to the guest.
 */
#ifndef ORCHESTRATOR_REACH_H
#define ORCHESTRATOR_REACH_H

#include "orchestrator/definition.h"
#include "orchestrator/status.h"

enum { SSH_PORT = 22 };

struct reach {
	char network[64]; /* the one that dials; "": we do, where we are */
	char address[46];
	uint16_t port;
};

/* Does an interface of the definition lead to TCP port `port`, when the guest runs? */
bool reach_defined(const struct definition *d, unsigned port);
/*
 * The first of its interfaces that leads to TCP port `port`; one of a network that is not active, last. ERR_REFUSED,
 * with a hint, if none does; ERR_TIMEOUT: it is on somebody else's bridge, and has not been seen there yet.
 */
int reach_find(const struct definition *d, const struct status *s, unsigned port, struct reach *out,
	struct err *err);
/*
 * A connection that is begun: non-blocking, close-on-exec. POLLOUT and SO_ERROR tell how it went. ERR_GONE: the
 * network is not active.
 */
int reach_begin(const struct reach *r, struct err *err);
/*
 * The same, and waits until it stands. ERR_GONE: refused, ERR_TIMEOUT: no answer until `deadline`, or none at that
 * address. (User networking accepts whatever the guest does.)
 */
int reach_connect(const struct reach *r, int64_t deadline, struct err *err);

#endif
