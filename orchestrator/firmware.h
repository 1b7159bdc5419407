/*
 * UEFI firmware as distributions install it: the code, which guests share, and the template of the
 * variables, of which each guest has a copy. The two belong together.
 */
#ifndef ORCHESTRATOR_FIRMWARE_H
#define ORCHESTRATOR_FIRMWARE_H

#include "base/err.h"

struct firmware_files {
	const char *code, *vars;
};

/* The first pair of files that can be read; ERR_SYSTEM when none is installed. */
int firmware_find(struct firmware_files *out, struct err *err);

#endif
