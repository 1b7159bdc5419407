/*
 * A keeper's command that may take long, from the command line: its progress is told on standard error
 * (one line that changes at a terminal, else a line now and then; nothing if `quiet`), ^C and the like
 * cancel it and wait for it to undo itself. A second ^C ends us at once; the keeper sees that, too.
 */
#ifndef ORCHESTRATOR_LONG_CALL_H
#define ORCHESTRATOR_LONG_CALL_H

#include "orchestrator/connect.h"

/* `args` stolen; the fds stay the caller's. *reply as qmp_call() has it. */
int long_call(const struct found *f, const char *command, json_t *args, const int *fds,
	size_t fd_count, bool quiet, json_t **reply, struct err *err);
/* The same of roostd's, that makes the guest `about`. */
int long_call_supervisor(const char *about, const char *command, json_t *args, bool quiet,
	json_t **reply, struct err *err);
/* Those signals come when long_call() looks, not before: for who has something to clean up. */
void long_call_hold_signals(void);

#endif
