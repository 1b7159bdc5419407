/* The medium that is in a guest's CD-ROM drive now, which may not be what its definition says. */
#ifndef ORCHESTRATOR_MEDIA_H
#define ORCHESTRATOR_MEDIA_H

#include "orchestrator/definition.h"

/* Puts what change-media has changed since the start (attached.h) into the definition that it runs by. */
void media_apply(struct definition *d, const json_t *plugged);

#endif
