/*
 * The numbers of the qcow2 format that reader and writer share; all are big-endian in the file.
 * Section names are those of QEMU's docs/interop/qcow2.txt.
 */
#ifndef IMAGES_QCOW2_FORMAT_H
#define IMAGES_QCOW2_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbU /* "QFI\xfb" */

/* Section "Header". Naturally aligned, so it is the file's layout without packing. */
struct qcow2_header {
	uint32_t magic;
	uint32_t version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size; /* entries of 8 bytes */
	uint64_t l1_table_offset;
	uint64_t refcount_table_offset;
	uint32_t refcount_table_clusters;
	uint32_t nb_snapshots;
	uint64_t snapshots_offset;
	/* from here on version 3 */
	uint64_t incompatible_features;
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t refcount_order;
	uint32_t header_length;
	uint8_t compression_type;
	uint8_t padding[7];
};
static_assert(sizeof(struct qcow2_header) == 112, "the header as QEMU 5 and later write it");

enum {
	QCOW2_V2_LENGTH = offsetof(struct qcow2_header, incompatible_features), /* 72 */
	QCOW2_V3_LENGTH = offsetof(struct qcow2_header, compression_type),      /* 104 */
	QCOW2_CLUSTER_BITS_MIN = 9,
	QCOW2_CLUSTER_BITS_MAX = 21,
	QCOW2_REFCOUNT_ORDER_MAX = 6,
	/* QEMU's limits, which the format's text leaves open */
	QCOW2_L1_BYTES_MAX = 32 << 20,
	QCOW2_REFTABLE_BYTES_MAX = 8 << 20,
	QCOW2_SNAPSHOTS_MAX = 65536,
	QCOW2_BITMAPS_MAX = 65535,
	QCOW2_BITMAP_DIRECTORY_MAX = 1024 * QCOW2_BITMAPS_MAX,
};

#define QCOW2_INCOMPATIBLE_DIRTY        (1ULL << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT      (1ULL << 1)
#define QCOW2_INCOMPATIBLE_DATA_FILE    (1ULL << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION  (1ULL << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2  (1ULL << 4)
#define QCOW2_COMPATIBLE_LAZY_REFCOUNTS (1ULL << 0)
#define QCOW2_AUTOCLEAR_BITMAPS         (1ULL << 0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW   (1ULL << 1)
#define QCOW2_INCOMPATIBLE_KNOWN        ((1ULL << 5) - 1)

/* Section "Header extensions" */
struct qcow2_extension {
	uint32_t magic;
	uint32_t length; /* of the data after it, which is padded to 8 bytes */
};
#define QCOW2_EXTENSION_END            0U
#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acaU
#define QCOW2_EXTENSION_FEATURE_NAMES  0x6803f857U
#define QCOW2_EXTENSION_DATA_FILE      0x44415441U
#define QCOW2_EXTENSION_BITMAPS        0x23852875U
#define QCOW2_EXTENSION_CRYPT          0x0537be77U

enum { QCOW2_CRYPT_LUKS = 2 }; /* of crypt_method */

/* Section "Full disk encryption header pointer" */
struct qcow2_crypt_extension {
	uint64_t offset, length; /* of the encryption's own header, in bytes */
};
static_assert(sizeof(struct qcow2_crypt_extension) == 16, "as the format has it");

/* Section "Bitmaps extension" */
struct qcow2_bitmaps_extension {
	uint32_t count;
	uint32_t reserved;
	uint64_t directory_size; /* bytes */
	uint64_t directory_offset;
};
static_assert(sizeof(struct qcow2_bitmaps_extension) == 24, "as the format has it");

#endif
