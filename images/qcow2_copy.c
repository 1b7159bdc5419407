/*
 * A small raw file as a qcow2 image that stands alone: qcow2_create()'s empty one, and behind it
 *
 *	cluster 4	the one L2 table
 *	from 5 on	data, without the clusters that are all zero
 *
 * Clusters of 64 KiB: one L2 table then reaches 512 MiB, one refcount block 2 GiB.
 */
#include "images/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum {
	CLUSTER = 1 << 16,
	/* as qcow2_create() lays them; the empty image ends where the L2 table begins */
	AT_REFCOUNTS = 2,
	AT_L1 = 3,
	AT_L2 = 4,
	AT_DATA = 5,
};
/* Section "Standard cluster descriptor": bit 63, "the refcount is exactly one" */
#define COPIED (1ULL << 63)

static int write_at(int fd, const void *data, size_t len, uint64_t offset)
{
	ssize_t n = pwrite(fd, data, len, (off_t)offset);
	if (n >= 0 && (size_t)n < len)
		errno = ENOSPC;
	return n == (ssize_t)len ? 0 : -1;
}

/* One cluster of the source, zeros after its end. */
static int read_cluster(int from, uint64_t index, char out[CLUSTER])
{
	memset(out, 0, CLUSTER);
	return pread(from, out, CLUSTER, (off_t)(index * CLUSTER)) < 0 ? -1 : 0;
}

static bool all_zero(const char *data)
{
	return !data[0] && memcmp(data, data + 1, CLUSTER - 1) == 0;
}

/* Copies what is not zero; *used is the number of clusters that the image then has. */
static int copy_data(int from, int to, uint64_t clusters, struct buf *l2, uint64_t *used)
{
	_cleanup_free_ char *data = xcalloc(1, CLUSTER);
	for (uint64_t i = 0; i < clusters; i++) {
		uint64_t entry = 0;
		if (read_cluster(from, i, data) < 0)
			return -1;
		if (!all_zero(data)) {
			entry = htobe64(*used * CLUSTER | COPIED);
			if (write_at(to, data, CLUSTER, (*used)++ * CLUSTER) < 0)
				return -1;
		}
		buf_add(l2, &entry, sizeof(entry));
	}
	return 0;
}

/* First what is pointed to, then what points to it. */
static int fill(int from, int to, uint64_t size, bool durable)
{
	const uint16_t one = htobe16(1);
	const uint64_t table = htobe64(AT_L2 * CLUSTER | COPIED);
	uint64_t used = AT_DATA;
	_cleanup_buf_ struct buf l2 = {0}, counts = {0};
	if (copy_data(from, to, (size + CLUSTER - 1) / CLUSTER, &l2, &used) < 0)
		return -1;
	for (uint64_t i = 0; i < used; i++)
		buf_add(&counts, &one, sizeof(one));
	if (ftruncate(to, (off_t)(used * CLUSTER)) < 0 ||
		write_at(to, l2.data, l2.len, AT_L2 * CLUSTER) < 0 ||
		write_at(to, counts.data, counts.len, AT_REFCOUNTS * CLUSTER) < 0 ||
		write_at(to, &table, sizeof(table), AT_L1 * CLUSTER) < 0)
		return -1;
	return durable ? fdatasync(to) : 0;
}

int qcow2_copy(int dir_fd, const char *name, int from, bool durable, struct err *err)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return err_errno(err, "cannot make '%s'", name);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > QCOW2_COPY_MAX)
		return err_set(err, ERR_REFUSED,
			"cannot make '%s': its content must be a file of 1 byte to %s", name,
			str_size(QCOW2_COPY_MAX));
	const struct qcow2_new empty = {.size = (uint64_t)st.st_size, .cluster_bits = 16};
	if (qcow2_create(dir_fd, name, &empty, err) < 0)
		return -1;
	_cleanup_close_ int to = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (to >= 0 && fill(from, to, (uint64_t)st.st_size, durable) == 0)
		return 0;
	err_errno(err, "cannot write '%s'", name);
	unlinkat(dir_fd, name, 0);
	return -1;
}
