/*
 * A keeper's command that may take long, from the command line: its progress is told on standard error
 * (progress_bar.h; nothing if `quiet`), ^C and the like
 * cancel it and wait for it to undo itself. A second ^C ends us at once; the keeper sees that, too.
 */
#ifndef ORCHESTRATOR_LONG_CALL_H
#define ORCHESTRATOR_LONG_CALL_H

#include "orchestrator/connect.h"
#include "orchestrator/verb.h"

/* `args` stolen; the fds stay the caller's. *reply as qmp_call() has it. */
int long_call(const struct found *f, const char *command, json_t *args, const int *fds,
	size_t fd_count, bool quiet, json_t **reply, struct err *err);
/* What a command of roostd's is about, as ROOST_PROGRESS and roost-cancel name it. */
struct long_about {
	const char *kind; /* "guest" or "image" */
	const char *name;
};
/* The same of roostd's. */
int long_call_supervisor(struct long_about about, const char *command, json_t *args, const int *fds,
	size_t fd_count, bool quiet, json_t **reply, struct err *err);
/* What --bandwidth says, in bytes per second; 0: as fast as it goes. */
int long_call_speed(const struct cli *cli, uint64_t *speed, struct err *err);

#endif
