/*
 * Whether guests of a user's own outlive his log-out. His processes are in no danger but from systemd's logind, and
 * that by where they are:
 *
 *	user-UID.slice/session-N.scope	ends with the session where logind.conf says KillUserProcesses=yes
 *	user@UID.service		ends with his last session, unless he lingers
 *	anywhere else			stays
 *
 * Keepers and QEMU are where their roostd is. So that of a user who lingers is put into user@UID.service where it would
 * end otherwise; who does not linger is told how to.
 */
#ifndef ORCHESTRATOR_LOGOUT_H
#define ORCHESTRATOR_LOGOUT_H

#include <stdbool.h>
#include <sys/types.h>

#include "orchestrator/connect.h"

/* Does that process of ours end when we log out? *lingers, if it does: may we have others that do not? */
bool logout_ends(pid_t pid, bool *lingers);
/* What to do about it. */
const char *logout_remedy(bool lingers);
/* Tells it on standard error of a guest that has just been started, if it is so. */
void logout_tell(const struct found *f);

#endif
