/*
 * A guest's consoles. What one writes goes to a file in the guest's folder, which QEMU appends to
 * itself, and what is typed comes from a FIFO in $RUN: no reader can hold up the guest, and nothing
 * is lost while no keeper lives.
 */
#ifndef ORCHESTRATOR_CONSOLES_H
#define ORCHESTRATOR_CONSOLES_H

#include "orchestrator/argv.h"
#include "orchestrator/guest.h"

/* Opens all that the definition names; while still root. */
int consoles_open(struct guest *g, struct opened *o, struct err *err);
/*
 * Before the CPUs run: the null chardevs of serial lines become those files and FIFOs, virtio
 * consoles are plugged with theirs. May be repeated by recovery.
 */
int consoles_connect(struct guest *g, struct err *err);
/* The logs of a guest that is taken over, for punching holes; while still root. */
void consoles_reopen(struct guest *g);
/* The guest has ended: removes the FIFOs. */
void consoles_end(struct guest *g);

#endif
