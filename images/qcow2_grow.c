/*
 * An image grows by two numbers of its header, its size and its count of L1 entries, as long as the
 * clusters of the L1 table have room for the new entries: with clusters of 64 KiB, up to 4 TiB. What
 * lies behind the old entries is cleared first, and the header changes in one write, so that whoever is
 * killed leaves the old image or the new one.
 */
#include "images/qcow2_grow.h"

#include <endian.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/qcow2_format.h"

static uint64_t entries_for(const struct qcow2_info *q, uint64_t size)
{
	unsigned shift = 2 * q->cluster_bits - (q->extended_l2 ? 4 : 3);
	return (size >> shift) + ((size & ((1ULL << shift) - 1)) != 0);
}

static bool has_room(const struct qcow2_info *q, uint64_t entries)
{
	uint64_t cluster = 1ULL << q->cluster_bits;
	uint64_t now = ((uint64_t)q->l1_entries * 8 + cluster - 1) / cluster * cluster;
	return q->l1_offset && entries * 8 <= now && entries * 8 <= QCOW2_L1_BYTES_MAX;
}

static int clear_entries(int fd, const struct qcow2_info *q, uint64_t entries, struct err *err)
{
	size_t len = (size_t)(entries - q->l1_entries) * 8;
	_cleanup_free_ char *zeros = xcalloc(len ? len : 1, 1);
	off_t at = (off_t)(q->l1_offset + (uint64_t)q->l1_entries * 8);
	if (len && pwrite(fd, zeros, len, at) != (ssize_t)len)
		return err_errno(err, "cannot write the L1 table");
	return fdatasync(fd) < 0 ? err_errno(err, "cannot flush the image") : 0;
}

int qcow2_grow(int fd, const struct qcow2_info *q, uint64_t size, struct err *err)
{
	struct qcow2_header h;
	uint64_t entries = entries_for(q, size);
	if (entries < q->l1_entries)
		entries = q->l1_entries;
	if (q->version < 3 || q->snapshots || q->autoclear || q->dirty || !has_room(q, entries))
		return 0;
	if (clear_entries(fd, q, entries, err) < 0)
		return -1;
	if (pread(fd, &h, QCOW2_V3_LENGTH, 0) != QCOW2_V3_LENGTH)
		return err_errno(err, "cannot read the header");
	h.size = htobe64(size);
	h.l1_size = htobe32((uint32_t)entries);
	if (pwrite(fd, &h, QCOW2_V3_LENGTH, 0) != QCOW2_V3_LENGTH || fdatasync(fd) < 0)
		return err_errno(err, "cannot write the header");
	return 1;
}
