/*
 * What should be there, by the records, against what is there, by the kernel and the file systems.
 *
 * Each difference is a finding:
 *
 *	{"kind": "run-folder",		one word, the same in every version
 *	 "name": "/run/roost/g/4f...",	which one
 *	 "why": "...", "remedy": "...",	sentences for people
 *	 "unowned": true,		nobody owns it any more: `roost gc` removes it
 *	 "removed": true}		it has just done so
 *
 * What a guest may still want (a disk that no definition names, a QEMU that no record tells) is told but never unowned.
 * There are no cgroups among it: roost makes none.
 * Runs as a worker of roostd's, with its rights, so that a member of the group sees what root sees.
 */
#ifndef ORCHESTRATOR_DOCTOR_H
#define ORCHESTRATOR_DOCTOR_H

#include <stdbool.h>

#include "base/json.h"

struct doctor {
	bool remove;    /* what is unowned; else it is only told */
	json_t *found;  /* findings, in the order of the checks */
	int64_t looked; /* how many things were compared */
};

/* doctor_guests.c, doctor_networks.c, doctor_processes.c: each adds what it finds. A check that cannot be made is a finding, too. */
void doctor_guests(struct doctor *d);
void doctor_store(struct doctor *d);
void doctor_networks(struct doctor *d);
void doctor_processes(struct doctor *d);

/* What the holders of networks say of themselves, each as its lock's file tells it: network_up.h. */
json_t *doctor_holders(void);

/* Adds a finding of something that somebody has to do something about. `remedy` and `why` are formats' results, copied. */
void doctor_tell(
	struct doctor *d, const char *kind, const char *name, const char *why, const char *remedy);
/* The same of something that nobody owns. True: remove it now, then say how that went. */
bool doctor_unowned(struct doctor *d, const char *kind, const char *name, const char *why);
void doctor_removed(struct doctor *d, int result, const struct err *err);

#endif
