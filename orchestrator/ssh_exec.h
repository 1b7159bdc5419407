/*
 * A command or a shell in the guest, with our standard streams as its own.
 */
#ifndef ORCHESTRATOR_SSH_EXEC_H
#define ORCHESTRATOR_SSH_EXEC_H

#include "orchestrator/ssh_params.h"

/* The exit status for our own failures, as with ssh. */
#define EXEC_FAILED 255
/* `dial`: the guest's SSH server could not make the connection. */
#define EXEC_NOT_DIALLED 1

/* Returns the exit status: the command's, 128 and its signal, or EXEC_FAILED. */
int exec(const struct remote *r, const struct exec_params *p);

#endif
