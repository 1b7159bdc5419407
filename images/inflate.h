/*
 * The compressed clusters of qcow2, by zlib and libzstd. `in` goes on beyond the end of the compressed
 * data, to the end of a sector; what it makes must fill `out` to the last byte.
 */
#ifndef IMAGES_INFLATE_H
#define IMAGES_INFLATE_H

#include <stddef.h>

#include "base/err.h"

int inflate_zlib(const void *in, size_t in_len, void *out, size_t out_len, struct err *err);
/* Frames whose window is over 8 MiB, which RFC 8878 (3.1.1.1.2) asks of no decoder, are an error. */
int inflate_zstd(const void *in, size_t in_len, void *out, size_t out_len, struct err *err);

#endif
