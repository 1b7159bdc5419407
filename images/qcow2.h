/*
 * qcow2, natively: looking at a header and writing an overlay. The format is QEMU's
 * docs/interop/qcow2.txt; section names below are its.
 *
 * The reader is for files nobody trusts: it reads the header, the header extensions and the
 * backing file's name with bounded preads, allocates nothing the file can size, and never opens
 * another file. Whether an image may enter is decided here, before QEMU or qemu-img sees it.
 */
#ifndef IMAGES_QCOW2_H
#define IMAGES_QCOW2_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define QCOW2_NAME_MAX 1023 /* section "Header": backing_file_size */

struct qcow2_info {
	unsigned version;      /* 2 or 3 */
	unsigned cluster_bits; /* 9..21 */
	uint64_t virtual_size; /* bytes, whole sectors of 512 as QEMU counts them */
	uint64_t file_size;    /* bytes, apparent */
	uint64_t incompatible, compatible, autoclear; /* feature bits; 0 in version 2 */
	unsigned refcount_bits;
	unsigned compression; /* 0 zlib, 1 zstd */
	bool encrypted, dirty, corrupt, extended_l2, has_backing;
	unsigned crypt_method;             /* 0 none, 1 AES, 2 LUKS */
	uint64_t crypt_offset, crypt_size; /* of the LUKS header, as the extension has it */
	bool data_file;     /* an external one: the feature bit is set, or a name is there */
	uint32_t snapshots; /* internal ones */
	uint64_t snapshots_offset;
	uint32_t bitmaps;                      /* persistent ones, that are not out of date */
	uint64_t bitmaps_offset, bitmaps_size; /* of their directory, which lies inside the file */
	uint64_t l1_offset; /* of the active table, which lies wholly inside the file */
	uint32_t l1_entries;
	uint64_t refcount_table_offset;
	uint32_t refcount_table_clusters;
	char backing[QCOW2_NAME_MAX + 1];
	char data_file_name[QCOW2_NAME_MAX + 1];
	char backing_format[32]; /* from the extension 0xE2792ACA; "" if none */
};

/* Is the magic there? Says nothing of whether the rest is sound. 1, 0, or -1. */
int qcow2_probe(int fd, struct err *err);
/* Reads and checks the header; every inconsistency is an error that names the field. */
int qcow2_read(int fd, struct qcow2_info *out, struct err *err);
/*
 * May QEMU be given this image at all, backing file or not? Refuses an external data file,
 * encryption, unknown incompatible features, a corrupt mark. `what` names it in the error.
 */
int qcow2_may_stand(const struct qcow2_info *info, const char *what, struct err *err);
/* May it enter from outside? The same, and it must stand alone: a backing file is refused too. */
int qcow2_may_enter(const struct qcow2_info *info, const char *what, struct err *err);

/*
 * Has nothing been written to it yet? Then it shows what its backing file does, or nothing: 1. By its L1 table,
 * so for an image that nobody has open for writing. 0: something has; -1.
 */
int qcow2_is_empty(int fd, const struct qcow2_info *info, struct err *err);

/*
 * How far an image reaches that begins at byte `at` of a file and has `room` bytes there: to the end of its last cluster
 * that is counted as used, as `qemu-img check` tells it (image-end-offset). It has refcounts of 16 bits, as those have
 * that are made here.
 */
int qcow2_end(int fd, uint64_t at, uint64_t room, uint64_t *end, struct err *err);

struct qcow2_new {
	uint64_t size;         /* bytes, rounded up to 512; at most qcow2_max_size(21), 2 EiB */
	unsigned cluster_bits; /* 0: 16 (64 KiB); larger where the size demands it */
	const char *backing;   /* NULL: none; 1 to 1023 bytes that fit the first cluster */
	const char *backing_format; /* "qcow2" or "raw"; demanded with `backing` */
	bool backing_is_node;       /* it is qemu-img's "json:{...}", no file's name */
	bool durable;               /* fdatasync before returning */
	uint64_t
		at; /* of qcow2_create_in(): the byte where it begins, which is not before the file's end */
};
/*
 * Writes an empty image (header, refcount table and block, L1) into the file at `dir_fd`/`name`,
 * which must not exist; on failure nothing is left, and a writer that is killed leaves at most a
 * file without the magic. `durable` does not flush the folder. A relative backing name that QEMU
 * would take for a protocol ("a:b") gets "./" in front. Version 3, refcounts of 16 bits, feature
 * name table as qemu-img writes it; `qemu-img check` is clean.
 */
int qcow2_create(int dir_fd, const char *name, const struct qcow2_new *what, struct err *err);
/* The same into an open, empty file, or behind what it has, which the caller drops on failure; `name` is for errors. */
int qcow2_create_in(int fd, const char *name, const struct qcow2_new *what, struct err *err);
/*
 * Writes an image that stands alone with the content of `from`, a raw file of at most
 * QCOW2_COPY_MAX bytes; else as qcow2_create(). A writer that is killed leaves an image that is not
 * whole: make it under another name.
 */
int qcow2_copy(int dir_fd, const char *name, int from, bool durable, struct err *err);
enum { QCOW2_COPY_MAX = 64 << 20 };
/* The most that `cluster_bits` can address with an L1 table of at most 32 MiB (QEMU's limit). */
uint64_t qcow2_max_size(unsigned cluster_bits);

#endif
