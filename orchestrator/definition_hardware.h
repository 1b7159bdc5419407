/* Keys of a definition that say which further hardware a guest has: rows for definition.c. */
#ifndef ORCHESTRATOR_DEFINITION_HARDWARE_H
#define ORCHESTRATOR_DEFINITION_HARDWARE_H

#include "orchestrator/definition.h"
#include "orchestrator/definition_keys.h"

extern const struct keys tpm_keys, watchdog_keys, vnc_keys, boot_menu_keys;

/* `console`: true, false, or a list of what there is, the first a serial one. */
int console_read(const struct node *n, void *definition, struct err *err);
json_t *console_write(const void *definition);
json_t *console_dump(const void *definition); /* NULL for what is so by default */

#endif
