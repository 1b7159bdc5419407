/*
 * What a mount does with an ext file system that was not unmounted, because the guest was ended or the power
 * went: the journal is replayed, and files that were open without a name are removed.
 */
#ifndef IMAGES_EXT_RECOVER_H
#define IMAGES_EXT_RECOVER_H

#include "images/ext_volume.h"

/* Was it not unmounted? */
bool ext_is_unclean(const struct ext_volume *v);
/* Replays the journal. Afterwards what v->fs knows is old: it has to be opened anew. */
int ext_replay(struct ext_volume *v, struct err *err);
/* Then, with its bitmaps read: orphans, sums of the superblock, and that it is clean. */
int ext_settle(struct ext_volume *v, struct err *err);

#endif
