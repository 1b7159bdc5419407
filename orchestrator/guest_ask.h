/*
 * What a guest's agent is asked on behalf of those who look, while whatever else goes on: nothing here
 * waits. QEMU serves one connection to the agent at a time, so the questions stand in a queue; each
 * has its own deadline from when it came. An operation that talks to the agent itself (shutdown,
 * setvcpus) and a question wait for one another as two callers of a telephone do.
 */
#ifndef ORCHESTRATOR_GUEST_ASK_H
#define ORCHESTRATOR_GUEST_ASK_H

#include <poll.h>

#include "orchestrator/guest.h"

/* Turns what the agent said into what the client is told; NULL with *err if it cannot be. */
typedef json_t *ask_tell_fn(const json_t *answer, struct err *err);

/* For handlers: asks the agent `command`; the request is answered when it has. Returns DEFERRED. */
int guest_ask(struct guest *g, struct request *request, const char *command, ask_tell_fn *tell,
	int64_t timeout_ms, struct err *err);
/* For guest_wait(): goes on with the first question, if it can; before a broken QMP is replaced. */
void asks_look(struct guest *g);
/* What it waits for; 0 or 1 entry. */
size_t asks_poll_fds(const struct guest *g, struct pollfd *fds);
int64_t asks_deadline(const struct guest *g);

#endif
