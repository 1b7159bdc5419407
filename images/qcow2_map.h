/*
 * Where a qcow2 file has what a guest reads: its L1 and L2 tables, walked natively. The format is
 * QEMU's docs/interop/qcow2.txt, sections "Cluster mapping" and "Extended L2 Entries".
 *
 * For files nobody trusts. Memory is bounded (some pages of tables, 128 KiB), each call looks at one
 * L2 table at most, or at a run of empty L1 entries. Bits that the format reserves are ignored, and
 * tables that overlap or name themselves are read as they are, as QEMU does: all of it are bytes of
 * this one file. What cannot be read so is an error that names the field: a table or a cluster that
 * does not begin at a cluster's start or lies beyond the end of the file, a zero flag in version 2,
 * a subcluster that is both allocated and zero.
 */
#ifndef IMAGES_QCOW2_MAP_H
#define IMAGES_QCOW2_MAP_H

#include "images/qcow2.h"

struct qcow2_map;

enum qcow2_kind {
	QCOW2_UNALLOCATED, /* what the backing file has there, zeroes without one */
	QCOW2_ZERO,
	QCOW2_DATA,       /* at `host`; what of it lies beyond the file's end is zeroes */
	QCOW2_COMPRESSED, /* one cluster, whole: host_length bytes at `host`, deflate or zstd */
};

struct qcow2_run {
	enum qcow2_kind kind;
	bool placed; /* `host` is where the data is, or has its place for when it will be written */
	uint64_t length; /* bytes of the guest's from the offset that was asked for */
	uint64_t host;   /* of that offset; of a compressed cluster, of its beginning */
	uint32_t
		host_length; /* of a compressed cluster only, to the end of its last sector of 512 */
};

/* `info` is what qcow2_read() said of it. The fd stays the caller's and is kept open as long. */
struct qcow2_map *qcow2_map_open(int fd, const struct qcow2_info *info, struct err *err);
/* What is at `offset`, and for how long (at most `most`): both within the virtual size. */
int qcow2_map_at(struct qcow2_map *m, uint64_t offset, uint64_t most, struct qcow2_run *out,
	struct err *err);
/*
 * Does the file have markedly fewer blocks than clusters in use by its refcounts? Then tables were
 * made before the data (preallocation=metadata), and holes in the file are known to be zeroes. It is
 * QEMU's guess, by which qemu-img map calls such data zero; tables that cannot be read are a no, too.
 */
bool qcow2_map_preallocated(struct qcow2_map *m);
void qcow2_map_close(struct qcow2_map *m);

#endif
