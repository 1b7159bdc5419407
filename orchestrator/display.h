/* A guest's screen, and the ways to it. verb_display.c */
#ifndef ORCHESTRATOR_DISPLAY_H
#define ORCHESTRATOR_DISPLAY_H

#include "base/err.h"

enum {
	VIEWER_PORT = 5901
}; /* where a tunnel of ssh's ends on the other machine: VNC's second screen */

/* The unix socket of a running guest's VNC; freed by the caller. ERR_REFUSED if it has none. */
char *display_socket(const char *word, struct err *err);
/* "ssh -N -L 5901:SOCKET USER@HOST": for somebody at another machine; freed by the caller. */
char *display_tunnel(const char *socket);

#endif
