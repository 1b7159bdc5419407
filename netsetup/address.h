/*
 * Addresses as bytes: of Ethernet, IPv4 and IPv6, and their text.
 */
#ifndef NETSETUP_ADDRESS_H
#define NETSETUP_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct mac {
	uint8_t bytes[6];
};

/* "52:54:00:12:34:56" in either case. ERR_USAGE also for one that no guest may have: a group's, or all zeroes. */
int mac_parse(const char *text, struct mac *out, struct err *err);
enum { MAC_TEXT = sizeof("52:54:00:12:34:56"), ADDRESS_TEXT = INET6_ADDRSTRLEN };
const char *mac_text(const struct mac *mac, char out[MAC_TEXT]);

/* A network of IPv4 or of IPv6. */
struct prefix {
	int family; /* AF_INET, AF_INET6 */
	uint8_t address
		[16]; /* in network order, of IPv4 the first four; bits beyond `bits` are kept */
	unsigned bits;
};

/* "10.0.0.1/24" or "fd00::1/64". */
int prefix_parse(const char *text, struct prefix *out, struct err *err);
const char *prefix_text(const struct prefix *p, char out[ADDRESS_TEXT + 4]);
/* Without "/bits". */
const char *prefix_address_text(const struct prefix *p, char out[ADDRESS_TEXT]);
/* Does an address, in network order, lie in it? */
bool prefix_has(const struct prefix *p, int family, const void *address);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);

/* The address that a guest with this MAC gives itself in a /64 (RFC 4291, appendix A: modified EUI-64). */
void address_eui64(const struct prefix *of, const struct mac *mac, uint8_t out[16]);

#endif
