/* For images/filesystem*.c only: how a superblock is read, and those that are more than a few fields. */
#ifndef IMAGES_FILESYSTEM_KINDS_H
#define IMAGES_FILESYSTEM_KINDS_H

#include <endian.h>
#include <string.h>

#include "images/filesystem.h"

struct part {
	partition_read_fn *read;
	void *about;
	uint64_t at, size;
};

/* 1; 0: it ends before; -1 */
int part_read(const struct part *p, void *data, uint64_t offset, size_t len, struct err *err);
/* A label of at most `len` bytes, padded with NULs or blanks. */
void label_take(struct filesystem *f, const uint8_t *from, size_t len);
void uuid_take(struct filesystem *f, const uint8_t from[16]);

/* Each: 1, it is one; 0, it is not; -1. *f is filled in only for 1. */
typedef int filesystem_fn(const struct part *p, struct filesystem *f, struct err *err);
int ext_look(const struct part *p, struct filesystem *f, struct err *err);
int fat_look(const struct part *p, struct filesystem *f, struct err *err);

#define READ_NUMBER(bits, order)                                                                   \
	static inline uint##bits##_t order##bits##_at(const uint8_t *p)                            \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof(v));                                                          \
		return order##bits##toh(v);                                                        \
	}
READ_NUMBER(16, le)
READ_NUMBER(32, le)
READ_NUMBER(64, le)
READ_NUMBER(16, be)
READ_NUMBER(32, be)
READ_NUMBER(64, be)
#undef READ_NUMBER

#endif
