/* A guest that is defined anew by libvirt's XML: what that cannot say stays as it was. */
#ifndef ORCHESTRATOR_LIBVIRT_KEEP_H
#define ORCHESTRATOR_LIBVIRT_KEEP_H

#include "orchestrator/definition.h"

/* `json` is what the XML says, in guest.json's form, and gets the rest. */
void libvirt_keep(json_t *json, const struct definition *old);

#endif
