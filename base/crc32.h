/* The CRC-32 of ISO 3309, as zlib and GPT have it: eight bytes at a time. */
#ifndef BASE_CRC32_H
#define BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Of what `crc` is the sum of, followed by these bytes; 0: of these bytes. */
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);

#endif
