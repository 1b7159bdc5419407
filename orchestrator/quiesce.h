/*
 * A guest's file systems held still by its agent while its disks are copied or get a new layer.
 *
 * Within an operation that has a journal: "frozen": true is noted there before the agent is asked, so that a
 * keeper that finds the journal thaws.
 */
#ifndef ORCHESTRATOR_QUIESCE_H
#define ORCHESTRATOR_QUIESCE_H

#include "orchestrator/guest.h"

/* Bounded in time; on failure the guest is thawed, for it may have heard us all the same. */
int quiesce_freeze(struct guest *g, struct err *err);
/* Asked anew, for the freezing may have broken the talk; nobody cancels it. */
int quiesce_thaw(struct guest *g, struct err *err);
/* For recovery: thaws if the journal says that it may be frozen. */
void quiesce_recover(struct guest *g, const json_t *journal);

#endif
