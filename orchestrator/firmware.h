/*
 * UEFI firmware as distributions install it: the code, which guests share, and the template of the
 * variables, of which each guest has a copy. The two belong together.
 *
 * A guest's copy is a qcow2 image in its folder, so that snapshots can hold it; guests defined by
 * roost 0.1 have a raw one. A guest with secure boot has another file than one without: its template
 * holds the keys, and to switch to and fro loses neither.
 */
#ifndef ORCHESTRATOR_FIRMWARE_H
#define ORCHESTRATOR_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct firmware_want {
	bool secure_boot;    /* with keys enrolled, so that it is in force */
	const char *machine; /* "pc-q35-7.2" or "q35"; NULL: any */
	uint64_t vars_size;  /* bytes, of the variables that the guest has already; 0: any */
};

struct firmware_files {
	char code[256], vars[256]; /* both raw */
};

/* By QEMU's firmware descriptors, else where distributions keep it; ERR_SYSTEM when there is none. */
int firmware_find(const struct firmware_want *want, struct firmware_files *out, struct err *err);
/*
 * By the descriptors (QEMU's docs/interop/firmware.json) in these folders, NULL-terminated. Among
 * files of one name the last folder's counts; an empty one hides the name. In the names' order the
 * first wins that fits and can be read; broken ones are passed over. False: none fits.
 */
bool firmware_described(
	const char *const folders[], const struct firmware_want *want, struct firmware_files *out);

#define FIRMWARE_VARS_RAW "vars.fd"
static inline const char *firmware_vars_name(bool secure_boot)
{
	return secure_boot ? "vars-secboot.qcow2" : "vars.qcow2";
}

#endif
