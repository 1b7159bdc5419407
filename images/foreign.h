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
/* How many bytes it shows, by its header; 0: that does not say it plainly. */
uint64_t foreign_size(int fd, const char *format);
/*
 * ERR_REFUSED: it shows so many more bytes than the file system of the open folder `room` has that it was never meant for it.
 * qemu-img asks for each grain of them whether it is there, and takes half a minute for each TiB of nothing.
 */
int foreign_check_room(int fd, const char *format, int room, const char *what, struct err *err);
/*
 * The file `from` of that format and that foreign_size() into `to`. Both lie where nobody else can change them meanwhile.
 * `told`, which may be NULL, is called with "convert".
 */
int foreign_convert(const char *from, const char *format, uint64_t size, const char *to,
	void (*told)(void *about, const char *step, int64_t done, int64_t total), void *about,
	struct err *err);

#endif
