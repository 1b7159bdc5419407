/* A definition that becomes another guest's, in a clone or out of a backup. */
#ifndef ORCHESTRATOR_ANOTHER_H
#define ORCHESTRATOR_ANOTHER_H

#include <jansson.h>

/*
 * Nothing that tells the two guests apart stays: UUID, MAC addresses, what was issued. A host name that
 * was the guest's name is the new one's.
 */
void definition_make_another(json_t *definition, const char *name);

#endif
