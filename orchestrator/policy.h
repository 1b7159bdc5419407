/*
 * Which of QEMU's own commands a client may send through a keeper.
 *
 * What is not listed is refused: a command that names a path or a host would act with QEMU's rights
 * on the client's word, and one that changes the device tree behind roost's back would make
 * the record lie.
 */
#ifndef ORCHESTRATOR_POLICY_H
#define ORCHESTRATOR_POLICY_H

#include "base/json.h"

/* Those that pass through besides "query-..."; NULL ends them. */
extern const char *const policy_passes[];
/* ERR_REFUSED says why a command may not, and what to use. */
int policy_check(const char *command, const json_t *args, struct err *err);
/* Does it do more than look? */
bool policy_changes(const char *command);

#endif
