/*
 * The watch of a network: a child of roost-net's outer process, in the host's namespace, that has no other task than to
 * see to it that there is a roostd as long as the network is to be active, so that what is killed comes back by itself.
 *
 * Of roostd, outer, holder and watch each may die, and any two at the same time: roostd starts outer and holder anew
 * (roostd_networks.c), outer the watch, the watch roostd. It does as the next command would (connect.h), so guests whose keepers
 * were killed, too, get others. A roostd that has ended in order is not started while the network has its holder.
 */
#ifndef ORCHESTRATOR_NET_WATCH_H
#define ORCHESTRATOR_NET_WATCH_H

#include <poll.h>

#include "base/proc.h"
#include "orchestrator/network.h"

struct net_watch {
	const struct network *network;
	struct proc proc;
	int64_t begun;
};

/* `network` must stay. The child has nothing of ours open. */
int net_watch_start(struct net_watch *w, const struct network *network, struct err *err);
/* For the owner's poll(): at most 1 entry; then net_watch_look(), also when the deadline passes: starts it anew. */
size_t net_watch_poll_fds(const struct net_watch *w, struct pollfd *fds);
int64_t net_watch_deadline(const struct net_watch *w);
void net_watch_look(struct net_watch *w);
/* The network ends in order. */
void net_watch_end(struct net_watch *w);

#endif
