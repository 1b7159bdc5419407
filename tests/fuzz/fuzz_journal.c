/*
 * jbd2_replay() on any bytes: they are the file system, and its first blocks its journal. Nothing may be read
 * or written beyond them; what was replayed is not replayed again.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "images/jbd2.h"

enum { BLOCK = JBD2_BLOCK_MIN, JOURNAL_MAX = 64 };

struct disk {
	uint8_t *data;
	uint64_t blocks, written;
};

static void must(bool holds)
{
	if (!holds)
		__builtin_trap();
}

static int read_block(void *about, uint64_t block, void *data, struct err *err)
{
	const struct disk *d = about;
	(void)err;
	must(block < d->blocks);
	memcpy(data, d->data + block * BLOCK, BLOCK);
	return 0;
}

static int write_block(
	void *about, uint64_t block, const void *data, uint64_t from, struct err *err)
{
	struct disk *d = about;
	(void)err;
	must(block < d->blocks && from < d->blocks && d->written++ <= JOURNAL_MAX);
	memcpy(d->data + block * BLOCK, data, BLOCK);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *copy = xcalloc(1, size + 1);
	struct disk d = {copy, size / BLOCK, 0};
	uint64_t blocks[JOURNAL_MAX], replayed = 0, again = 0;
	struct err err = ERR_INIT;
	memcpy(copy, data, size);
	for (uint64_t i = 0; i < JOURNAL_MAX; i++)
		blocks[i] = i;
	const struct jbd2 j = {
		.blocks = blocks,
		.count = (uint32_t)(d.blocks < JOURNAL_MAX ? d.blocks : JOURNAL_MAX),
		.block_size = BLOCK,
		.fs_blocks = d.blocks,
		.about = &d,
		.read = read_block,
		.write = write_block,
	};
	if (jbd2_replay(&j, &replayed, &err) < 0)
		must(err.kind == ERR_REFUSED && err.message[0]);
	else
		must(jbd2_replay(&j, &again, &err) == 0 && again == 0);
	return 0;
}
