/*
 * Ports of the host that lead into a guest on a network: how people write them, and their sockets.
 *
 *	[ADDRESS:][PORT:]GUEST_PORT[/tcp|/udp]
 *
 *	8080:80				TCP port 8080 of the host's loopback
 *	0.0.0.0:8080:80			of all its IPv4 addresses; "[::]:8080:80" of all of IPv6
 *	127.0.0.1:2222:22/tcp		of that address
 *	53:53/udp
 *	22, 0.0.0.0::22			a free port at each start
 *
 * Without an address it is 127.0.0.1, as of `hostfwd`: who means to open a guest to others says so. A port that
 * is closed by mistake shows at once, one that is open by mistake does not.
 */
#ifndef ORCHESTRATOR_PUBLISH_H
#define ORCHESTRATOR_PUBLISH_H

#include "orchestrator/definition.h"

/* ERR_USAGE, and the hint has the syntax. */
int publish_parse(const char *text, struct forward *out, struct err *err);
/* "127.0.0.1:8080:80/tcp", which publish_parse() reads; freed by the caller. */
char *publish_text(const struct forward *f);
/* "127.0.0.1:8080", "[::1]:8080": the host's side of it. Lives until the 4th next call. */
const char *publish_host_text(const char *host, unsigned port);
/* Do both want the same port of the host? A free one is never the same. */
bool publish_clash(const struct forward *a, const struct forward *b);

/* As a status tells of it: {"nic", "host", "port": the one that it got, "guest_port", "udp"}. */
json_t *forward_told(const struct forward *f, size_t nic, uint16_t port);

/*
 * The socket: listening for TCP, bound for UDP; in the network namespace that the caller is in, non-blocking,
 * close-on-exec. *port is the one it got. A port that is taken is ERR_BUSY and names who has it, as far as the
 * caller may see that.
 */
int publish_bind(const struct forward *f, uint16_t *port, struct err *err);

#endif
