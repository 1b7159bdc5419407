/* What a guest is known by: drawn from the kernel's random numbers. */
#include "orchestrator/definition.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static void draw(unsigned char *out, size_t len)
{
	/* so few bytes come whole, and cannot fail once the kernel has started up */
	if (getrandom(out, len, 0) != (ssize_t)len)
		abort();
}

void uuid_new(char out[37])
{
	unsigned char b[16];
	draw(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); /* version 4, RFC 4122 */
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		b[13], b[14], b[15]);
}

void mac_new(char out[18])
{
	unsigned char b[3];
	draw(b, sizeof(b));
	snprintf(out, 18, "52:54:00:%02x:%02x:%02x", b[0], b[1], b[2]);
}

void id_new(char out[13])
{
	unsigned char b[6];
	draw(b, sizeof(b));
	snprintf(out, 13, "%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
}
