/*
 * A publisher's list of digests. The first byte says whether it is about our file alone; what is
 * found must be a whole digest that stands in the text.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "images/checksums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool stands_in(const char *text, size_t len, const char *hex)
{
	size_t hex_len = strlen(hex);
	for (size_t i = 0; i + hex_len <= len; i++)
		if (strncasecmp(text + i, hex, hex_len) == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	char digest[CHECKSUM_SIZE];
	if (size < 1)
		return 0;
	const char *text = (const char *)data + 1;
	if (checksums_find(text, size - 1, "a.img", data[0] & 1, digest, &err) < 0) {
		if (err.kind != ERR_NOT_FOUND && err.kind != ERR_REFUSED)
			abort();
		return 0;
	}
	size_t hex_len = str_starts(digest, "sha256:")   ? 64
			 : str_starts(digest, "sha512:") ? 128
							 : 0;
	if (!hex_len || strlen(digest + 7) != hex_len || !stands_in(text, size - 1, digest + 7))
		abort();
	return 0;
}
