/*
 * tar archives: a header, and what is in one. The format is POSIX's (pax: ustar with extended headers), with GNU's
 * numbers for what ustar's octal digits have no room for; GNU tar, libarchive and busybox read it.
 *
 * The reader is for files nobody trusts: it goes from header to header of a regular file, reads no content, and
 * what it tells lies wholly in the file. It unpacks nothing.
 */
#ifndef IMAGES_TAR_H
#define IMAGES_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { TAR_BLOCK = 512, TAR_NAME_MAX = 255 };

/* POSIX.1-1988. Numbers are octal text. */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
	char link[100], magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8];
	char prefix[155], rest[12];
};

/* Root's, as of now; `name` has at most 100 bytes. */
void tar_header_make(
	struct tar_header *h, char type, const char *name, unsigned mode, uint64_t size);
/* The checksum anew, of one that was changed since. */
void tar_header_seal(struct tar_header *h);
/*
 * A regular file's header that takes just `room` bytes, a multiple of TAR_BLOCK and at least 3 of them, so that its
 * content begins where it shall: an extended header tells its size, and fills the room with a comment.
 */
void tar_padded_header(
	unsigned char *out, uint32_t room, const char *name, unsigned mode, uint64_t size);

struct tar_reader {
	int fd;
	uint64_t next; /* where the next header is */
	unsigned count;
};
struct tar_member {
	char name[TAR_NAME_MAX + 1]; /* without "./" in front; longer ones are cut */
	bool folder;
	bool file;         /* a regular one; else of another type, a link or a device */
	uint64_t at, size; /* its content */
};
/* `fd` stays the caller's. Is it a tar archive, rather than something else? By its first header. */
bool tar_probe(int fd);
/* 1: the next member; 0: there is none; -1: ERR_REFUSED, it is cut off, damaged, or of a kind that is not read here. */
int tar_next(struct tar_reader *r, struct tar_member *out, struct err *err);

#endif
