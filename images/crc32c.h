/* The checksum CRC-32C (RFC 3720, B.4) as ext4 and its journal have it: neither end of it is inverted. */
#ifndef IMAGES_CRC32C_H
#define IMAGES_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `sum` is that of what comes before; ~0U for a first one. */
uint32_t crc32c(uint32_t sum, const void *data, size_t len);

#endif
