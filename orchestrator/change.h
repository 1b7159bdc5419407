/* Changing a guest's definition from the command line: read, changed, defined again by roostd. */
#ifndef ORCHESTRATOR_CHANGE_H
#define ORCHESTRATOR_CHANGE_H

#include "orchestrator/connect.h"
#include "orchestrator/definition.h"

typedef void change_fn(struct definition *d, const void *how);
int guest_change(const struct found *f, change_fn *change, const void *how, struct err *err);

#endif
