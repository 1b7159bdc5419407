/*
 * Questions to a running guest's agent through its keeper, for verbs. The guest is not trusted: an answer is any bytes
 * at all, and is bounded here.
 */
#ifndef ORCHESTRATOR_GUEST_AGENT_H
#define ORCHESTRATOR_GUEST_AGENT_H

#include "base/json.h"
#include "base/str.h"

/* `args` stolen, may be NULL; the answer's "return", owned by the caller. */
json_t *guest_agent_call(
	const char *guest, const char *command, json_t *args, int64_t ms, struct err *err);
/* Appends what base64, as the agent has it, holds; at most `max` bytes in all, and up to what is none. */
void guest_agent_decode(const char *text, size_t max, struct buf *out);
/* The first `max` bytes of a file of the guest's, not more than agents read in one go, 4 KiB say. */
int guest_agent_file(const char *guest, const char *path, size_t max, int64_t ms, struct buf *out,
	struct err *err);

#endif
