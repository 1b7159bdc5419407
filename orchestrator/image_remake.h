/*
 * A disk image made anew in its own place: the work is done on a copy that has no name yet, which then takes the name
 * of the original. So it is the old one or the new one, whoever is killed, and both are sound.
 *
 *	_cleanup_remake_ struct remake r = REMAKE_NONE;
 *	if (remake_begin(&r, path, err) < 0 || remake_copy(&r, told, about, err) < 0)
 *		return -1;
 *	... qemu-img changes r.fresh ...
 *	return remake_settle(&r, err);
 *
 * While that lasts nobody else can have the original as a disk: we hold the locks that QEMU looks for.
 */
#ifndef ORCHESTRATOR_IMAGE_REMAKE_H
#define ORCHESTRATOR_IMAGE_REMAKE_H

#include <sys/stat.h>

#include "images/image.h"

struct remake {
	char *path; /* absolute, without links; of a guest's own file its name */
	const char *name;
	struct stat st;
	int dir, from;
	int fresh; /* open for reading and writing; -1 before remake_copy() */
	char *temporary;
	bool named; /* it has `temporary` as its name */
};
#define REMAKE_NONE                                                                                \
	(struct remake)                                                                            \
	{                                                                                          \
		.dir = -1, .from = -1, .fresh = -1                                                 \
	}

/*
 * ERR_BUSY: somebody has it as a disk. ERR_REFUSED: it has several names, of which only one would be the new file's.
 * What one who was killed has left of his copy is removed.
 */
int remake_begin(struct remake *r, const char *path, struct err *err);
/* The same of the file `name` of a guest's folder, which is open as `fd`, and was looked at. */
int remake_begin_own(struct remake *r, int dir, const char *name, int fd, struct err *err);
int remake_copy(struct remake *r, image_told_fn *told, void *about, struct err *err);
/* Durable, with the owner and the mode of the original, it takes its place. */
int remake_settle(struct remake *r, struct err *err);
void remake_end(struct remake *r);
#define _cleanup_remake_ _cleanup_(remake_end)

#endif
