/*
 * Asking the program roost-disk about a disk: it runs as a child held in by walls (256 MiB of address
 * space, a minute of CPU time, no privilege to be gained, nothing open but its layers, its answers and
 * our standard error, an environment of its own), for it reads what nobody vouches for. It dies with
 * us.
 */
#ifndef IMAGES_DISK_ASK_H
#define IMAGES_DISK_ASK_H

#include "base/json.h"
#include "images/volume.h"

/* One line of the answer, an object, lent: it may be changed. -1 with *err ends it all. */
typedef int disk_line_fn(void *about, json_t *line, struct err *err);

/*
 * `program` is roost-disk: orchestrator/paths.h, libexec_path(). `command` is one of its commands. The layers,
 * from the top to the bottom, stay the caller's. ERR_QEMU: an answer that is none, or none for five minutes;
 * ERR_TIMEOUT: its CPU time is used up.
 */
int disk_ask(const char *program, const char *command, const struct volume_layer *layers,
	size_t count, disk_line_fn *line, void *about, struct err *err);

#endif
