/*
 * How far something long has come, on standard error: at a terminal one line with a bar that is
 * written over; elsewhere a plain line now and then. Nothing is said of what takes under a second.
 *
 *	struct progress p;
 *	progress_begin(&p, "debian-12", quiet);
 *	progress_show(&p, done, total);		as often as one likes
 *	progress_end(&p);			before anything else is printed
 */
#ifndef ORCHESTRATOR_PROGRESS_BAR_H
#define ORCHESTRATOR_PROGRESS_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	bool quiet, terminal;
	bool percent; /* what is counted is not bytes, or only time: set after progress_begin() */
	bool shown;   /* there is a line to be wiped out */
	int64_t began, tell_at;
	int64_t first, before, before_at; /* bytes, and when */
	double rate;                      /* bytes a second; 0: not known yet */
};

void progress_begin(struct progress *p, const char *what, bool quiet);
/* Something else is done from now on; `what` is borrowed. */
void progress_step(struct progress *p, const char *what);
/* Bytes; `total` below 1: not known. */
void progress_show(struct progress *p, int64_t done, int64_t total);
void progress_end(struct progress *p);

#endif
