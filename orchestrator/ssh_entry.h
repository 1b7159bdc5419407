/*
 * What people's own ways into a guest (ssh, scp, ssh-copy-id) have in common: which guest, as whom, and whether it is the
 * one. A guest that a seed of ours has given its host key is known by that. Of any other the key is looked at first, and
 * recorded (`roost-host-key`) when it may be believed, in this order:
 *
 *	the guest's agent reads the same key on the guest's disk: what no network could have put there;
 *	--accept-new;
 *	somebody at the terminal says so, as with OpenSSH's ssh; not with --batch.
 *
 * From then on it is known by that key as if it had been issued; `roost ssh-config` tells OpenSSH of it. Who logs in is
 * asked for a password by roost-ssh itself (ssh_login.c).
 */
#ifndef ORCHESTRATOR_SSH_ENTRY_H
#define ORCHESTRATOR_SSH_ENTRY_H

#include "orchestrator/verb.h"

#define SSH_ENTRY_OPTIONS                                                                                \
	{"accept-new", NULL, 0,                                                                          \
		"keep whatever host key it shows, if none is known (StrictHostKeyChecking=accept-new)"}, \
		{"batch", NULL, 'B', "ask nothing, even at a terminal (BatchMode=yes)"},                 \
	{                                                                                                \
		"forget-key", NULL, 0,                                                                   \
			"its host key has changed: forget the old one once the new one is accepted"      \
	}

/*
 * Parameters of roost-ssh (ssh_child.h) for "[USER@]NAME", a running guest; `user` is who else logs in, NULL: the
 * definition's user. `name`, unless NULL, gets the guest's.
 */
json_t *ssh_entry(
	const struct cli *cli, const char *word, const char *user, char name[64], struct err *err);

#endif
