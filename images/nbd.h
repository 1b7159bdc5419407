/*
 * A client of the NBD protocol, as far as a disk is read and changed through it: by blocks of a connected
 * socket, one request at a time. The other end is a QEMU that has the disk open.
 *
 * The format is the project NBD's doc/proto.md: fixed newstyle handshake, NBD_OPT_GO, simple replies.
 */
#ifndef IMAGES_NBD_H
#define IMAGES_NBD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct nbd {
	int fd; /* borrowed; blocking */
	uint64_t size;
	uint16_t flags; /* what the export can do */
	uint64_t cookie;
};

/* Shakes hands and asks for that export. */
int nbd_open(struct nbd *n, int fd, const char *name, struct err *err);
int nbd_read(struct nbd *n, void *data, uint64_t at, uint32_t len, struct err *err);
int nbd_write(struct nbd *n, const void *data, uint64_t at, uint32_t len, struct err *err);
/* Zeroes without sending them; ERR_REFUSED where the export cannot. */
int nbd_zero(struct nbd *n, uint64_t at, uint32_t len, struct err *err);
int nbd_flush(struct nbd *n, struct err *err);

#endif
