/*
 * VNC on a unix socket, $RUN/g/ID/vnc.sock, mode 0600. QEMU itself listens nowhere (`-vnc none`):
 * the keeper accepts and hands each connection over (getfd, add_client), so that QEMU needs no
 * folder to write a socket into.
 */
#ifndef ORCHESTRATOR_VNC_H
#define ORCHESTRATOR_VNC_H

#include "orchestrator/guest.h"

/* Nothing to do for a guest without `vnc: true`. */
int vnc_listen(struct guest *g, struct err *err);
/* Hands over who has connected. Called by guest_wait(). */
void vnc_look(struct guest *g);

#endif
