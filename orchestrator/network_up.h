/*
 * Starting and ending a network: its holder, roost-net.
 *
 *	$RUN/n/ID/holder	locked as long as there is one: {"name","pid","start","outer","outer_start","boot","up"}; it stays when
 *				the holder was killed, and goes when the network was ended
 *	$RUN/n/ID/up.lock	held by who starts or ends it
 */
#ifndef ORCHESTRATOR_NETWORK_UP_H
#define ORCHESTRATOR_NETWORK_UP_H

#include "orchestrator/network.h"

/*
 * Starts it unless it is active: returns when it serves, or with what went wrong. Where guests still run whose taps are
 * in the namespace of a former holder, the new one takes that over, and what was published is so again. roost-net becomes roostd's child,
 * for that is the sub-reaper. Called by roostd's workers, and by a keeper that is root yet.
 */
int network_up(const struct network *n, struct err *err);
/* The same for one that was killed; one that somebody has ended meanwhile is left alone. */
int network_up_again(const struct network *n, struct err *err);
/* Ends it, by force if it does not answer, waits for that, removes what it had in $RUN. One that is not active is success. */
int network_down(const struct network *n, struct err *err);
/* Removes what one that has ended left in $RUN/n/ID, unless somebody is at it, or guests are still in it. */
void network_sweep(const char *id);

/* What `roost-net OPTION [WORD]` tells of the host, apart from any network; NULL: nothing. roost-net.c has the options. */
json_t *network_ask_host(const char *option, const char *word);

/* What its holder says of itself (net-status); NULL: there is nobody to ask. */
json_t *network_status(const struct network *n);
/* Of that, its way to the world (uplink_status() of netsetup/uplink.h). */
json_t *network_uplink(const struct network *n);

#endif
