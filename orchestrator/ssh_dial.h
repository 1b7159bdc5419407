/*
 * A fresh TCP connection whose server has said its SSH banner. No libssh: a plain socket, looked
 * at with MSG_PEEK, so that libssh finds the banner still in it.
 *
 * QEMU's user networking accepts on a forwarded port before the guest listens, and such a
 * connection stays silent for seconds. A slow guest may need seconds for its banner, too. So a try
 * holds two connections at most: a fresh one for 0.4 s, and beside it the oldest silent one, the
 * patient one, for 4 s; whichever speaks first wins. Both times grow with the silence: to an sshd
 * under load each connection that is given up costs as much as one that is kept, and at a steady
 * rate it may never come to one that somebody still listens to.
 */
#ifndef ORCHESTRATOR_SSH_DIAL_H
#define ORCHESTRATOR_SSH_DIAL_H

#include <stdint.h>

#include "base/err.h"
#include "orchestrator/ssh_params.h"
#include "orchestrator/ssh_report.h"

struct dialer {
	const struct remote *remote;
	int fresh, patient; /* -1 if there is none */
	int64_t patient_until;
	int64_t listen_ms; /* how long a fresh one is listened to at least; 0: 0.4 s */
	int64_t silent_since; /* the first of the tries in a row that met silence, or were turned away; 0: the last one did not */
};
#define DIALER(to)                                                                                 \
	(struct dialer)                                                                            \
	{                                                                                          \
		.remote = (to), .fresh = -1, .patient = -1                                         \
	}

struct banner_text {
	char shown[256]; /* the first line of the server, for people */
};

/*
 * One try is both of these. The first opens the fresh connection, in at most 1 s; the second
 * returns the one whose banner is there, non-blocking and close-on-exec, in at most 0.4 s, or 4 s after
 * much silence. Neither takes longer than until `deadline`.
 */
int dial_connect(struct dialer *d, int64_t deadline, enum reason *why, struct err *err);
int dial_listen(struct dialer *d, int64_t deadline, struct banner_text *banner, enum reason *why,
	struct err *err);
/*
 * Tries until `deadline` while nobody answers or speaks, or the server has too many connections; any
 * other failure ends it. For a guest that is up: a fresh connection is listened to for 2 s.
 */
int dial(const struct remote *remote, int64_t deadline, enum reason *why, struct err *err);
/* For _cleanup_(dialer_end). */
void dialer_end(struct dialer *d);

#endif
