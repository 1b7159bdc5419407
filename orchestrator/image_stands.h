/*
 * Who would notice if a file that is not the store's were changed: guests, by their records; disks that no record tells
 * (unrecorded.h); other images in its folder, by their headers.
 *
 * Overlays that lie elsewhere and belong to no guest are not known to anybody.
 */
#ifndef ORCHESTRATOR_IMAGE_STANDS_H
#define ORCHESTRATOR_IMAGE_STANDS_H

#include "images/chain.h"

/*
 * May the file of `link` be changed? ERR_REFUSED, naming one, if it is the store's, a base or in a guest's folder, or if
 * a guest stands on it; if `content` is what changes, also if a guest has it as a disk or another image stands on
 * it. `except`, which may be NULL, does not count.
 */
int image_check_changeable(const struct chain_link *link, bool content,
	const struct chain_link *except, struct err *err);
/* The guest that has it as a disk; freed by the caller, NULL: none. */
char *image_disk_of(const struct chain_link *link);

#endif
