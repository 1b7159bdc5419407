#include "images/crc32c.h"

enum { POLYNOMIAL_BITS = 8, BYTES = 256 };
#define POLYNOMIAL 0x82F63B78U /* reflected */

static uint32_t of_byte(uint32_t byte)
{
	for (int i = 0; i < POLYNOMIAL_BITS; i++)
		byte = byte & 1 ? byte >> 1 ^ POLYNOMIAL : byte >> 1;
	return byte;
}

uint32_t crc32c(uint32_t sum, const void *data, size_t len)
{
	static uint32_t table[BYTES];
	for (uint32_t i = 0; !table[BYTES - 1] && i < BYTES; i++)
		table[i] = of_byte(i);
	for (const uint8_t *p = data, *end = p + len; p < end; p++)
		sum = sum >> 8 ^ table[(sum ^ *p) & 0xff];
	return sum;
}
