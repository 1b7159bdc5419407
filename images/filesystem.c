#include "images/filesystem.h"

#include <stdio.h>

#include "base/mem.h"
#include "images/filesystem_kinds.h"

int part_read(const struct part *p, void *data, uint64_t offset, size_t len, struct err *err)
{
	if (offset > p->size || len > p->size - offset)
		return 0;
	return p->read(p->about, data, p->at + offset, len, err) < 0 ? -1 : 1;
}

void label_take(struct filesystem *f, const uint8_t *from, size_t len)
{
	size_t n = 0;
	for (; n < len && n + 1 < sizeof(f->label) && from[n]; n++)
		f->label[n] = from[n] < 0x20 || from[n] >= 0x7f ? '?' : (char)from[n];
	while (n && f->label[n - 1] == ' ')
		n--;
	f->label[n] = '\0';
}

void uuid_take(struct filesystem *f, const uint8_t from[16])
{
	char *p = f->uuid;
	for (int i = 0; i < 16; i++)
		p += snprintf(
			p, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", from[i]);
}

/* Linux's Documentation/filesystems/xfs and xfs_fs_statfs(). */
static int xfs_look(const struct part *p, struct filesystem *f, struct err *err)
{
	uint8_t s[512];
	int got = part_read(p, s, 0, sizeof(s), err);
	if (got <= 0 || memcmp(s, "XFSB", 4) != 0)
		return got < 0 ? -1 : 0;
	uint64_t block = be32_at(s + 4), blocks = be64_at(s + 8);
	uint64_t log = be64_at(s + 48) ? be32_at(s + 96) : 0, unused = be64_at(s + 144);
	if (block < 512 || block > 65536 || blocks > INT64_MAX / 65536 || log > blocks ||
		unused > blocks - log)
		return 0;
	*f = (struct filesystem){.type = "xfs", .block = block};
	label_take(f, s + 108, 12);
	uuid_take(f, s + 32);
	f->has_total = f->has_used = f->approximate = true;
	f->total = (blocks - log) * block;
	f->used = (blocks - log - unused) * block;
	f->available = unused * block;
	return 1;
}

/* https://btrfs.readthedocs.io, "On-disk format": what copies and chunks make of free space it does not tell. */
static int btrfs_look(const struct part *p, struct filesystem *f, struct err *err)
{
	uint8_t s[0x12b + 256];
	int got = part_read(p, s, 65536, sizeof(s), err);
	if (got <= 0 || memcmp(s + 0x40, "_BHRfS_M", 8) != 0)
		return got < 0 ? -1 : 0;
	uint64_t total = le64_at(s + 0x70), used = le64_at(s + 0x78);
	if (used > total || total > INT64_MAX)
		return 0;
	*f = (struct filesystem){.type = "btrfs", .block = le32_at(s + 0x90)};
	label_take(f, s + 0x12b, 256);
	uuid_take(f, s + 0x20);
	f->has_total = f->has_used = f->approximate = true;
	f->total = total;
	f->used = used;
	f->available = total - used;
	return 1;
}

/* ECMA-119, 8.4: the primary volume descriptor. It is always full. */
static int iso_look(const struct part *p, struct filesystem *f, struct err *err)
{
	uint8_t s[192];
	int got = part_read(p, s, 32768, sizeof(s), err);
	if (got <= 0 || memcmp(s,
				"\x01"
				"CD001\x01",
				7) != 0)
		return got < 0 ? -1 : 0;
	uint64_t block = le16_at(s + 128);
	*f = (struct filesystem){.type = "iso9660", .block = block};
	label_take(f, s + 40, 32);
	f->has_total = f->has_used = true;
	f->total = f->used = le32_at(s + 80) * block;
	return 1;
}

/* Linux's union swap_header; the page is that of the machine that made it. */
static int swap_look(const struct part *p, struct filesystem *f, struct err *err)
{
	for (uint64_t page = 4096; page <= 65536; page *= 2) {
		uint8_t magic[10], s[64];
		int got = part_read(p, magic, page - sizeof(magic), sizeof(magic), err);
		if (got > 0 && memcmp(magic, "SWAPSPACE2", sizeof(magic)) == 0)
			got = part_read(p, s, 1024, sizeof(s), err);
		else if (got > 0)
			continue;
		if (got <= 0)
			return got;
		*f = (struct filesystem){.type = "swap", .block = page, .has_total = true};
		f->total = le32_at(s + 4) * page;
		uuid_take(f, s + 12);
		label_take(f, s + 28, 16);
		return 1;
	}
	return 0;
}

/* LVM2's lib/format_text/layout.h: a label is in one of the first four sectors. */
static int lvm_look(const struct part *p, struct filesystem *f, struct err *err)
{
	for (uint64_t at = 0; at < 4 * 512; at += 512) {
		uint8_t s[64];
		int got = part_read(p, s, at, sizeof(s), err);
		if (got <= 0)
			return got;
		if (memcmp(s, "LABELONE", 8) != 0 || memcmp(s + 24, "LVM2 001", 8) != 0)
			continue;
		*f = (struct filesystem){.type = "LVM2_member"};
		char *to = f->uuid; /* 32 characters, in groups as LVM writes them */
		for (int i = 0; i < 32; i++) {
			if (i >= 6 && (i - 6) % 4 == 0 && i <= 26)
				*to++ = '-';
			uint8_t c = s[32 + i];
			*to++ = c > 0x20 && c < 0x7f ? (char)c : '?';
		}
		return 1;
	}
	return 0;
}

/* Those that are only named, by bytes at a place. */
static int named_look(const struct part *p, struct filesystem *f, struct err *err)
{
	static const struct {
		uint64_t at;
		const char *bytes;
		size_t len;
		const char *type;
	} marks[] = {
		{0, "LUKS\xba\xbe", 6, "crypto_LUKS"},
		{4096, "\xfc\x4e\x2b\xa9\x01\0\0", 8, "linux_raid_member"}, /* 1.2 */
		{0, "\xfc\x4e\x2b\xa9\x01\0\0", 8, "linux_raid_member"},    /* 1.1 */
		{3, "NTFS    ", 8, "ntfs"},
		{3, "EXFAT   ", 8, "exfat"},
		{0, "hsqs", 4, "squashfs"},
		{1024, "\x10\x20\xf5\xf2", 4, "f2fs"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		uint8_t found[8];
		int got = part_read(p, found, marks[i].at, marks[i].len, err);
		if (got < 0)
			return -1;
		if (got == 0 || memcmp(found, marks[i].bytes, marks[i].len) != 0)
			continue;
		*f = (struct filesystem){.type = marks[i].type};
		return 1;
	}
	return 0;
}

int filesystem_read(partition_read_fn *read, void *about, uint64_t at, uint64_t size,
	struct filesystem *out, struct err *err)
{
	/* containers first: within their first sectors the file system of before may still stand */
	static filesystem_fn *const looks[] = {lvm_look, named_look, swap_look, xfs_look, ext_look,
		btrfs_look, iso_look, fat_look};
	const struct part part = {read, about, at, size};
	struct filesystem f = {.type = NULL};
	int got = 0;
	for (size_t i = 0; i < ARRAY_SIZE(looks) && got == 0; i++)
		got = looks[i](&part, &f, err);
	if (got < 0)
		return -1;
	*out = f;
	return 0;
}
