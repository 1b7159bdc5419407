/*
 * VNC on a unix socket, $RUN/g/ID/vnc.sock, for those who may use the instance. QEMU itself listens nowhere (`-vnc none`):
 * the keeper accepts and hands each connection over (getfd, add_client), so that QEMU needs no
 * folder to write a socket into.
 */
#ifndef ORCHESTRATOR_VNC_H
#define ORCHESTRATOR_VNC_H

#include "orchestrator/guest.h"

/* Nothing to do for a guest without `vnc`. */
int vnc_listen(struct guest *g, struct err *err);
/*
 * With `vnc: {password: true}` QEMU lets nobody in before there is one. It lies in the guest's folder,
 * the keeper's, 0600, and is told to QEMU at each start; VNC has no more than 8 bytes of one. It
 * is not written anywhere else.
 */
enum { VNC_PASSWORD_MAX = 8 };
int vnc_set_password(struct guest *g, const char *password, struct err *err);
/* Tells a QEMU that was just started the one that was set before, if any. */
int vnc_tell_password(struct guest *g, struct err *err);
/* Hands over who has connected. Called by guest_wait(). */
void vnc_look(struct guest *g);

#endif
