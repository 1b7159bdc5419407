/*
 * qcow2_read() on any bytes, and qcow2_snapshots() where that finds some: as a file of just that length, and as the start of a large sparse file,
 * so that tables which point far behind the input are inside it. What is accepted must keep the
 * promises of images/qcow2.h.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "images/qcow2_bitmaps.h"
#include "images/qcow2_crypt.h"
#include "images/qcow2_snapshots.h"

#define LARGE (64 << 20)

static void check_snapshots(int fd, const struct qcow2_info *info)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *list = qcow2_snapshots(fd, info, &err);
	if (list ? json_array_size(list) != info->snapshots : !err.message[0])
		__builtin_trap();
}

static void check(int fd)
{
	struct qcow2_info info;
	struct err err = ERR_INIT;
	int probed = qcow2_probe(fd, &err);
	if (qcow2_read(fd, &info, &err) < 0) {
		if (!err.message[0])
			__builtin_trap();
		return;
	}
	if (probed != 1 || info.version < 2 || info.version > 3 || info.cluster_bits < 9 ||
		info.cluster_bits > 21 || info.refcount_bits > 64 || info.compression > 1 ||
		info.virtual_size > qcow2_max_size(info.cluster_bits) ||
		info.has_backing != (info.backing[0] != '\0') ||
		!memchr(info.backing, '\0', sizeof(info.backing)) ||
		!memchr(info.backing_format, '\0', sizeof(info.backing_format)))
		__builtin_trap();
	if (info.snapshots)
		check_snapshots(fd, &info);
	json_t *bitmaps = info.bitmaps ? qcow2_bitmaps(fd, &info, &err) : NULL;
	if (bitmaps && json_array_size(bitmaps) != info.bitmaps)
		__builtin_trap();
	json_decref(bitmaps);
	json_decref(info.encrypted ? qcow2_encrypt(fd, &info, &err) : NULL);
	if (qcow2_may_enter(&info, "image", &err) == 0 &&
		(info.has_backing || info.data_file || info.encrypted || info.corrupt))
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	if (fd < 0)
		fd = memfd_create("qcow2", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		__builtin_trap();
	check(fd);
	if (size < LARGE && ftruncate(fd, LARGE) == 0)
		check(fd);
	return 0;
}
