/*
 * partitions_read() and filesystem_read() on any bytes: as a disk of just that length, and as the start of a
 * large one that is empty behind them. What they find must keep the promises of their headers.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "images/filesystem.h"

#define LARGE (1ULL << 40)

struct disk {
	const uint8_t *data;
	size_t len;
	uint64_t size;
};

static int read_disk(void *about, void *out, uint64_t at, size_t len, struct err *err)
{
	const struct disk *d = about;
	(void)err;
	if (at > d->size || len > d->size - at)
		__builtin_trap();
	memset(out, 0, len);
	if (at < d->len)
		memcpy(out, d->data + at, len < d->len - at ? len : d->len - (size_t)at);
	return 0;
}

static void must(bool holds)
{
	if (!holds)
		__builtin_trap();
}

static void check_filesystem(struct disk *d, uint64_t at, uint64_t size)
{
	struct filesystem f;
	struct err err = ERR_INIT;
	must(filesystem_read(read_disk, d, at, size, &f, &err) == 0);
	must(memchr(f.label, '\0', sizeof(f.label)) && memchr(f.uuid, '\0', sizeof(f.uuid)));
	must(f.type || (!f.has_total && !f.has_used && !f.has_inodes));
	must(f.total <= INT64_MAX && f.used <= f.total && f.available <= f.total - f.used);
	must(f.inodes_used <= f.inodes);
}

static void check(const uint8_t *data, size_t len, uint64_t size)
{
	struct disk d = {data, len, size};
	static struct partitions p;
	struct err err = ERR_INIT;
	must(partitions_read(read_disk, &d, size, &p, &err) == 0 && p.count <= PARTITIONS_MAX);
	for (size_t i = 0; i < p.count; i++) {
		const struct partition *one = &p.all[i];
		must(one->number && one->size && one->at < size && one->size <= size - one->at &&
			memchr(one->name, '\0', sizeof(one->name)));
		partition_purpose(one, p.table);
		if (i < 4) /* one takes as long as another */
			check_filesystem(&d, one->at, one->size);
	}
	check_filesystem(&d, 0, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(data, size, size);
	check(data, size, LARGE);
	return 0;
}
