/* How full the file systems of a guest that runs are: it is asked itself, by its agent or over SSH. */
#ifndef ORCHESTRATOR_DF_RUNNING_H
#define ORCHESTRATOR_DF_RUNNING_H

#include "orchestrator/look.h"

/*
 * As orchestrator/df.h has it. `df` is run by the agent; where that does not answer or may not run it, over SSH;
 * where that fails, too, the agent's own account is told, in which root's reserve is missing ("approximate"). Of a guest
 * in which nobody answers, the disks tell: df.h.
 */
json_t *df_running(struct look *l, struct err *err);
/* What `df -kPT` and `df -iP` print, one after the other with an empty line between; a hostile guest's text. */
json_t *df_parse(const char *text);

#endif
