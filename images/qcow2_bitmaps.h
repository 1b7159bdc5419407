/* The persistent bitmaps that a qcow2 image has, told with the names that qemu-img gives their parts. */
#ifndef IMAGES_QCOW2_BITMAPS_H
#define IMAGES_QCOW2_BITMAPS_H

#include "base/json.h"
#include "images/qcow2.h"

/*
 * A list of {flags, name, granularity}, of an image that qcow2_read() has found sound. What QEMU would not open
 * because of them is an error here.
 */
json_t *qcow2_bitmaps(int fd, const struct qcow2_info *info, struct err *err);

#endif
