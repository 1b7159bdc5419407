#include "images/cached_disk.h"

#include <string.h>

#include "base/mem.h"

enum { ZERO_MOST = 1 << 30 };

/* The last unit of a disk may be shorter. */
static uint32_t length_of(const struct cached_disk *d, uint64_t number)
{
	uint64_t left = d->nbd.size - number * DISK_UNIT;
	return left < DISK_UNIT ? (uint32_t)left : DISK_UNIT;
}

static int write_back(struct cached_disk *d, struct unit *u, struct err *err)
{
	if (u->dirty && nbd_write(&d->nbd, u->data, u->number * DISK_UNIT, length_of(d, u->number),
				err) < 0)
		return -1;
	u->dirty = false;
	return 0;
}

static struct unit *place_of(struct cached_disk *d, uint64_t number)
{
	return &d->units[number % DISK_UNITS];
}

static struct unit *get(struct cached_disk *d, uint64_t number, struct err *err)
{
	struct unit *u = place_of(d, number);
	if (u->used && u->number == number)
		return u;
	if (u->used && write_back(d, u, err) < 0)
		return NULL;
	if (!u->data)
		u->data = xcalloc(1, DISK_UNIT);
	u->used = false;
	if (nbd_read(&d->nbd, u->data, number * DISK_UNIT, length_of(d, number), err) < 0)
		return NULL;
	u->used = true;
	u->number = number;
	return u;
}

static int check_range(const struct cached_disk *d, uint64_t at, uint64_t len, struct err *err)
{
	if (at <= d->nbd.size && len <= d->nbd.size - at)
		return 0;
	return err_set(
		err, ERR_REFUSED, "byte %llu is beyond the disk's end", (unsigned long long)at);
}

/* Reads into `to`, writes from `from`, or zeroes. */
static int walk(
	struct cached_disk *d, void *to, const void *from, uint64_t at, size_t len, struct err *err)
{
	if (check_range(d, at, len, err) < 0)
		return -1;
	for (size_t done = 0; done < len;) {
		size_t within = (size_t)((at + done) % DISK_UNIT), part = DISK_UNIT - within;
		if (part > len - done)
			part = len - done;
		struct unit *u = get(d, (at + done) / DISK_UNIT, err);
		if (!u)
			return -1;
		if (to)
			memcpy((char *)to + done, u->data + within, part);
		else if (from)
			memcpy(u->data + within, (const char *)from + done, part);
		else
			memset(u->data + within, 0, part);
		u->dirty |= !to;
		d->changed |= !to;
		done += part;
	}
	return 0;
}

int disk_read(struct cached_disk *d, void *data, uint64_t at, size_t len, struct err *err)
{
	return walk(d, data, NULL, at, len, err);
}

int disk_write(struct cached_disk *d, const void *data, uint64_t at, size_t len, struct err *err)
{
	return walk(d, NULL, data, at, len, err);
}

/* Whole units are zeroed where they are; what is cached of them is that, too. */
static int zero_units(struct cached_disk *d, uint64_t first, uint64_t end, struct err *err)
{
	for (uint64_t i = first; i < end; i++) {
		struct unit *u = place_of(d, i);
		if (u->used && u->number == i)
			u->used = u->dirty = false;
	}
	d->changed = true;
	while (first < end) {
		uint64_t count = end - first;
		if (count > ZERO_MOST / DISK_UNIT)
			count = ZERO_MOST / DISK_UNIT;
		if (nbd_zero(&d->nbd, first * DISK_UNIT, (uint32_t)(count * DISK_UNIT), err) < 0)
			return -1;
		first += count;
	}
	return 0;
}

int disk_zero(struct cached_disk *d, uint64_t at, uint64_t len, struct err *err)
{
	if (check_range(d, at, len, err) < 0)
		return -1;
	uint64_t first = (at + DISK_UNIT - 1) / DISK_UNIT, end = (at + len) / DISK_UNIT;
	if (first >= end)
		return walk(d, NULL, NULL, at, (size_t)len, err);
	if (walk(d, NULL, NULL, at, (size_t)(first * DISK_UNIT - at), err) < 0 ||
		zero_units(d, first, end, err) < 0)
		return -1;
	return walk(d, NULL, NULL, end * DISK_UNIT, (size_t)(at + len - end * DISK_UNIT), err);
}

int disk_sync(struct cached_disk *d, struct err *err)
{
	for (size_t i = 0; i < DISK_UNITS; i++)
		if (d->units[i].used && write_back(d, &d->units[i], err) < 0)
			return -1;
	return nbd_flush(&d->nbd, err);
}
