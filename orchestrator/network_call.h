/*
 * One command to a network's holder (roost-net.c; its commands: holder_commands.c), for whoever wants something of
 * it: the CLI, roostd's workers, keepers.
 */
#ifndef ORCHESTRATOR_NETWORK_CALL_H
#define ORCHESTRATOR_NETWORK_CALL_H

#include "base/json.h"
#include "orchestrator/network.h"

enum { NETWORK_CALL_MS = 3000 }; /* it answers at once; a busy host may need a little more */

/*
 * `args` (may be NULL) is stolen. `fds` travel with the command and stay the caller's. *ret (may be NULL) is what it
 * returned. *n_out is the room in `fds_out` before and the number of fds that came with the reply after; both may be
 * NULL. ERR_GONE when there is no holder: the network is not active. One that does not even greet is stopped, or hangs: it is
 * killed, if the caller may do that, and the call goes to the one that roostd then starts in its place, around the guests.
 */
int network_call(const struct network *n, const char *command, json_t *args, const int *fds,
	size_t fd_count, json_t **ret, int *fds_out, size_t *n_out, int64_t timeout_ms,
	struct err *err);

/* The same for a command without arguments, by who does not want another holder; ERR_TIMEOUT: it does not answer. */
int network_call_once(const struct network *n, const char *command, struct err *err);

/* Ends the holder by SIGKILL. What was its guests' stays; what it had on the host goes unless its outer process hangs, too. */
int network_kill(const struct network *n, struct err *err);

#endif
