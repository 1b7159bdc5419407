/*
 * The client's side of saving a guest's RAM: save, managedsave, snapshots.
 *
 * The file is ours: QEMU writes into a pipe, we write what comes out of it (save_file.h), and its name is given when
 * all of it is on the disk. Neither QEMU nor the keeper ever holds it, so what it says later is what was true. Whatever
 * fails on our side closes the pipe, and the keeper lets the guest go on.
 */
#ifndef ORCHESTRATOR_SAVING_H
#define ORCHESTRATOR_SAVING_H

#include "orchestrator/connect.h"

/*
 * Sends a keeper that command, which is to save RAM; `args` stolen. Progress is told on standard error unless `quiet`,
 * ^C undoes it. The file is `path`, or for a snapshot lies in the same folder under the name that the keeper tells.
 * *size: how large it has become.
 */
int saving_run(const struct found *f, const char *command, json_t *args, const char *path,
	bool quiet, uint64_t *size, struct err *err);

#endif
