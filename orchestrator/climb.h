/* The ladder of readiness at a command line: its options, its lines, and how a failure is told. */
#ifndef ORCHESTRATOR_CLIMB_H
#define ORCHESTRATOR_CLIMB_H

#include "orchestrator/readiness.h"
#include "orchestrator/verb.h"

#define CLIMB_OPTIONS                                                                              \
	{"for", "RUNG", 0, "the rung to wait for; default what the definition says"},              \
		{"timeout", "TIME", 0, "for all rungs together, such as 180s"},                    \
	{                                                                                          \
		"quiet", NULL, 'q', "no line per rung"                                             \
	}

/* Climbs as the options say, a line per rung on standard error. The caller frees `r`. */
int climb_shown(const struct cli *cli, const struct found *f, struct readiness *r, struct err *err);
/* Prints the evidence; returns what the verb returns then. */
int climb_tell_failure(const struct cli *cli, const struct readiness *r, const struct err *err);

#endif
