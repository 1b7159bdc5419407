/*
 * One file's digest out of what its publisher puts beside it: SHA256SUMS, SHA512SUMS, CHECKSUM,
 * FILE.sha256. Understood are the lines of coreutils ("HEX  FILE", "HEX *FILE"), those of BSD
 * ("SHA256 (FILE) = HEX") and a bare HEX; lines of other kinds, and the armour of a PGP signature
 * around or after them, are passed over. The signature itself is not checked.
 */
#ifndef IMAGES_CHECKSUMS_H
#define IMAGES_CHECKSUMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* "sha512:HEX" with its NUL. */
#define CHECKSUM_SIZE (sizeof("sha512:") + 128)

/*
 * Writes "sha256:HEX" or "sha512:HEX", in lower case; of both the longer one. `own`: the text is
 * about that file alone, by its own name (FILE.sha256); then its only digest counts, whatever name
 * stands beside it. ERR_NOT_FOUND: none; ERR_REFUSED: two that differ.
 */
int checksums_find(const char *text, size_t len, const char *file, bool own,
	char out[CHECKSUM_SIZE], struct err *err);

#endif
