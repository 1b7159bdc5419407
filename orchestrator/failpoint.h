/* Failpoints, compiled into the test build only: failpoint.c. */
#ifndef ORCHESTRATOR_FAILPOINT_H
#define ORCHESTRATOR_FAILPOINT_H

#ifdef ROOST_FAILPOINTS
void failpoint(const char *name);
#else
#define failpoint(name) ((void)(name))
#endif

#endif
