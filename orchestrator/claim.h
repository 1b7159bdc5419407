/*
 * Who works on a guest that does not run, or on its record, holds "lock" in its folder: a worker of roostd, for as
 * long as it lives, even if its roostd has died; a backup that copies its disks. Whoever starts the guest, or begins
 * another work, looks.
 *
 * Two that come at the same moment: who works takes the lock, then looks whether the guest runs; who starts says in
 * the status file that it is starting, then looks at the lock. So at least one of them sees the other.
 */
#ifndef ORCHESTRATOR_CLAIM_H
#define ORCHESTRATOR_CLAIM_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Takes it until the process ends, or the fd is closed; not a child's. `shared`: to read its disks, beside others that
 * do. ERR_BUSY names the process that has it; ERR_NOT_FOUND: no such guest.
 */
int claim_take(const char *guest, bool shared, struct err *err);
/* Does nobody have it? `dir` is the guest's folder. ERR_BUSY. */
int claim_check(int dir, const char *guest, struct err *err);

#endif
