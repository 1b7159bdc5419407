#include "base/crc32.h"

#include <endian.h>
#include <string.h>

static uint32_t tables[8][256];

static void prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? 0xedb88320U ^ c >> 1 : c >> 1;
		tables[0][i] = c;
	}
	for (int t = 1; t < 8; t++)
		for (int i = 0; i < 256; i++)
			tables[t][i] = tables[0][tables[t - 1][i] & 255] ^ tables[t - 1][i] >> 8;
}

uint32_t crc32_add(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *p = data;
	if (!tables[0][1])
		prepare();
	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low, high;
		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low = crc ^ le32toh(low);
		high = le32toh(high);
		crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^
		      tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^ tables[3][high & 255] ^
		      tables[2][high >> 8 & 255] ^ tables[1][high >> 16 & 255] ^
		      tables[0][high >> 24];
	}
	for (; len; p++, len--)
		crc = tables[0][(crc ^ *p) & 255] ^ crc >> 8;
	return ~crc;
}
