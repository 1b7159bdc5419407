/*
 * A VNC viewer of this host, shown the screen of a guest.
 *
 * TigerVNC opens a unix socket itself. Others know hosts and ports only (remote-viewer takes unix sockets for SPICE
 * alone): for one of them, and for as long as it runs, a port of 127.0.0.1 leads to the socket. That port serves nobody
 * but the user whose viewer it is, and one connection at a time.
 */
#ifndef ORCHESTRATOR_VIEWER_H
#define ORCHESTRATOR_VIEWER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum viewer_kind {
	VIEWER_TIGER,  /* xtigervncviewer SOCKET */
	VIEWER_REMOTE, /* remote-viewer vnc://127.0.0.1:PORT */
	VIEWER_VNC,    /* another vncviewer: 127.0.0.1::PORT */
};

struct viewer {
	enum viewer_kind kind;
	char path[4096];
};

/* DISPLAY or WAYLAND_DISPLAY is set. */
bool viewer_has_display(void);
/* The first that PATH has, TigerVNC before the others; false: none. */
bool viewer_find(struct viewer *out);
/* Runs it until it ends, with our streams. *status: what waitpid(2) told. */
int viewer_run(
	const struct viewer *v, const char *socket, bool full_screen, int *status, struct err *err);

/* A port of 127.0.0.1, listened on: non-blocking, close-on-exec. viewer_relay.c */
int relay_listen(unsigned *port, struct err *err);
/* Brings what connects there to the unix socket at `path`, until `pidfd` says that its process has ended. */
void relay_serve(int listener, const char *path, int pidfd);

#endif
