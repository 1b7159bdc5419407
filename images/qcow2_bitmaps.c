/*
 * The bitmap directory, section "Bitmap directory" of the format: entry after entry of varying length, which
 * fill it just so; each is read with two bounded preads. What the bitmaps hold nobody reads here.
 */
#include "images/qcow2_bitmaps.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <unistd.h>

#include "images/qcow2_format.h"

enum {
	/* QEMU's limits */
	TABLE_ENTRIES_MAX = 0x8000000,
	NAME_MAX_BYTES = 1023,
	GRANULARITY_BITS_MIN = 9,
	GRANULARITY_BITS_MAX = 31,
	/* ours: QEMU's 64 MiB would be a million of them */
	DIRECTORY_BYTES_MAX = 4 << 20,
	DIRTY_TRACKING = 1,
};
#define BITMAP_BYTES_MAX (512ULL << 20)
#define FLAG_IN_USE      1U
#define FLAG_AUTO        2U
#define FLAGS_KNOWN      3U

struct entry {
	uint64_t table_offset;
	uint32_t table_entries;
	uint32_t flags;
	uint8_t type, granularity_bits;
	uint16_t name_size;
	uint32_t extra_size;
};
static_assert(sizeof(struct entry) == 24, "an entry's fixed part");

static int bad(struct err *err, uint32_t number, const char *why)
{
	return err_set(err, ERR_USAGE, "qcow2: bitmap %" PRIu32 ": %s", number, why);
}

static int read_exactly(int fd, void *out, size_t len, uint64_t offset, struct err *err)
{
	ssize_t n = pread(fd, out, len, (off_t)offset);
	if (n < 0)
		return err_errno(err, "cannot read the bitmap directory");
	return (size_t)n == len ? 0
				: err_set(err, ERR_USAGE,
					  "qcow2: the bitmap directory is cut off at %" PRIu64,
					  offset + (uint64_t)n);
}

static void to_host(struct entry *e)
{
	e->table_offset = be64toh(e->table_offset);
	e->table_entries = be32toh(e->table_entries);
	e->flags = be32toh(e->flags);
	e->name_size = be16toh(e->name_size);
	e->extra_size = be32toh(e->extra_size);
}

/* As QEMU does before it opens the image. */
static int check(const struct entry *e, const struct qcow2_info *info, uint32_t i, struct err *err)
{
	uint64_t bytes = (uint64_t)e->table_entries << info->cluster_bits;
	if (e->type != DIRTY_TRACKING)
		return bad(err, i, "its type is unknown");
	if (e->flags & ~FLAGS_KNOWN)
		return bad(err, i, "it has unknown flags");
	if (e->extra_size)
		return bad(err, i, "it has extra data, which is unknown");
	if (e->granularity_bits < GRANULARITY_BITS_MIN ||
		e->granularity_bits > GRANULARITY_BITS_MAX)
		return bad(err, i, "its granularity is not 512 bytes to 2 GiB");
	if (!e->name_size || e->name_size > NAME_MAX_BYTES)
		return bad(err, i, "its name has not 1 to 1023 bytes");
	if (!e->table_offset || e->table_offset % (1ULL << info->cluster_bits) ||
		e->table_offset > info->file_size)
		return bad(err, i, "its table is at no place in the file");
	if (!e->table_entries || e->table_entries > TABLE_ENTRIES_MAX || bytes > BITMAP_BYTES_MAX)
		return bad(err, i, "its table has no size that a bitmap can have");
	if (!(e->flags & FLAG_IN_USE) && info->virtual_size > (bytes * 8) << e->granularity_bits)
		return bad(err, i, "it is too small for the image");
	return 0;
}

static json_t *entry_json(const struct entry *e, const char *name)
{
	json_t *flags = json_array();
	if (e->flags & FLAG_IN_USE)
		json_array_append_new(flags, json_string("in-use"));
	if (e->flags & FLAG_AUTO)
		json_array_append_new(flags, json_string("auto"));
	return json_pack("{s:o, s:o, s:I}", "flags", flags, "name", json_text(name, e->name_size),
		"granularity", (json_int_t)1 << e->granularity_bits);
}

/* One entry at *at, which is moved behind it. */
static json_t *read_entry(
	int fd, const struct qcow2_info *info, uint32_t i, uint64_t *at, struct err *err)
{
	struct entry e;
	char name[NAME_MAX_BYTES];
	uint64_t end = info->bitmaps_offset + info->bitmaps_size;
	if (end - *at < sizeof(e)) {
		bad(err, i, "it does not end within the directory");
		return NULL;
	}
	if (read_exactly(fd, &e, sizeof(e), *at, err) < 0)
		return NULL;
	to_host(&e);
	if (check(&e, info, i, err) < 0)
		return NULL;
	uint64_t size = (sizeof(e) + e.name_size + 7) & ~7ULL;
	if (end - *at < size) {
		bad(err, i, "it does not end within the directory");
		return NULL;
	}
	if (read_exactly(fd, name, e.name_size, *at + sizeof(e), err) < 0)
		return NULL;
	*at += size;
	return entry_json(&e, name);
}

json_t *qcow2_bitmaps(int fd, const struct qcow2_info *info, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	uint64_t at = info->bitmaps_offset;
	if (info->bitmaps_size > DIRECTORY_BYTES_MAX) {
		err_set(err, ERR_USAGE, "qcow2: a bitmap directory of over 4 MiB");
		return NULL;
	}
	for (uint32_t i = 0; i < info->bitmaps; i++) {
		json_t *o = read_entry(fd, info, i, &at, err);
		if (!o)
			return NULL;
		json_array_append_new(list, o);
	}
	if (at != info->bitmaps_offset + info->bitmaps_size) {
		err_set(err, ERR_USAGE, "qcow2: there are more bitmaps than the header tells");
		return NULL;
	}
	return TAKE(list);
}
