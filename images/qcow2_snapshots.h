/* The internal snapshots that a qcow2 image has, told with the names that qemu-img gives their parts. */
#ifndef IMAGES_QCOW2_SNAPSHOTS_H
#define IMAGES_QCOW2_SNAPSHOTS_H

#include "base/json.h"
#include "images/qcow2.h"

/*
 * A list of {id, name, vm-state-size, ...}, of an image that qcow2_read() has found sound. ERR_REFUSED: more than
 * 4096 of them, for what is told is bounded.
 */
json_t *qcow2_snapshots(int fd, const struct qcow2_info *info, struct err *err);

#endif
