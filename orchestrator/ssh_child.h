/*
 * The command line's side of roost-ssh: whom to talk to, with which keys, as its parameters say
 * (roost-ssh.c). The host key is the one that the guest is known by: issued for it, or recorded since (ssh_entry.h).
 */
#ifndef ORCHESTRATOR_SSH_CHILD_H
#define ORCHESTRATOR_SSH_CHILD_H

#include "base/proc.h"
#include "orchestrator/definition.h"
#include "orchestrator/status.h"

/* Who logs in: `user`, unless NULL; else the definition's, NULL if it has none. */
const char *ssh_user(const struct definition *d, const char *user);
/* [PATH...]: the one that the definition names; else, or for NULL, the instance's own and the user's. */
json_t *ssh_identities(const struct definition *d, struct err *err);
/*
 * {"address","port","network","host_key","user","identities",...} for a running guest. `user` NULL: the
 * definition's, else the caller's own name. ERR_REFUSED when nothing leads to the guest's port 22 (reach_find()).
 */
json_t *ssh_params(
	const struct definition *d, const struct status *s, const char *user, struct err *err);
/* Becomes `roost-ssh SUBCOMMAND`, with our standard streams; returns only on failure. */
int ssh_become(const char *subcommand, json_t *params, struct err *err);
/* Starts it with its answers on a pipe; `params` stolen. */
int ssh_start(const char *subcommand, json_t *params, struct child *out, struct err *err);
/* When one that may ask somebody ("ask") has ended: if ^C ended it, it ends us, too. */
void ssh_ended(void);
/* Asks it one thing, of at most `ms`; `params` stolen, and no copy of them is left in memory. */
json_t *ssh_ask(const char *subcommand, json_t *params, int64_t ms, struct err *err);

#endif
