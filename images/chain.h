/*
 * A disk's backing chain, resolved by us from what the headers name, so that QEMU is handed open
 * files and an explicit graph and never follows a name itself.
 *
 * Only local regular files whose formats are named may stand in a chain; a relative name is taken
 * from the folder of the file that names it. Protocols ("nbd:", "json:", "http:"...), external data
 * files, encryption, loops, a missing format, more than CHAIN_MAX files are refused by name.
 */
#ifndef IMAGES_CHAIN_H
#define IMAGES_CHAIN_H

#include <stddef.h>
#include <sys/types.h>

#include "images/qcow2.h"

#define CHAIN_MAX 32

struct chain_link {
	char *path; /* absolute */
	bool qcow2; /* else raw */
	uint64_t virtual_size;
	uint64_t file_size;
	dev_t device;
	ino_t inode;
	int64_t mtime_ns;
};

struct chain {
	struct chain_link links[CHAIN_MAX]; /* [0] is the active layer */
	size_t count;
};

/* `qcow2`: the format of `path` as its owner named it; nothing is probed. */
int chain_resolve(const char *path, bool qcow2, struct chain *out, struct err *err);
void chain_free(struct chain *c);
/*
 * The absolute path of the file that `overlay` calls `name`, as chain_resolve() tells it; freed by the
 * caller. NULL with errno: there is no such folder.
 */
char *chain_backing_path(const char *overlay, const char *name);
/* The error of a backing file that is missing: the line that mends it is the hint, with the file of that name in the current folder. Returns -1. */
int chain_backing_missing(const char *overlay, const char *backing, bool qcow2, struct err *err);

#endif
