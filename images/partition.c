#include "images/partition.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

enum {
	SECTOR = 512,
	MBR_ENTRIES_AT = 446,
	MBR_ENTRY = 16,
	MBR_ENTRIES = 4,
	MBR_SIGNATURE_AT = 510,
	MBR_LOGICAL_FIRST = 5,
	TYPE_GPT = 0xee,
	GPT_ENTRIES_AT = 72, /* in the header, as those that follow */
	GPT_COUNT_AT = 80,
	GPT_ENTRY_SIZE_AT = 84,
	GPT_ENTRY = 128, /* at least; more is kept for later versions */
	GPT_ENTRY_MAX = 4096,
};

struct disk {
	partition_read_fn *read;
	void *about;
	uint64_t size;
};

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* 0: the disk ends before. */
static int read_at(const struct disk *d, void *data, uint64_t at, size_t len, struct err *err)
{
	if (at > d->size || len > d->size - at)
		return 0;
	return d->read(d->about, data, at, len, err) < 0 ? -1 : 1;
}

static struct partition *add(
	const struct disk *d, struct partitions *p, unsigned number, uint64_t first, uint64_t count)
{
	uint64_t sectors = d->size / SECTOR;
	if (!count || first >= sectors || count > sectors - first || p->count == PARTITIONS_MAX)
		return NULL;
	struct partition *new = &p->all[p->count++];
	*new = (struct partition){number, first * SECTOR, count * SECTOR, 0, {0}};
	return new;
}

/* ---- MBR ----------------------------------------------------------------------------------------------- */

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static bool is_signed(const uint8_t sector[SECTOR])
{
	return sector[MBR_SIGNATURE_AT] == 0x55 && sector[MBR_SIGNATURE_AT + 1] == 0xaa;
}

static const uint8_t *mbr_entry(const uint8_t sector[SECTOR], unsigned i)
{
	return sector + MBR_ENTRIES_AT + i * MBR_ENTRY;
}

static uint8_t type_of(const uint8_t *entry)
{
	return entry[4];
}

/* Each logical one has a table of two: itself, from that table on, and the next, from the first table on. */
static int add_logical(const struct disk *d, struct partitions *p, uint64_t first, struct err *err)
{
	uint64_t at = first;
	for (unsigned number = MBR_LOGICAL_FIRST; number < PARTITIONS_MAX; number++) {
		uint8_t sector[SECTOR];
		int got = read_at(d, sector, at * SECTOR, SECTOR, err);
		if (got <= 0 || !is_signed(sector))
			return got < 0 ? -1 : 0;
		const uint8_t *own = mbr_entry(sector, 0), *next = mbr_entry(sector, 1);
		struct partition *new = add(d, p, number, at + le32(own + 8), le32(own + 12));
		if (new)
			new->mbr_type = type_of(own);
		if (!is_extended(type_of(next)))
			return 0;
		at = first + le32(next + 8);
	}
	return 0;
}

static int read_mbr(
	const struct disk *d, struct partitions *p, const uint8_t sector[SECTOR], struct err *err)
{
	for (unsigned i = 0; i < MBR_ENTRIES; i++) {
		const uint8_t *entry = mbr_entry(sector, i);
		if (!type_of(entry) || is_extended(type_of(entry)))
			continue;
		struct partition *new = add(d, p, i + 1, le32(entry + 8), le32(entry + 12));
		if (new)
			new->mbr_type = type_of(entry);
	}
	for (unsigned i = 0; i < MBR_ENTRIES; i++)
		if (is_extended(type_of(mbr_entry(sector, i))))
			return add_logical(d, p, le32(mbr_entry(sector, i) + 8), err);
	return 0;
}

/* ---- GPT ----------------------------------------------------------------------------------------------- */

static int add_entries(
	const struct disk *d, struct partitions *p, const uint8_t *header, struct err *err)
{
	static const uint8_t unused[16];
	uint64_t at = le64(header + GPT_ENTRIES_AT);
	uint32_t count = le32(header + GPT_COUNT_AT), size = le32(header + GPT_ENTRY_SIZE_AT);
	if (size < GPT_ENTRY || size > GPT_ENTRY_MAX || at > d->size / SECTOR)
		return 0;
	for (uint32_t i = 0; i < count && i < PARTITIONS_MAX; i++) {
		uint8_t entry[GPT_ENTRY];
		int got = read_at(d, entry, at * SECTOR + (uint64_t)i * size, GPT_ENTRY, err);
		if (got <= 0)
			return got;
		uint64_t first = le64(entry + 32), last = le64(entry + 40);
		if (memcmp(entry, unused, sizeof(unused)) == 0 || last < first)
			continue;
		struct partition *new = add(d, p, i + 1, first, last - first + 1);
		if (new)
			memcpy(new->gpt_type, entry, sizeof(new->gpt_type));
	}
	return 0;
}

/* The first header, or the one at the disk's end. */
static int read_gpt(const struct disk *d, struct partitions *p, struct err *err)
{
	const uint64_t places[] = {SECTOR, d->size / SECTOR * SECTOR - SECTOR};
	for (size_t i = 0; i < 2; i++) {
		uint8_t header[SECTOR];
		int got = read_at(d, header, places[i], SECTOR, err);
		if (got < 0)
			return -1;
		if (got && memcmp(header, "EFI PART", 8) == 0)
			return add_entries(d, p, header, err);
	}
	return 0;
}

int partitions_read(partition_read_fn *read, void *about, uint64_t size, struct partitions *out,
	struct err *err)
{
	const struct disk d = {read, about, size};
	uint8_t sector[SECTOR];
	*out = (struct partitions){.table = TABLE_NONE};
	int got = read_at(&d, sector, 0, SECTOR, err);
	if (got <= 0 || !is_signed(sector))
		return got < 0 ? -1 : 0;
	for (unsigned i = 0; i < MBR_ENTRIES; i++)
		if (type_of(mbr_entry(sector, i)) == TYPE_GPT)
			out->table = TABLE_GPT;
	int result =
		out->table == TABLE_GPT ? read_gpt(&d, out, err) : read_mbr(&d, out, sector, err);
	if (result == 0 && out->table == TABLE_NONE && out->count)
		out->table = TABLE_MBR;
	return result;
}
