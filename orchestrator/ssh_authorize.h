/* Public keys into the authorized_keys of the user who logs in. */
#ifndef ORCHESTRATOR_SSH_AUTHORIZE_H
#define ORCHESTRATOR_SSH_AUTHORIZE_H

#include "orchestrator/ssh_params.h"

/* Reports, and returns the exit status (roost-ssh.c). */
int authorize(const struct remote *r, const struct authorize_params *p);

#endif
