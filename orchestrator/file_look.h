/*
 * What an image file holds, before a guest has it: {"format": "qcow2" or "raw"}, of one that stands on another "backing" and
 * "backing-format", and of an ISO 9660 medium its "label".
 */
#ifndef ORCHESTRATOR_FILE_LOOK_H
#define ORCHESTRATOR_FILE_LOOK_H

#include "base/err.h"
#include "base/json.h"

/* `format`: "qcow2", "raw", or NULL: by its content, if that tells. Read with the rights of this process. */
int file_look(const char *path, const char *format, json_t **out, struct err *err);
/* The same; a member of the group, who may not read what root keeps, has roostd do it: it would open it for his guest, too. */
int file_look_or_ask(const char *path, const char *format, json_t **out, struct err *err);

#endif
