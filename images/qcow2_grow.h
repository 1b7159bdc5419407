/* Growing a qcow2 image in place. */
#ifndef IMAGES_QCOW2_GROW_H
#define IMAGES_QCOW2_GROW_H

#include "images/qcow2.h"

/*
 * Makes the guest's disk `size` bytes, which is not less than it has, if the L1 table has room in its
 * clusters and nothing else of the image depends on the size (snapshots, bitmaps). 1: done; 0: that is
 * qemu-img's to do, nothing was changed; -1. Flushed before it returns. `fd` is open for writing, and
 * nobody else uses the image: disk_check_unused().
 */
int qcow2_grow(int fd, const struct qcow2_info *info, uint64_t size, struct err *err);

#endif
