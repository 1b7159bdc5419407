/* How a qcow2 image is encrypted, told with the names that qemu-img gives the parts. */
#ifndef IMAGES_QCOW2_CRYPT_H
#define IMAGES_QCOW2_CRYPT_H

#include "base/json.h"
#include "images/qcow2.h"

/*
 * {"format": "aes"}, or "luks" and what its header says, of an encrypted image that qcow2_read() has found sound. No key
 * is wanted for that. What QEMU would not open because of its header is an error here.
 */
json_t *qcow2_encrypt(int fd, const struct qcow2_info *info, struct err *err);

#endif
