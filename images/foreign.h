/*
 * Images of other hypervisors, made into qcow2 by qemu-img in a confined child. Only those that keep
 * all their bytes in one file: VMDK with sparse extents of its own, VHD, VHDX, VDI.
 */
#ifndef IMAGES_FOREIGN_H
#define IMAGES_FOREIGN_H

#include <stdint.h>

#include "base/err.h"

/* QEMU's name of its format, by content; NULL with *err: none of them, or one that names other files. */
const char *foreign_format(int fd, const char *what, struct err *err);
/*
 * The file `from` of that format into `to`. Both lie where nobody else can change them meanwhile.
 * `told`, which may be NULL, is called with "convert".
 */
int foreign_convert(const char *from, const char *format, const char *to,
	void (*told)(void *about, const char *step, int64_t done, int64_t total), void *about,
	struct err *err);

#endif
