/* A definition that becomes another guest's, in a clone or out of a backup. */
#ifndef ORCHESTRATOR_ANOTHER_H
#define ORCHESTRATOR_ANOTHER_H

#include "orchestrator/definition.h"

/*
 * Nothing that tells the two guests apart stays: UUID, MAC addresses, what was issued. A host name that
 * was the guest's name is the new one's.
 */
void definition_make_another(json_t *definition, const char *name);
/*
 * Two guests that write to one file would spoil it: ERR_REFUSED for one with a disk of the user's own. `shared`: targets
 * of those for which that is wanted, or NULL.
 */
int definition_may_be_cloned(const struct definition *d, const json_t *shared, struct err *err);

#endif
