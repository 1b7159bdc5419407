/*
 * FAT12, FAT16, FAT32: Microsoft's "FAT: General Overview of On-Disk Format", 1.03. The numbers are those of
 * fat_statfs(), which believes the FAT and not FSInfo, unless it is asked to.
 */
#include <stdio.h>

#include "base/mem.h"
#include "images/filesystem_kinds.h"

enum {
	FIRST_CLUSTER = 2, /* entries 0 and 1 are none */
	FAT12_CLUSTERS_MAX = 0xff4,
	FAT_READ_MAX =
		32 << 20,      /* 128 GiB in clusters of 16 KiB; of a longer one FSInfo is asked */
	FAT_AT_ONCE = 3 << 14, /* whole entries of any width */
};

struct fat {
	const struct part *part;
	uint8_t boot[512];
	uint32_t sector, cluster; /* bytes */
	uint32_t reserved;        /* sectors before the first FAT */
	uint64_t length;          /* of a FAT, sectors */
	uint32_t clusters, bits;
};

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static bool parse(struct fat *f)
{
	const uint8_t *b = f->boot;
	uint32_t fats = b[16], root = le16_at(b + 17), media = b[21], per_cluster = b[13];
	f->sector = le16_at(b + 11);
	f->cluster = per_cluster * f->sector;
	f->reserved = le16_at(b + 14);
	f->length = le16_at(b + 22) ? le16_at(b + 22) : le32_at(b + 36);
	uint64_t sectors = le16_at(b + 19) ? le16_at(b + 19) : le32_at(b + 32);
	if (b[510] != 0x55 || b[511] != 0xaa || !power_of_two(f->sector) || f->sector < 512 ||
		f->sector > 4096 || !power_of_two(per_cluster) || !f->reserved || !fats ||
		!f->length || (media != 0xf0 && media < 0xf8))
		return false;
	uint64_t data = f->reserved + fats * f->length + root * 32 / f->sector;
	if (sectors <= data)
		return false;
	uint64_t clusters = (sectors - data) / per_cluster;
	f->bits = !le16_at(b + 22) ? 32 : clusters > FAT12_CLUSTERS_MAX ? 16 : 12;
	uint64_t entries = f->length * f->sector * 8 / f->bits;
	if (entries < FIRST_CLUSTER)
		return false;
	f->clusters =
		(uint32_t)(clusters < entries - FIRST_CLUSTER ? clusters : entries - FIRST_CLUSTER);
	return true;
}

static bool is_free(const uint8_t *text, size_t i, uint32_t bits)
{
	if (bits == 32)
		return (le32_at(text + 4 * i) & 0x0fffffff) == 0;
	if (bits == 16)
		return le16_at(text + 2 * i) == 0;
	uint16_t two = le16_at(text + i + i / 2);
	return (i & 1 ? two >> 4 : two & 0xfff) == 0;
}

/* By the first FAT: 1; 0: it ends before. */
static int count_free(const struct fat *f, uint64_t *out, struct err *err)
{
	_cleanup_free_ uint8_t *text =
		xcalloc(1, FAT_AT_ONCE + 1); /* the last of FAT12 is half a pair */
	uint64_t bytes = ((uint64_t)(f->clusters + FIRST_CLUSTER) * f->bits + 7) / 8, count = 0;
	uint64_t number = 0;
	for (uint64_t at = 0; at < bytes; at += FAT_AT_ONCE) {
		size_t len = bytes - at < FAT_AT_ONCE ? (size_t)(bytes - at) : FAT_AT_ONCE;
		int got =
			part_read(f->part, text, (uint64_t)f->reserved * f->sector + at, len, err);
		if (got <= 0)
			return got;
		for (size_t i = 0; i < FAT_AT_ONCE * 8U / f->bits; i++, number++)
			if (number >= FIRST_CLUSTER &&
				number < f->clusters + (uint64_t)FIRST_CLUSTER)
				count += is_free(text, i, f->bits);
	}
	*out = count;
	return 1;
}

/* What FSInfo says, if it can be so: 1, 0, -1. */
static int told_free(const struct fat *f, uint64_t *out, struct err *err)
{
	uint8_t info[512];
	int got = part_read(
		f->part, info, (uint64_t)le16_at(f->boot + 48) * f->sector, sizeof(info), err);
	if (got <= 0 || le32_at(info) != 0x41615252 || le32_at(info + 484) != 0x61417272 ||
		le32_at(info + 488) > f->clusters)
		return got < 0 ? -1 : 0;
	*out = le32_at(info + 488);
	return 1;
}

int fat_look(const struct part *p, struct filesystem *out, struct err *err)
{
	struct fat f = {.part = p};
	uint64_t unused = 0;
	int got = part_read(p, f.boot, 0, sizeof(f.boot), err);
	if (got <= 0 || !parse(&f))
		return got < 0 ? -1 : 0;
	bool large = f.length * f.sector > FAT_READ_MAX;
	got = large ? told_free(&f, &unused, err) : count_free(&f, &unused, err);
	if (got < 0)
		return -1;
	const uint8_t *extended = f.boot + (f.bits == 32 ? 64 : 36);
	*out = (struct filesystem){.type = "vfat",
		.block = f.cluster,
		.has_total = true,
		.has_used = got > 0,
		.approximate = large,
		.total = (uint64_t)f.clusters * f.cluster,
		.used = (f.clusters - unused) * f.cluster,
		.available = unused * f.cluster};
	if (extended[2] != 0x29) /* then there is neither label nor number */
		return 1;
	uint32_t id = le32_at(extended + 3);
	snprintf(out->uuid, sizeof(out->uuid), "%04X-%04X", id >> 16, id & 0xffff);
	if (memcmp(extended + 7, "NO NAME    ", 11) != 0)
		label_take(out, extended + 7, 11);
	return 1;
}
