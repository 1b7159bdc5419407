/*
 * volume_read() on any bytes that qcow2_read() accepts: every byte of the first megabyte and of the last, as a
 * volume of one layer; and the first of its extents, which must follow one another. That it ends and reads nothing
 * of ours is the test.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "images/volume.h"

enum { WINDOW = 1 << 20, STEP = 4096, EXTENTS = 1000 };

static void read_from(struct volume *v, uint64_t from)
{
	static char buf[STEP];
	uint64_t size = volume_size(v), end = from + WINDOW < size ? from + WINDOW : size;
	for (uint64_t at = from; at < end; at += STEP) {
		struct err err = ERR_INIT;
		size_t len = end - at < STEP ? (size_t)(end - at) : STEP;
		if (volume_read(v, at, buf, len, &err) < 0 && !err.message[0])
			__builtin_trap();
	}
}

static void map(struct volume *v)
{
	struct err err = ERR_INIT;
	struct volume_extent e;
	uint64_t at = 0, size = volume_size(v);
	for (int i = 0; i < EXTENTS && at < size; i++) {
		if (volume_extent_at(v, at, &e, &err) < 0) {
			if (!err.message[0])
				__builtin_trap();
			return;
		}
		if (e.start != at || e.length == 0 || e.length > size - at || e.depth != 0)
			__builtin_trap();
		at += e.length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct err err = ERR_INIT;
	if (fd < 0)
		fd = memfd_create("volume", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		__builtin_trap();
	struct volume *v = volume_open(&(struct volume_layer){fd, true}, 1, &err);
	if (!v)
		return 0;
	read_from(v, 0);
	if (volume_size(v) > WINDOW)
		read_from(v, volume_size(v) - WINDOW);
	map(v);
	volume_close(v);
	return 0;
}
