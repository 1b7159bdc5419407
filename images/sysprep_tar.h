/*
 * Files of a stream (sysprep_stream.h) as a tar archive, for the guest's own tar: all root's, with their modes,
 * and names from the root on. The format is that of GNU tar, which busybox and libarchive read as well: POSIX's
 * ustar, and before a name that is too long for it an entry 'L' or 'K' whose content that name is.
 */
#ifndef IMAGES_SYSPREP_TAR_H
#define IMAGES_SYSPREP_TAR_H

#include <stdint.h>

#include "base/err.h"

/* *count: how many there were. */
int sysprep_tar(int stream, int out, uint64_t *count, struct err *err);

#endif
