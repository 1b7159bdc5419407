/*
 * Partition tables of a disk that is read through a function: GPT (UEFI specification, 5.3) and MBR with
 * logical partitions. Numbers are Linux's, vda1 is 1. What is not inside the disk is left out; nothing is
 * allocated, and how much is read does not depend on what the tables say.
 *
 * A GPT is believed by its checksums: the first one, else the one at the disk's end. Its sectors are of 512
 * or of 4096 bytes, whichever it is found by; those of an MBR, which does not tell, are of 512.
 */
#ifndef IMAGES_PARTITION_H
#define IMAGES_PARTITION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PARTITIONS_MAX = 128, PARTITION_NAME_MAX = 36 * 3 };
enum partition_table { TABLE_NONE, TABLE_MBR, TABLE_GPT };

struct partition {
	unsigned number;
	uint64_t at, size;    /* bytes */
	uint8_t mbr_type;     /* 0x83: Linux; of an MBR */
	uint8_t gpt_type[16]; /* as it stands on the disk: the first three parts little-endian */
	char name[PARTITION_NAME_MAX +
		  1]; /* a GPT's, in UTF-8, without control characters; "": none */
};

struct partitions {
	enum partition_table table; /* TABLE_GPT without any: neither of its two copies is sound */
	size_t count;
	struct partition all[PARTITIONS_MAX];
};

typedef int partition_read_fn(void *about, void *data, uint64_t at, size_t len, struct err *err);
/* `size` of the disk in bytes. No table is TABLE_NONE, success; -1: it could not be read. */
int partitions_read(partition_read_fn *read, void *about, uint64_t size, struct partitions *out,
	struct err *err);
/* "Linux", "EFI system", "Linux LVM": what its table says that it is for; NULL: nothing we know. */
const char *partition_purpose(const struct partition *p, enum partition_table table);

#endif
