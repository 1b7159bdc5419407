/* Whether the networks of a guest that was just started lead to the world, on the standard error. */
#ifndef ORCHESTRATOR_UPLINKS_H
#define ORCHESTRATOR_UPLINKS_H

#include "orchestrator/connect.h"

/* What is to be said of a start, or a clone's first snapshot, by its answer: of what it runs on, and of its identity. */
void start_tell(const json_t *answer);
/* What each lacks; of one that this process has had started also what was changed on this host for it. */
void uplinks_tell(const struct found *f);
/* The same of a network's uplink_status(); `who`: "network 'lab': ", or "". */
void uplink_tell(const json_t *uplink, const char *who, bool changes);

#endif
