/*
 * What sysprep does with an ext file system that a guest has made up: all of its operations, then files copied in and a password set.
 * The disk is memory here, in the place of images/nbd.c. That it ends and writes nowhere else is the test.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/ext_tree.h"
#include "images/sysprep_files.h"
#include "images/sysprep_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DISK_SIZE = 1 << 20 };

static unsigned char disk[DISK_SIZE];

static void must(bool holds)
{
	if (!holds)
		abort();
}

int nbd_read(struct nbd *n, void *data, uint64_t at, uint32_t len, struct err *err)
{
	(void)err;
	must(at <= n->size && len <= n->size - at);
	memcpy(data, disk + at, len);
	return 0;
}

int nbd_write(struct nbd *n, const void *data, uint64_t at, uint32_t len, struct err *err)
{
	(void)err;
	must(at <= n->size && len <= n->size - at);
	memcpy(disk + at, data, len);
	return 0;
}

int nbd_zero(struct nbd *n, uint64_t at, uint32_t len, struct err *err)
{
	(void)err;
	must(at <= n->size && len <= n->size - at);
	memset(disk + at, 0, len);
	return 0;
}

int nbd_flush(struct nbd *n, struct err *err)
{
	(void)n, (void)err;
	return 0;
}

static const char files[] = "{\"into\":\"/etc\"}\n"
			    "{\"name\":\"new\",\"depth\":0,\"mode\":493,\"folder\":true}\n"
			    "{\"name\":\"file\",\"depth\":1,\"mode\":420,\"size\":5}\nroost"
			    "{\"name\":\"link\",\"depth\":1,\"link\":\"file\"}\n"
			    "{\"name\":\"fstab\",\"depth\":0,\"mode\":420,\"size\":1}\nx";
static const char password[] = "{\"user\":\"root\",\"hash\":\"$6$fuzzed$0123456789abcdef\"}\n";

static int put(struct ext_tree *t, const char *stream, size_t len, struct err *err)
{
	_cleanup_close_ int fd = memfd_create("files", MFD_CLOEXEC);
	uint64_t count = 0;
	must(write(fd, stream, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
	return sysprep_files_put(t, fd, &count, err);
}

static int work(struct ext_volume *v, struct err *err)
{
	struct ext_tree t = {v, 1, 0, 0, 0, 0};
	_cleanup_buf_ struct buf fstab = {0};
	if (ext_begin(v, err) < 0 || tree_read(&t, "/etc/fstab", 4096, &fstab, err) < 0)
		return -1;
	must(fstab.len <= 4096);
	for (const struct sysprep_op *op = sysprep_ops; op->name; op++)
		for (const struct sysprep_row *row = op->rows; row->pattern; row++)
			if (tree_do(&t, row, err) < 0)
				return -1;
	if (put(&t, files, sizeof(files) - 1, err) < 0)
		return -1;
	struct err none = ERR_INIT; /* nobody of that name: that is all that need not go well */
	if (put(&t, password, sizeof(password) - 1, &none) == 0 || none.kind == ERR_NOT_FOUND)
		return 0;
	*err = none;
	return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	if (size > sizeof(disk))
		return 0;
	memcpy(disk, data, size);
	memset(disk + size, 0, sizeof(disk) - size);
	struct cached_disk *d = xcalloc(1, sizeof(*d));
	d->nbd.size = sizeof(disk);
	struct ext_volume v = {.disk = d, .size = sizeof(disk), .name = "vda", .mounted = true};
	if (ext_probe(d, 0, sizeof(disk), &err) == 1 && ext_open(&v, &err) == 0) {
		bool done = work(&v, &err) == 0;
		must(done || err.message[0]);
		if (ext_close(&v, done, &err) == 0 && done)
			must(disk_sync(d, &err) == 0);
	}
	for (size_t i = 0; i < DISK_UNITS; i++)
		free(d->units[i].data);
	free(d);
	return 0;
}
