#include "images/tar.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { MEMBERS_MAX = 4096, EXTENDED_MAX = 1 << 20 };
static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a header is a block");

/* ---- writing ---------------------------------------------------------------------------------------- */

static void set(char *field, size_t room, const char *text)
{
	size_t len = strlen(text);
	memcpy(field, text, len < room ? len : room);
}

/* Octal digits, or where these do not do GNU's base 256: big-endian, after a byte 0x80. */
static void set_size(char field[12], uint64_t size)
{
	if (size < 1ULL << 33) {
		snprintf(field, 12, "%011llo", (unsigned long long)size);
		return;
	}
	memset(field, 0, 12);
	field[0] = (char)0x80;
	for (size_t i = 0; i < sizeof(size); i++)
		field[11 - i] = (char)(size >> (8 * i));
}

static unsigned sum_of(const struct tar_header *h)
{
	struct tar_header blank = *h;
	unsigned sum = 0;
	memset(blank.checksum, ' ', sizeof(blank.checksum));
	for (size_t i = 0; i < sizeof(blank); i++)
		sum += ((const unsigned char *)&blank)[i];
	return sum;
}

void tar_header_seal(struct tar_header *h)
{
	snprintf(h->checksum, sizeof(h->checksum), "%06o", sum_of(h));
	h->checksum[7] = ' ';
}

void tar_header_make(
	struct tar_header *h, char type, const char *name, unsigned mode, uint64_t size)
{
	*h = (struct tar_header){
		.type = type, .uid = "0000000", .gid = "0000000", .magic = "ustar"};
	memset(h->version, '0', sizeof(h->version));
	set(h->name, sizeof(h->name), name);
	snprintf(h->mode, sizeof(h->mode), "%07o", mode & 07777);
	set_size(h->size, size);
	snprintf(h->mtime, sizeof(h->mtime), "%011llo",
		(unsigned long long)time(NULL) & 077777777777);
	tar_header_seal(h);
}

void tar_padded_header(
	unsigned char *out, uint32_t room, const char *name, unsigned mode, uint64_t size)
{
	uint32_t records = room - 2 * TAR_BLOCK;
	struct tar_header h;
	char text[40], length[40];
	memset(out, 'x', room);
	tar_header_make(&h, 'x', name, mode, records);
	memcpy(out, &h, sizeof(h));
	/* a record is "LENGTH KEY=VALUE\n", with a length that counts itself: two digits do here */
	int len = snprintf(text, sizeof(text), " size=%llu\n", (unsigned long long)size) + 2;
	int put = snprintf((char *)out + TAR_BLOCK, 48, "%d%s", len, text);
	snprintf(length, sizeof(length), "%u comment=", (unsigned)(records - (uint32_t)put));
	memcpy(out + TAR_BLOCK + put, length, strlen(length));
	out[TAR_BLOCK + records - 1] = '\n';
	tar_header_make(&h, '0', name, mode, size);
	memcpy(out + room - TAR_BLOCK, &h, sizeof(h));
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* What an extended header tells of the next member. */
struct extended {
	char name[TAR_NAME_MAX + 1];
	bool has_name, has_size;
	uint64_t size;
};

static int damaged(uint64_t at, const char *what, struct err *err)
{
	return err_set(err, ERR_REFUSED, "at byte %llu of it %s", (unsigned long long)at, what);
}

static uint64_t octal(const char *field, size_t len, bool *good)
{
	uint64_t n = 0;
	size_t i = 0;
	while (i < len && field[i] == ' ')
		i++;
	for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
		n = n << 3 | (uint64_t)(field[i] - '0');
	*good = *good && (i == len || field[i] == '\0' || field[i] == ' ');
	return n;
}

/* At most 12 octal digits have 36 bits; of base 256, what would need more than 62 is no size. */
static uint64_t size_field(const char field[12], bool *good)
{
	const unsigned char *bytes = (const unsigned char *)field;
	uint64_t n = 0;
	if (bytes[0] != 0x80)
		return octal(field, 12, good);
	for (size_t i = 1; i < 12; i++) {
		*good = *good && n < 1ULL << 54;
		n = n << 8 | bytes[i];
	}
	return n;
}

static void set_name(char out[TAR_NAME_MAX + 1], const char *name, size_t len)
{
	while (len > 1 && name[0] == '.' && name[1] == '/') {
		name += 2;
		len -= 2;
	}
	snprintf(out, TAR_NAME_MAX + 1, "%.*s",
		(int)(len < TAR_NAME_MAX ? strnlen(name, len) : TAR_NAME_MAX), name);
}

static void header_name(const struct tar_header *h, char out[TAR_NAME_MAX + 1])
{
	char whole[sizeof(h->prefix) + sizeof(h->name) + 2];
	bool has_prefix = memcmp(h->magic, "ustar", 6) == 0 && h->prefix[0];
	int len = snprintf(whole, sizeof(whole), "%.*s%s%.*s",
		has_prefix ? (int)sizeof(h->prefix) : 0, h->prefix, has_prefix ? "/" : "",
		(int)sizeof(h->name), h->name);
	set_name(out, whole, (size_t)len);
}

/* One record's value. */
static int take_record(struct extended *x, const char *key, size_t key_len, const char *value,
	size_t len, uint64_t at, struct err *err)
{
	if (key_len == 4 && memcmp(key, "path", 4) == 0) {
		set_name(x->name, value, len);
		x->has_name = true;
	} else if (key_len == 4 && memcmp(key, "size", 4) == 0) {
		char digits[24] = "";
		struct err ignored = ERR_INIT;
		snprintf(digits, sizeof(digits), "%.*s", (int)(len < 23 ? len : 23), value);
		if (str_parse_u64(digits, 0, INT64_MAX / 2, "size", &x->size, &ignored) < 0)
			return damaged(at, "a size is none", err);
		x->has_size = true;
	} else if (key_len >= 10 && memcmp(key, "GNU.sparse", 10) == 0) {
		return damaged(at, "a file is packed as a sparse one", err);
	}
	return 0;
}

/* "LENGTH KEY=VALUE\n", one after the other. */
static int take_records(
	struct extended *x, const char *text, size_t len, uint64_t at, struct err *err)
{
	while (len) {
		char *after;
		size_t whole = strtoul(text, &after, 10); /* the text is terminated */
		const char *end = text + (whole <= len ? whole : 0), *key = after + 1;
		const char *equals = *text >= '0' && *text <= '9' && *after == ' ' && end > key &&
						     end[-1] == '\n'
					     ? memchr(key, '=', (size_t)(end - key))
					     : NULL;
		if (!equals)
			return damaged(at, "an extended header is damaged", err);
		if (take_record(x, key, (size_t)(equals - key), equals + 1,
			    (size_t)(end - equals) - 2, at, err) < 0)
			return -1;
		text = end;
		len -= whole;
	}
	return 0;
}

static int read_text(int fd, uint64_t at, uint64_t size, struct buf *out, struct err *err)
{
	if (size > EXTENDED_MAX)
		return damaged(at, "an extended header is too large", err);
	buf_reserve(out, (size_t)size + 1);
	if (pread(fd, out->data, (size_t)size, (off_t)at) != (ssize_t)size)
		return damaged(at, "it cannot be read", err);
	out->len = (size_t)size;
	out->data[size] = '\0';
	return 0;
}

/* 1: it was an extended header, and is taken; 0: it is none. */
static int take_extended(const struct tar_reader *r, const struct tar_header *h, uint64_t at,
	uint64_t size, struct extended *x, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (h->type == 'g' || h->type == 'K') /* of all files; the name that a link leads to */
		return 1;
	if (h->type != 'x' && h->type != 'L')
		return 0;
	if (read_text(r->fd, at, size, &text, err) < 0)
		return -1;
	if (h->type == 'x')
		return take_records(x, text.data, text.len, at, err) < 0 ? -1 : 1;
	set_name(x->name, text.data, text.len);
	x->has_name = true;
	return 1;
}

/* 1: a header; 0: the end of the archive. */
static int read_header(
	const struct tar_reader *r, uint64_t file_size, struct tar_header *h, struct err *err)
{
	static const struct tar_header zeros;
	bool good = true;
	ssize_t n = pread(r->fd, h, sizeof(*h), (off_t)r->next);
	if (n < 0)
		return err_errno(err, "it cannot be read");
	if (n != sizeof(*h))
		return err_set(err, ERR_REFUSED, "it is cut off: it ends after %llu bytes",
			(unsigned long long)file_size);
	if (memcmp(h, &zeros, sizeof(zeros)) == 0)
		return 0;
	uint64_t sum = octal(h->checksum, sizeof(h->checksum), &good);
	if (memcmp(h->magic, "ustar", 5) != 0 || !good || sum != sum_of(h))
		return damaged(r->next, "there is no header", err);
	return 1;
}

static void fill(const struct tar_header *h, const struct extended *x, uint64_t at, uint64_t size,
	struct tar_member *out)
{
	*out = (struct tar_member){.folder = h->type == '5',
		.file = h->type == '0' || h->type == '\0' || h->type == '7',
		.at = at,
		.size = size};
	if (x->has_name)
		memcpy(out->name, x->name, sizeof(out->name));
	else
		header_name(h, out->name);
}

int tar_next(struct tar_reader *r, struct tar_member *out, struct err *err)
{
	struct extended x = {0};
	struct tar_header h;
	struct stat st;
	int got;
	if (fstat(r->fd, &st) < 0)
		return err_errno(err, "it cannot be read");
	uint64_t file_size = (uint64_t)st.st_size;
	while ((got = read_header(r, file_size, &h, err)) > 0) {
		bool good = true;
		uint64_t at = r->next + TAR_BLOCK, size = size_field(h.size, &good);
		if (x.has_size && h.type != 'g' && h.type != 'x' && h.type != 'L' && h.type != 'K')
			size = x.size;
		if (r->count++ == MEMBERS_MAX)
			return err_set(err, ERR_REFUSED, "it has more than %d parts", MEMBERS_MAX);
		if (h.type == 'S')
			return damaged(r->next, "a file is packed as a sparse one", err);
		if (!good || size > INT64_MAX / 2)
			return damaged(r->next, "a size is none", err);
		if (at > file_size || size > file_size - at)
			return err_set(err, ERR_REFUSED,
				"it is cut off: what begins at byte %llu does not end in it",
				(unsigned long long)at);
		r->next = at + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
		int extended = take_extended(r, &h, at, size, &x, err);
		if (extended < 0)
			return -1;
		if (!extended) {
			fill(&h, &x, at, size, out);
			return 1;
		}
	}
	return got;
}

bool tar_probe(int fd)
{
	struct tar_header h;
	return pread(fd, &h, sizeof(h), 0) == sizeof(h) && memcmp(h.magic, "ustar", 5) == 0;
}
