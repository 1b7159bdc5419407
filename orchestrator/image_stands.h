/*
 * Who would notice if a file that is not the store's were changed: guests, by their records and by what is plugged into
 * those that run (attached.h); disks that no record tells (unrecorded.h); other images in its folder, by their headers.
 *
 * Overlays that lie elsewhere and belong to no guest are not known to anybody.
 *
 * And whether the header of a guest's disk may be believed: a guest can write one into a raw disk, and one that has
 * taken over its QEMU can change that of a qcow2 disk, so that we would copy or overwrite a file of the host's.
 */
#ifndef ORCHESTRATOR_IMAGE_STANDS_H
#define ORCHESTRATOR_IMAGE_STANDS_H

#include "images/chain.h"

/* A disk of a guest. */
struct image_own {
	const char *guest, *target;
};

/*
 * May the file of `link` be changed? ERR_REFUSED, naming one, if it is the store's, a base or in a guest's folder, or if
 * a guest stands on it; if `content` is what changes, also if a guest has it as a disk or another image stands on
 * it. `except` and the disk `own`, which may be NULL, do not count.
 */
int image_check_changeable(const struct chain_link *link, bool content,
	const struct chain_link *except, const struct image_own *own, struct err *err);
/*
 * May it be written to in its place, as resize and repair do? As above; but a guest may have it as its disk, in its own
 * folder, too, as long as nothing else stands on it.
 */
int image_check_writable(const struct chain_link *link, struct err *err);
/* ERR_REFUSED, if a guest has its top as a disk and the guest's record tells of another format or of other files below. */
int image_check_chain(const struct chain *c, struct err *err);
/* The guest that has it as a disk; NULL: none. That and *target, unless NULL, are freed by the caller. */
char *image_disk_of(const struct chain_link *link, char **target);

#endif
