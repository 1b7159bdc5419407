/*
 * A published port: a process of its own that takes what comes to a port of the host and brings it to a guest.
 *
 * It lives in the network's namespace, where it reaches the guest, and serves a socket that was bound in the
 * host's: a socket stays in the namespace in which it was made. So the guest sees the network's own address as
 * the other side, and nothing of the host's firewall is changed for it.
 *
 * TCP is spliced, a half that was closed is closed on the other side, a reset is a reset there. A client whom the
 * guest does not answer is reset. UDP: whoever sends becomes a client with a socket of his own, until nothing was said
 * for two minutes (RFC 4787, REQ-5).
 *
 * It has no privilege, cannot be more than PROXY_CLIENTS_MAX clients' servant at once (TCP: further ones wait in
 * the queue; UDP: the one silent for longest goes).
 *
 * Who started it may be killed: then the port is free for the next one, and what is connected by TCP stays so until it
 * ends, or the guest's tap does.
 */
#ifndef NETSETUP_PROXY_H
#define NETSETUP_PROXY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { PROXY_CLIENTS_MAX = 512 };

struct proxy {
	int socket; /* listening, or bound for UDP; non-blocking; stays the caller's */
	bool udp;
	int link; /* index of the guest's tap */
	int alive; /* the reading end of a pipe whose other end is the caller's: when that closes, he is gone */
	struct sockaddr_in guest;
};
/* The child, to be reaped by the caller. It ends by SIGKILL, when `socket` is useless, or as told above. */
pid_t proxy_start(const struct proxy *p, struct err *err);

/* What such a child does; they return when there is nothing to do any more. */
void proxy_tcp(const struct proxy *p);
void proxy_udp(const struct proxy *p);

#endif
