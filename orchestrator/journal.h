/*
 * The journal: what changing operation is at work on a guest, written before its first command to
 * QEMU and removed after its last. A keeper that finds one when it adopts a guest finishes or
 * undoes that operation: its row in op_adopt.c says how.
 *
 * $STATE/guests/NAME/journal holds {"operation":..., ...what the operation wrote...}.
 */
#ifndef ORCHESTRATOR_JOURNAL_H
#define ORCHESTRATOR_JOURNAL_H

#include "orchestrator/guest.h"

/* `facts` (an object; stolen) is what undoing or finishing will need. Durable when it returns. */
int journal_begin(struct guest *g, const char *operation, json_t *facts, struct err *err);
/* Adds a fact that is known only now; durable. `value` stolen. */
int journal_note(struct guest *g, const char *key, json_t *value, struct err *err);
void journal_end(struct guest *g);
/* The journal found, owned by the caller; NULL if there is none. An unreadable one is none. */
json_t *journal_found(struct guest *g);

#endif
