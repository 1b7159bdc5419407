/*
 * The LUKS header inside an encrypted image, which the extension "Full disk encryption header pointer" leads to. It is
 * that of a LUKS partition, as the "LUKS1 On-Disk Format Specification" has it, section 2.4 "PHDR layout".
 */
#include "images/qcow2_crypt.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "images/qcow2_format.h"

enum { SECTOR = 512, SLOTS = 8 };
#define SLOT_ACTIVE   0x00ac71f3U
#define SLOT_INACTIVE 0x0000deadU

struct luks_slot {
	uint32_t state, iterations;
	uint8_t salt[32];
	uint32_t key_offset, stripes; /* in sectors; how often the key is split */
};
struct luks_header {
	char magic[6];
	uint8_t version[2];
	char cipher[32], mode[32], hash[32];
	uint32_t payload_offset, key_bytes;
	uint8_t digest[20], salt[32];
	uint32_t iterations;
	char uuid[40];
	struct luks_slot slots[SLOTS];
};
static_assert(sizeof(struct luks_header) == 592, "as the format has it");

static int bad(struct err *err, const char *why)
{
	return err_set(err, ERR_USAGE, "qcow2: the LUKS header: %s", why);
}

static bool is_text(const char *field, size_t room)
{
	return field[0] && memchr(field, '\0', room);
}

static int read_header(
	int fd, const struct qcow2_info *info, struct luks_header *h, struct err *err)
{
	if (info->crypt_size < sizeof(*h))
		return bad(err, "there is none, or it is too short");
	ssize_t n = pread(fd, h, sizeof(*h), (off_t)info->crypt_offset);
	if (n < 0)
		return err_errno(err, "cannot read the LUKS header");
	if ((size_t)n != sizeof(*h))
		return bad(err, "it lies beyond the end of the file");
	if (memcmp(h->magic, "LUKS\xba\xbe", sizeof(h->magic)) != 0)
		return bad(err, "its magic is not there");
	if (h->version[0] != 0 || h->version[1] != 1)
		return bad(err, "it is not of version 1");
	if (!is_text(h->cipher, sizeof(h->cipher)) || !is_text(h->mode, sizeof(h->mode)) ||
		!is_text(h->hash, sizeof(h->hash)) || !is_text(h->uuid, sizeof(h->uuid)))
		return bad(err, "a name has no end");
	return 0;
}

static json_t *text_json(const char *text)
{
	return json_text(text, strlen(text));
}

/* "xts-plain64" or "cbc-essiv:sha256": the mode, how initial vectors are made, and by which hash. */
static int add_mode(json_t *o, const struct luks_header *h, struct err *err)
{
	_cleanup_free_ char *mode = xstrdup(h->mode);
	char *vector = strchr(mode, '-');
	if (!vector)
		return bad(err, "its mode names no way to initial vectors");
	*vector++ = '\0';
	char *hash = strchr(vector, ':');
	if (hash)
		*hash++ = '\0';
	uint32_t bits = be32toh(h->key_bytes) * 8 / (str_eq(mode, "xts") ? 2 : 1);
	_cleanup_free_ char *cipher = str_fmt("%s-%" PRIu32, h->cipher, bits);
	json_object_set_new(o, "ivgen-alg", text_json(vector));
	json_object_set_new(o, "hash-alg", text_json(h->hash));
	json_object_set_new(o, "cipher-alg", text_json(cipher));
	json_object_set_new(o, "uuid", text_json(h->uuid));
	if (hash)
		json_object_set_new(o, "ivgen-hash-alg", text_json(hash));
	json_object_set_new(o, "format", json_string("luks"));
	json_object_set_new(o, "cipher-mode", text_json(mode));
	return 0;
}

static json_int_t bytes(uint32_t sectors)
{
	return (json_int_t)be32toh(sectors) * SECTOR;
}

static int add_slots(json_t *o, const struct luks_header *h, struct err *err)
{
	json_t *slots = json_array();
	json_object_set_new(o, "slots", slots);
	for (size_t i = 0; i < SLOTS; i++) {
		const struct luks_slot *s = &h->slots[i];
		uint32_t state = be32toh(s->state);
		if (state == SLOT_ACTIVE)
			json_array_append_new(
				slots, json_pack("{s:b, s:I, s:I, s:I}", "active", 1, "iters",
					       (json_int_t)be32toh(s->iterations), "key-offset",
					       bytes(s->key_offset), "stripes",
					       (json_int_t)be32toh(s->stripes)));
		else if (state == SLOT_INACTIVE)
			json_array_append_new(slots, json_pack("{s:b, s:I}", "active", 0,
							     "key-offset", bytes(s->key_offset)));
		else
			return bad(err, "a key slot is neither active nor inactive");
	}
	return 0;
}

json_t *qcow2_encrypt(int fd, const struct qcow2_info *info, struct err *err)
{
	struct luks_header h;
	if (info->crypt_method != QCOW2_CRYPT_LUKS)
		return json_pack("{s:s}", "format", "aes");
	_cleanup_json_ json_t *o = json_object();
	if (read_header(fd, info, &h, err) < 0 || add_mode(o, &h, err) < 0 ||
		add_slots(o, &h, err) < 0)
		return NULL;
	json_object_set_new(o, "payload-offset", json_integer(bytes(h.payload_offset)));
	json_object_set_new(o, "master-key-iters", json_integer((json_int_t)be32toh(h.iterations)));
	return TAKE(o);
}
