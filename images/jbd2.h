/*
 * The journal of ext3 and ext4 (jbd2): what was committed to it and is not yet where it belongs is written
 * there, as the kernel does when it mounts the file system. With it a guest that was ended, not shut down,
 * is as it was at its last commit.
 *
 * It is read here because nothing else can: libext2fs replays none, and e2fsck and debugfs, which have code
 * for it, open a file or a block device by its path, where a guest's disk is a chain of qcow2 files behind a
 * socket. The format is small: Linux's Documentation/filesystems/ext4, "Journal (jbd2)". The judge is
 * e2fsck: the tests compare every block.
 *
 * A journal is what a guest wrote. Its blocks are read at most once in each of three passes, memory is bounded,
 * and only blocks of the file system are written.
 */
#ifndef IMAGES_JBD2_H
#define IMAGES_JBD2_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { JBD2_BLOCK_MIN = 1024, JBD2_BLOCK_MAX = 65536 };

/* Single blocks of the file system that the journal lies in. */
struct jbd2 {
	const uint64_t *blocks; /* the journal's own, in its order */
	uint32_t count;
	uint32_t block_size; /* JBD2_BLOCK_MIN to JBD2_BLOCK_MAX */
	uint64_t fs_blocks;  /* how many the file system has */
	void *about;
	int (*read)(void *about, uint64_t block, void *data, struct err *err);
	/* `from`: the journal's block that it was in; its own for the journal's superblock, which comes last */
	int (*write)(void *about, uint64_t block, const void *data, uint64_t from, struct err *err);
};

/*
 * Replays it and empties it. *replayed: how many blocks were written where they belong; 0: it was empty.
 * ERR_REFUSED: it is damaged, or has a feature that is not known here. Then some may have been written.
 */
int jbd2_replay(const struct jbd2 *j, uint64_t *replayed, struct err *err);

#endif
