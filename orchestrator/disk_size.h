/* The file that a guest writes to as a disk, the topmost of its snapshots, and how large it is while no guest holds it open. */
#ifndef ORCHESTRATOR_DISK_SIZE_H
#define ORCHESTRATOR_DISK_SIZE_H

#include "orchestrator/definition.h"

/*
 * Sets in `out`, in bytes: "capacity" (what a guest sees), "allocation" (what the file takes on the
 * host), "physical" (its length, in whole sectors as QEMU counts). Reads with the rights of this process.
 */
int disk_size_read(const char *guest, const struct disk_def *d, json_t *out, struct err *err);
/* Where that file is; freed by the caller. NULL for a drive without medium. */
char *disk_size_path(const char *guest, const struct disk_def *d, struct err *err);

#endif
