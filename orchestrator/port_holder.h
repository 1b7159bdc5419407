/* Who has a port of this host. */
#ifndef ORCHESTRATOR_PORT_HOLDER_H
#define ORCHESTRATOR_PORT_HOLDER_H

#include "orchestrator/definition.h"

enum { HOLDER_TEXT = 160 };
/*
 * "guest 'web1'", or "nginx (process 812)": of this instance's guests, and of the processes that the caller may look
 * into. "another program" if it is neither. Formats: proc(5), /proc/net/tcp and /proc/PID/fd.
 */
const char *port_holder(const struct forward *f, char out[HOLDER_TEXT]);

#endif
