#include "images/seed_vfat.h"

#include <assert.h>
#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum {
	SECTOR = 512,
	FATS = 2,
	ROOT_ENTRIES = 32, /* the label, and a file has up to three: two of its long name */
	CLUSTERS_MIN =
		700, /* 350 KiB: who looks for labels gives up on a disk that ends before 68 */
	CLUSTERS_MAX = 4084, /* with more it would be FAT16 */
	FIRST_CLUSTER = 2,
	END_OF_FILE = 0xfff,
	ATTR_ARCHIVE = 0x20,
	ATTR_VOLUME_ID = 0x08,
	ATTR_LONG_NAME = 0x0f,
	LONG_PART = 13, /* characters of a long name in one entry */
	LAST_LONG_ENTRY = 0x40,
};

struct entry {
	char name[11];
	uint8_t attr, nt, tenths;
	uint16_t made_time, made_date, seen_date, cluster_high, time, date, cluster;
	uint32_t size;
} __attribute__((packed));
static_assert(sizeof(struct entry) == 32, "a directory's entry");

struct long_entry {
	uint8_t order;
	uint16_t name1[5];
	uint8_t attr, type, checksum;
	uint16_t name2[6], cluster, name3[2];
} __attribute__((packed));
static_assert(sizeof(struct long_entry) == 32, "a directory's entry");

struct boot_sector {
	uint8_t jump[3];
	char oem[8];
	uint16_t sector_size;
	uint8_t cluster_sectors;
	uint16_t reserved_sectors;
	uint8_t fats;
	uint16_t root_entries, sectors;
	uint8_t media;
	uint16_t fat_sectors, track_sectors, heads;
	uint32_t hidden, sectors32;
	uint8_t drive, reserved, signature;
	uint32_t id;
	char label[11], type[8];
	uint8_t code[448], end[2];
} __attribute__((packed));
static_assert(sizeof(struct boot_sector) == SECTOR, "the boot sector");

static size_t parts(size_t what, size_t of)
{
	return (what + of - 1) / of;
}

struct layout {
	size_t cluster, clusters, fat_sectors; /* a cluster's size in bytes */
};

/* The smallest clusters of which there are few enough. */
static struct layout lay_out(const struct vfat_file *files, size_t count)
{
	struct layout l = {.cluster = SECTOR / 2};
	do {
		l.cluster *= 2;
		l.clusters = 0;
		for (size_t i = 0; i < count; i++)
			l.clusters += parts(files[i].len, l.cluster);
	} while (l.clusters > CLUSTERS_MAX);
	if (l.clusters < CLUSTERS_MIN)
		l.clusters = CLUSTERS_MIN;
	l.fat_sectors = parts((l.clusters + FIRST_CLUSTER) * 3 / 2 + 1, SECTOR);
	return l;
}

static void add_boot_sector(const struct layout *l, const char *label, time_t now, struct buf *out)
{
	size_t sectors = 1 + FATS * l->fat_sectors + ROOT_ENTRIES * sizeof(struct entry) / SECTOR +
			 l->clusters * (l->cluster / SECTOR);
	struct boot_sector b = {.jump = {0xeb, 0x3c, 0x90},
		.oem = "ROOST   ",
		.sector_size = htole16(SECTOR),
		.cluster_sectors = (uint8_t)(l->cluster / SECTOR),
		.reserved_sectors = htole16(1),
		.fats = FATS,
		.root_entries = htole16(ROOT_ENTRIES),
		.sectors = htole16((uint16_t)sectors),
		.media = 0xf8,
		.fat_sectors = htole16((uint16_t)l->fat_sectors),
		.track_sectors = htole16(32),
		.heads = htole16(8),
		.drive = 0x80,
		.signature = 0x29,
		.id = htole32((uint32_t)now),
		.type = "FAT12   ",
		.end = {0x55, 0xaa}};
	memset(b.label, ' ', sizeof(b.label));
	memcpy(b.label, label, strlen(label));
	buf_add(out, &b, sizeof(b));
}

/* Twelve bits each, the even ones' low byte first. */
static void set_fat(uint8_t *fat, size_t cluster, unsigned value)
{
	uint8_t *at = fat + cluster * 3 / 2;
	if (cluster % 2) {
		at[0] = (uint8_t)((at[0] & 0x0f) | (value & 0x0f) << 4);
		at[1] = (uint8_t)(value >> 4);
	} else {
		at[0] = (uint8_t)value;
		at[1] = (uint8_t)((at[1] & 0xf0) | value >> 8);
	}
}

/* The files lie one after the other. */
static void add_fats(
	const struct layout *l, const struct vfat_file *files, size_t count, struct buf *out)
{
	size_t size = l->fat_sectors * SECTOR, next = FIRST_CLUSTER;
	_cleanup_free_ uint8_t *fat = xcalloc(1, size);
	set_fat(fat, 0, 0xff8); /* the medium's type again */
	set_fat(fat, 1, END_OF_FILE);
	for (size_t i = 0; i < count; i++)
		for (size_t left = parts(files[i].len, l->cluster); left; left--, next++)
			set_fat(fat, next, left > 1 ? (unsigned)next + 1 : END_OF_FILE);
	for (int i = 0; i < FATS; i++)
		buf_add(out, fat, size);
}

static uint8_t checksum(const char alias[11])
{
	uint8_t sum = 0;
	for (int i = 0; i < 11; i++)
		sum = (uint8_t)((sum << 7 | sum >> 1) + (uint8_t)alias[i]);
	return sum;
}

/* The last part of the name stands first. */
static void add_long_name(const struct vfat_file *f, struct buf *out)
{
	size_t len = strlen(f->name), count = parts(len, LONG_PART);
	for (size_t part = count; part; part--) {
		struct long_entry e = {
			.order = (uint8_t)(part | (part == count ? LAST_LONG_ENTRY : 0)),
			.attr = ATTR_LONG_NAME,
			.checksum = checksum(f->alias)};
		for (size_t i = 0; i < LONG_PART; i++) {
			size_t at = (part - 1) * LONG_PART + i;
			uint16_t c = htole16(at < len    ? (uint16_t)f->name[at]
					     : at == len ? 0
							 : 0xffff);
			if (i < 5)
				e.name1[i] = c;
			else if (i < 11)
				e.name2[i - 5] = c;
			else
				e.name3[i - 11] = c;
		}
		buf_add(out, &e, sizeof(e));
	}
}

static void set_time(struct entry *e, time_t now)
{
	struct tm t;
	gmtime_r(&now, &t);
	e->date = htole16((uint16_t)((t.tm_year - 80) << 9 | (t.tm_mon + 1) << 5 | t.tm_mday));
	e->time = htole16((uint16_t)(t.tm_hour << 11 | t.tm_min << 5 | t.tm_sec / 2));
}

static void add_root(const struct layout *l, const struct vfat_file *files, size_t count,
	const char *label, time_t now, struct buf *out)
{
	size_t begin = out->len, next = FIRST_CLUSTER;
	struct entry volume = {.attr = ATTR_VOLUME_ID};
	memset(volume.name, ' ', sizeof(volume.name));
	memcpy(volume.name, label, strlen(label));
	set_time(&volume, now);
	buf_add(out, &volume, sizeof(volume));
	for (size_t i = 0; i < count; i++) {
		size_t clusters = parts(files[i].len, l->cluster);
		struct entry e = {.attr = ATTR_ARCHIVE,
			.cluster = htole16(clusters ? (uint16_t)next : 0),
			.size = htole32((uint32_t)files[i].len)};
		memcpy(e.name, files[i].alias, sizeof(e.name));
		set_time(&e, now);
		add_long_name(&files[i], out);
		buf_add(out, &e, sizeof(e));
		next += clusters;
	}
	static const char none[ROOT_ENTRIES * sizeof(struct entry)] = {0};
	buf_add(out, none, sizeof(none) - (out->len - begin));
}

static void add_zeros(struct buf *out, size_t len)
{
	buf_reserve(out, len);
	memset(out->data + out->len, 0, len);
	out->len += len;
}

void vfat_image(
	const struct vfat_file *files, size_t count, const char *label, time_t now, struct buf *out)
{
	const struct layout l = lay_out(files, count);
	size_t left = l.clusters * l.cluster;
	buf_reserve(out, left + 64 * 1024); /* they may be secrets: no copies on the way */
	add_boot_sector(&l, label, now, out);
	add_fats(&l, files, count, out);
	add_root(&l, files, count, label, now, out);
	for (size_t i = 0; i < count; i++) {
		size_t fills = parts(files[i].len, l.cluster) * l.cluster;
		buf_add(out, files[i].data, files[i].len);
		add_zeros(out, fills - files[i].len);
		left -= fills;
	}
	add_zeros(out, left);
}
