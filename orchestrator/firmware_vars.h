/* A guest's UEFI firmware: its own variables, made when it is defined, opened when it starts. */
#ifndef ORCHESTRATOR_FIRMWARE_VARS_H
#define ORCHESTRATOR_FIRMWARE_VARS_H

#include "orchestrator/definition.h"

/* In the guest's folder, the keeper's; those that are there are kept. With BIOS nothing to do. */
int firmware_make_vars(int dir, const struct definition *d, struct err *err);

struct firmware_open {
	int code, vars;  /* owned; -1 with BIOS */
	bool vars_qcow2; /* else raw */
};
/* The code, read-only, and the guest's variables, from its folder, which is the keeper's. */
int firmware_open(int dir, const struct definition *d, struct firmware_open *out, struct err *err);

#endif
