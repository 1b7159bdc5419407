/*
 * Where things are (DESIGN.md 4).
 *
 *	$STATE	/var/lib/roost		without root $XDG_DATA_HOME/roost, ~/.local/share/roost
 *	$RUN	/run/roost		without root $STATE/run/BOOT-ID
 *
 * ROOST_STATE and ROOST_RUN override both. Without a home and an override it is an error that says
 * so. All strings are worked out once and live as long as the process.
 */
#ifndef ORCHESTRATOR_PATHS_H
#define ORCHESTRATOR_PATHS_H

#include <stdbool.h>

#include "base/err.h"

const char *paths_state(struct err *err);
const char *paths_run(struct err *err);
/* Makes $STATE/guests and $RUN/g with their modes. roostd does this once. */
int paths_make(struct err *err);

/* Folders, as fds: $STATE/guests, one guest's in it, $RUN/g, one guest's in it. */
int guests_open(struct err *err);
int guest_dir_open(const char *name, struct err *err);
int runs_open(struct err *err);
int run_dir_open(const char *id, struct err *err);
/* "$RUN/g/ID/FILE": sockets need paths. Freed by the caller. */
char *run_path(const char *id, const char *file, struct err *err);
char *supervisor_socket(struct err *err);

/* A program of ours: ../libexec/roost/PROGRAM beside the folder of the running one's. */
const char *libexec_path(const char *program);
/* qemu-system-x86_64, or what ROOST_QEMU names. */
const char *qemu_path(void);

#endif
