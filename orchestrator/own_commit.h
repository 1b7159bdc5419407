/*
 * Committing a disk that is a chain of the user's own files (`qemu-img create -b`) into one of them: the guest, now or from
 * its next start on, has that one as its disk, and its record says so. Files above may stay, of a running guest
 * its top alone: the lowest of them stands on that one then. The file that is written to we open, with the rights of who
 * asks; nobody else may stand on any of those that change their meaning.
 *
 * A running guest does it itself (op_blockcommit.c), of another one roostd does (op_blockcommit_off.c).
 */
#ifndef ORCHESTRATOR_OWN_COMMIT_H
#define ORCHESTRATOR_OWN_COMMIT_H

#include "orchestrator/connect.h"

struct own_commit {
	const char *guest, *target;
	const char *top; /* the disk, as the guest's record has it */
	/* paths, or "vda[2]": what is committed, from which one down, into which; NULL: the disk itself, what that stands on */
	const char *from, *base;
	const struct found *running; /* NULL: it does not run */
	uint64_t speed;              /* bytes per second; 0: as fast as it goes */
	bool delete;                 /* then remove those that were committed */
	bool json;
};
/* Tells on standard output what was done. */
int own_commit(const struct own_commit *o, struct err *err);

#endif
