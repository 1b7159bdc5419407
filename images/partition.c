#include "images/partition.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "base/crc32.h"
#include "base/mem.h"

enum {
	SECTOR = 512,
	SECTOR_LARGE = 4096,
	MBR_ENTRIES_AT = 446,
	MBR_ENTRY = 16,
	MBR_ENTRIES = 4,
	MBR_SIGNATURE_AT = 510,
	MBR_LOGICAL_FIRST = 5,
	MBR_LOGICAL_MAX = 100, /* Linux's: tables that are followed */
	TYPE_GPT = 0xee,
	GPT_CRC_AT = 16, /* in the header, as those that follow */
	GPT_OWN_PLACE_AT = 24,
	GPT_ENTRIES_AT = 72,
	GPT_COUNT_AT = 80,
	GPT_ENTRY_SIZE_AT = 84,
	GPT_ENTRIES_CRC_AT = 88,
	GPT_HEADER = 92,
	GPT_ENTRY = 128, /* at least; more is kept for later versions */
	GPT_NAME_AT = 56,
	GPT_NAME_UNITS = 36,
	GPT_ENTRIES_BYTES_MAX = 1 << 20,
};

struct disk {
	partition_read_fn *read;
	void *about;
	uint64_t size;
	uint64_t sector;
};

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

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
	uint64_t sectors = d->size / d->sector;
	if (!count || first >= sectors || count > sectors - first || p->count == PARTITIONS_MAX)
		return NULL;
	struct partition *new = &p->all[p->count++];
	*new = (struct partition){
		.number = number, .at = first * d->sector, .size = count * d->sector};
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

/* The boot sector of a file system is signed as well, but where the entries would be it has code. */
static bool is_table(const uint8_t sector[SECTOR])
{
	for (unsigned i = 0; i < MBR_ENTRIES; i++)
		if (mbr_entry(sector, i)[0] & 0x7f)
			return false;
	return is_signed(sector);
}

static void add_mbr(const struct disk *d, struct partitions *p, unsigned number, uint64_t from,
	const uint8_t *entry)
{
	struct partition *new = add(d, p, number, from + le32(entry + 8), le32(entry + 12));
	if (new)
		new->mbr_type = type_of(entry);
}

static bool seen_before(const uint64_t *all, size_t count, uint64_t at)
{
	for (size_t i = 0; i < count; i++)
		if (all[i] == at)
			return true;
	return false;
}

/*
 * Each logical one has a table of two: itself, from that table on, and the next table, from the first one on.
 * What is empty there gets no number.
 */
static int add_logical(const struct disk *d, struct partitions *p, uint64_t first, struct err *err)
{
	uint64_t tables[MBR_LOGICAL_MAX] = {0}, at = first;
	unsigned number = MBR_LOGICAL_FIRST;
	for (size_t i = 0; i < MBR_LOGICAL_MAX && !seen_before(tables, i, at); i++) {
		uint8_t sector[SECTOR];
		const uint8_t *next = NULL;
		tables[i] = at;
		int got = read_at(d, sector, at * SECTOR, SECTOR, err);
		if (got <= 0 || !is_signed(sector))
			return got < 0 ? -1 : 0;
		for (unsigned j = 0; j < 2; j++) {
			const uint8_t *entry = mbr_entry(sector, j);
			if (is_extended(type_of(entry)))
				next = next ? next : entry;
			else if (le32(entry + 12))
				add_mbr(d, p, number++, at, entry);
		}
		if (!next || !le32(next + 12))
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
		if (type_of(entry) && !is_extended(type_of(entry)))
			add_mbr(d, p, i + 1, 0, entry);
	}
	for (unsigned i = 0; i < MBR_ENTRIES; i++)
		if (is_extended(type_of(mbr_entry(sector, i))))
			return add_logical(d, p, le32(mbr_entry(sector, i) + 8), err);
	return 0;
}

/* ---- GPT ----------------------------------------------------------------------------------------------- */

static bool header_is_sound(const struct disk *d, uint8_t header[SECTOR], uint64_t at)
{
	uint32_t len = le32(header + 12), crc = le32(header + GPT_CRC_AT);
	if (memcmp(header, "EFI PART", 8) != 0 || len < GPT_HEADER || len > SECTOR ||
		le64(header + GPT_OWN_PLACE_AT) != at / d->sector)
		return false;
	memset(header + GPT_CRC_AT, 0, 4);
	return crc32_add(0, header, len) == crc;
}

static size_t put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | c >> 12);
	out[1] = (char)(0x80 | (c >> 6 & 0x3f));
	out[2] = (char)(0x80 | (c & 0x3f));
	return 3;
}

/* What is no character of the first plane becomes '?': it is told to people. */
static void take_name(char *out, const uint8_t *units)
{
	for (unsigned i = 0; i < GPT_NAME_UNITS && le16(units + 2 * i); i++) {
		unsigned c = le16(units + 2 * i);
		bool odd = c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xd800 && c < 0xe000);
		out += put_utf8(out, odd ? '?' : c);
	}
	*out = '\0';
}

static void add_entry(
	const struct disk *d, struct partitions *p, unsigned number, const uint8_t *entry)
{
	static const uint8_t unused[16];
	uint64_t first = le64(entry + 32), last = le64(entry + 40);
	if (memcmp(entry, unused, sizeof(unused)) == 0 || last < first)
		return;
	struct partition *new = add(d, p, number, first, last - first + 1);
	if (!new)
		return;
	memcpy(new->gpt_type, entry, sizeof(new->gpt_type));
	take_name(new->name, entry + GPT_NAME_AT);
}

/* The entries of a sound header; 0: they are not what was summed up. Read in parts, for there may be many. */
static int read_entries(
	const struct disk *d, struct partitions *p, const uint8_t *header, struct err *err)
{
	uint64_t first = le64(header + GPT_ENTRIES_AT);
	uint32_t count = le32(header + GPT_COUNT_AT), size = le32(header + GPT_ENTRY_SIZE_AT);
	uint8_t entry[SECTOR_LARGE];
	uint32_t crc = 0;
	if (size < GPT_ENTRY || size > sizeof(entry) || count > GPT_ENTRIES_BYTES_MAX / size ||
		first > d->size / d->sector)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		int got = read_at(d, entry, first * d->sector + (uint64_t)i * size, size, err);
		if (got <= 0)
			return got;
		crc = crc32_add(crc, entry, size);
		add_entry(d, p, i + 1, entry);
	}
	return crc == le32(header + GPT_ENTRIES_CRC_AT);
}

/* The table whose header is at this place: 1, 0: there is none, -1. */
static int read_gpt_at(const struct disk *d, struct partitions *p, uint64_t at, struct err *err)
{
	uint8_t header[SECTOR];
	int got = read_at(d, header, at, SECTOR, err);
	if (got <= 0 || !header_is_sound(d, header, at))
		return got < 0 ? -1 : 0;
	got = read_entries(d, p, header, err);
	if (got <= 0)
		p->count = 0;
	return got;
}

static int read_gpt(struct disk *d, struct partitions *p, struct err *err)
{
	static const uint64_t sectors[] = {SECTOR, SECTOR_LARGE};
	for (size_t backup = 0; backup < 2; backup++)
		for (size_t i = 0; i < ARRAY_SIZE(sectors); i++) {
			d->sector = sectors[i];
			uint64_t last = d->size / d->sector * d->sector - d->sector;
			int got = d->size < 2 * d->sector
					  ? 0
					  : read_gpt_at(d, p, backup ? last : d->sector, err);
			if (got != 0)
				return got < 0 ? -1 : 0;
		}
	return 0;
}

int partitions_read(partition_read_fn *read, void *about, uint64_t size, struct partitions *out,
	struct err *err)
{
	struct disk d = {read, about, size, SECTOR};
	uint8_t sector[SECTOR];
	*out = (struct partitions){.table = TABLE_NONE};
	int got = read_at(&d, sector, 0, SECTOR, err);
	if (got <= 0 || !is_table(sector))
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

/* ---- what they are for --------------------------------------------------------------------------------- */

static const struct {
	uint8_t mbr;
	const char *gpt; /* the bytes as they stand on the disk */
	const char *purpose;
} purposes[] = {
	{0x83, "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4", "Linux"},
	{0, "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09", "Linux root"},
	{0xef, "\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b", "EFI system"},
	{0, "Hah!IdontNeedEFI", "BIOS boot"},
	{0, "\xff\xc2\x13\xbc\xe6\x59\x62\x42\xa3\x52\xb2\x75\xfd\x6f\x71\x72", "Linux boot"},
	{0x82, "\x6d\xfd\x57\x06\xab\xa4\xc4\x43\x84\xe5\x09\x33\xc8\x4b\x4f\x4f", "Linux swap"},
	{0x8e, "\x79\xd3\xd6\xe6\x07\xf5\xc2\x44\xa2\x3c\x23\x8f\x2a\x3d\xf9\x28", "Linux LVM"},
	{0xfd, "\x0f\x88\x9d\xa1\xfc\x05\x3b\x4d\xa0\x06\x74\x3f\x0f\x84\x91\x1e", "Linux RAID"},
	{0x07, "\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44\x87\xc0\x68\xb6\xb7\x26\x99\xc7", "Windows data"},
	{0x0b, NULL, "FAT32"},
	{0x0c, NULL, "FAT32"},
	{0x06, NULL, "FAT16"},
	{0x0e, NULL, "FAT16"},
};

const char *partition_purpose(const struct partition *p, enum partition_table table)
{
	for (size_t i = 0; i < ARRAY_SIZE(purposes); i++)
		if (table == TABLE_GPT ? purposes[i].gpt && memcmp(p->gpt_type, purposes[i].gpt,
								    sizeof(p->gpt_type)) == 0
				       : p->mbr_type && purposes[i].mbr == p->mbr_type)
			return purposes[i].purpose;
	return NULL;
}
