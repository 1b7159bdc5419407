/*
 * A disk image as it is found: is it qcow2 or raw, how large, which file.
 *
 * qcow2 is known by its magic and must pass qcow2_may_enter(); whatever else has the magic of a
 * format that QEMU or an unpacker knows is refused by name; what is left is raw. This is the one
 * place where a format is guessed, once, when an image is first named: the answer is recorded.
 */
#ifndef IMAGES_IMAGE_H
#define IMAGES_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

struct image_look {
	bool qcow2;            /* else raw */
	uint64_t virtual_size; /* what a guest sees, whole sectors of 512 */
	uint64_t file_size;
	dev_t device;
	ino_t inode;
	int64_t mtime_ns;
};

int image_look(const char *path, struct image_look *out, struct err *err);
/* The same of a file that is open already; `what` names it in errors. */
int image_look_open(int fd, const char *what, struct image_look *out, struct err *err);

/*
 * Opens a regular file for reading. Anything else is refused without being opened: merely opening
 * a device can have effects (/dev/watchdog), opening a FIFO can wait.
 */
int image_open(const char *path, struct stat *st, struct err *err);

/*
 * The bytes of a regular file into another, which gets its length: shared where the file system can,
 * else copied, and holes stay holes. Tells "copy", unless `told` is NULL. Ends early, as after any
 * error, when it is cancelled (base/signals.h).
 */
typedef void image_told_fn(void *about, const char *step, int64_t done, int64_t total);
int image_copy(int from, int to, image_told_fn *told, void *about, struct err *err);
/* The same of `size` bytes from `at` on. */
int image_copy_part(int from, uint64_t at, uint64_t size, int to, image_told_fn *told, void *about,
	struct err *err);
/*
 * They go to `to_at` of another file, or of the same to a place before; what was there is written over. What they took on
 * the disk is given back on the way.
 */
int image_move(int from, uint64_t at, uint64_t size, int to, uint64_t to_at, struct err *err);
/* Refuses what has the magic of a format that is neither qcow2 nor raw, by name. */
int image_refuse_known(int fd, const char *what, struct err *err);

static inline int64_t stat_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Raw: the last sector counts whole, as it does for QEMU. */
static inline uint64_t raw_virtual_size(const struct stat *st)
{
	return ((uint64_t)st->st_size + 511) & ~511ULL;
}

#endif
