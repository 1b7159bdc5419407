/*
 * What is on a disk, partition by partition, as JSON: images/partition.h and images/filesystem.h together.
 *
 *	number		of the partition; absent: the whole disk, which has no table
 *	start, length	bytes
 *	purpose, name	what its table says of it; absent where that is nothing
 *	type		"ext4", "swap", "LVM2_member"; absent: nothing we know
 *	label, uuid
 *	block-size, total, used, available	bytes; absent where they are not known
 *	inodes, inodes-used
 *	approximate, unclean	true, else absent: filesystem.h
 */
#ifndef IMAGES_DISK_USAGE_H
#define IMAGES_DISK_USAGE_H

#include "base/json.h"
#include "images/partition.h"

/* A list of those; NULL with *err. ERR_USAGE: there is a GPT, and neither of its copies is sound. */
json_t *disk_usage(partition_read_fn *read, void *about, uint64_t size, struct err *err);

#endif
