#include "netsetup/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static bool read_mac(const char *text, struct mac *out)
{
	for (size_t i = 0; i < sizeof(out->bytes); i++, text += 3) {
		char end = i + 1 < sizeof(out->bytes) ? ':' : '\0';
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
			text[2] != end)
			return false;
		out->bytes[i] = (uint8_t)strtoul(text, NULL, 16);
	}
	return true;
}

int mac_parse(const char *text, struct mac *out, struct err *err)
{
	static const struct mac none;
	struct mac mac;
	if (!read_mac(text, &mac))
		return err_set(err, ERR_USAGE,
			"'%s' is not a MAC address, such as 52:54:00:12:34:56", text);
	if (mac.bytes[0] & 1 || memcmp(&mac, &none, sizeof(none)) == 0)
		return err_set(err, ERR_USAGE,
			"'%s' is no MAC address that a guest may have: it is a group's, or empty",
			text);
	*out = mac;
	return 0;
}

const char *mac_text(const struct mac *mac, char out[MAC_TEXT])
{
	const uint8_t *b = mac->bytes;
	snprintf(
		out, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
	return out;
}

int prefix_parse(const char *text, struct prefix *out, struct err *err)
{
	const char *slash = strchr(text, '/');
	_cleanup_free_ char *address = xstrdup(text);
	uint64_t bits = 0;
	struct err why = ERR_INIT;
	struct prefix p = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
	if (slash)
		address[slash - text] = '\0';
	if (!slash || inet_pton(p.family, address, p.address) != 1 ||
		str_parse_u64(slash + 1, 0, p.family == AF_INET ? 32 : 128, "", &bits, &why) < 0)
		return err_set(err, ERR_USAGE,
			"'%s' is not an address with its network's bits, such as 10.0.0.1/24",
			text);
	p.bits = (unsigned)bits;
	*out = p;
	return 0;
}

const char *prefix_address_text(const struct prefix *p, char out[ADDRESS_TEXT])
{
	return inet_ntop(p->family, p->address, out, ADDRESS_TEXT);
}

const char *prefix_text(const struct prefix *p, char out[ADDRESS_TEXT + 4])
{
	prefix_address_text(p, out);
	snprintf(out + strlen(out), 5, "/%u", p->bits > 128 ? 128 : p->bits);
	return out;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	return memcmp(a, b, whole) == 0 && (!rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

bool prefix_has(const struct prefix *p, int family, const void *address)
{
	return p->family == family && same_bits(p->address, address, p->bits);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return a->family == b->family &&
	       same_bits(a->address, b->address, a->bits < b->bits ? a->bits : b->bits);
}

void address_eui64(const struct prefix *of, const struct mac *mac, uint8_t out[16])
{
	const uint8_t *b = mac->bytes;
	const uint8_t own[8] = {b[0] ^ 2, b[1], b[2], 0xff, 0xfe, b[3], b[4], b[5]};
	memcpy(out, of->address, 8);
	memcpy(out + 8, own, 8);
}
