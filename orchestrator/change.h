/* Changing a guest's definition from the command line: read, changed, defined again by roostd. */
#ifndef ORCHESTRATOR_CHANGE_H
#define ORCHESTRATOR_CHANGE_H

#include "orchestrator/connect.h"
#include "orchestrator/definition.h"

typedef void change_fn(struct definition *d, const void *how);
/* ERR_REFUSED: it was undefined while it runs, and to define it anew would keep it. */
int guest_change(const struct found *f, change_fn *change, const void *how, struct err *err);

#endif
