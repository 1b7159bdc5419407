/* From the back: the last entry of the refcount table that is there, and of its block the last cluster that is used. */
#include <endian.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/qcow2.h"
#include "images/qcow2_format.h"

struct image {
	int fd;
	uint64_t at, room, cluster;
};

static int read_at(const struct image *i, uint64_t offset, void *out, uint64_t len, struct err *err)
{
	if (offset > i->room || len > i->room - offset)
		return err_set(err, ERR_QEMU, "it names byte %" PRIu64 ", behind its end", offset);
	ssize_t n = pread(i->fd, out, (size_t)len, (off_t)(i->at + offset));
	if (n < 0)
		return err_errno(err, "cannot read it");
	return (uint64_t)n == len ? 0 : err_set(err, ERR_QEMU, "it ends too early");
}

/* Of the block at `offset`, which counts the clusters from `first` on; 0: none of them is used. */
static int end_in_block(
	const struct image *i, uint64_t offset, uint64_t first, uint64_t *end, struct err *err)
{
	uint64_t n = i->cluster / sizeof(uint16_t);
	_cleanup_free_ uint16_t *counts = xcalloc(1, i->cluster);
	if (read_at(i, offset, counts, i->cluster, err) < 0)
		return -1;
	while (n && !counts[n - 1])
		n--;
	*end = n ? (first + n) * i->cluster : 0;
	return 0;
}

static int find_end(
	const struct image *i, const struct qcow2_header *h, uint64_t *end, struct err *err)
{
	uint64_t bytes = (uint64_t)be32toh(h->refcount_table_clusters) * i->cluster;
	uint64_t per_block = i->cluster / sizeof(uint16_t);
	if (bytes > QCOW2_REFTABLE_BYTES_MAX)
		return err_set(err, ERR_QEMU, "its refcount table is too large");
	_cleanup_free_ uint64_t *table = xcalloc(1, bytes ? bytes : 1);
	if (read_at(i, be64toh(h->refcount_table_offset), table, bytes, err) < 0)
		return -1;
	*end = 0;
	for (uint64_t n = bytes / sizeof(table[0]); n-- > 0 && !*end;)
		if (table[n] && n * per_block * i->cluster >= i->room)
			return err_set(err, ERR_QEMU, "it counts clusters behind its room");
		else if (table[n] &&
			 end_in_block(i, be64toh(table[n]), n * per_block, end, err) < 0)
			return -1;
	return *end && *end <= i->room ? 0 : err_set(err, ERR_QEMU, "it does not end in its room");
}

int qcow2_end(int fd, uint64_t at, uint64_t room, uint64_t *end, struct err *err)
{
	struct image i = {.fd = fd, .at = at, .room = room};
	struct qcow2_header h;
	uint64_t found = 0;
	if (read_at(&i, 0, &h, sizeof(h), err) < 0)
		return -1;
	uint32_t bits = be32toh(h.cluster_bits);
	if (be32toh(h.magic) != QCOW2_MAGIC || bits < QCOW2_CLUSTER_BITS_MIN ||
		bits > QCOW2_CLUSTER_BITS_MAX || be32toh(h.refcount_order) != 4)
		return err_set(err, ERR_QEMU, "it is not qcow2 as it was made");
	i.cluster = 1ULL << bits;
	if (find_end(&i, &h, &found, err) < 0)
		return -1;
	*end = found;
	return 0;
}
