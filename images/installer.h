/*
 * Installers: where distributions keep the kernel and the initial RAM disk of theirs, on their media and in the trees of
 * their mirrors, and how both come out of an ISO 9660 image, which roost-image does behind the walls of images/tool.h.
 */
#ifndef IMAGES_INSTALLER_H
#define IMAGES_INSTALLER_H

#include <stddef.h>

#include "base/err.h"

/* Both relative to the top of the medium or the tree. */
struct installer_pair {
	const char *kernel, *initrd;
};
/* The first of them that is there is the one. */
extern const struct installer_pair installer_pairs[];
extern const size_t installer_pair_count;

/* ---- in roost-image alone ------------------------------------------------------------------------ */

/*
 * Takes both out of the image that is open as `iso`; their paths in it, or NULL for the known ones. *found is what was
 * taken, freed by the caller.
 */
int installer_extract(int iso, const char *kernel, const char *initrd, int kernel_out,
	int initrd_out, char *found[2], struct err *err);
/*
 * Appends a cpio archive with these files at its top to an initial RAM disk, which the kernel unpacks after what is
 * there (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
int installer_inject(
	int initrd, const int files[], const char *const names[], size_t count, struct err *err);

#endif
