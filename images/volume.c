#include "images/volume.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/chain.h"
#include "images/inflate.h"
#include "images/volume_layers.h"
#include "images/image.h"

static_assert(VOLUME_LAYERS_MAX == CHAIN_MAX, "whatever chain_resolve() finds can be read");

/* ---- opening -------------------------------------------------------------------------------------- */

static int open_qcow2(struct layer *l, struct err *err)
{
	if (qcow2_read(l->fd, &l->q, err) < 0 || qcow2_may_stand(&l->q, "the image", err) < 0)
		return -1;
	l->size = l->q.virtual_size;
	l->map = qcow2_map_open(l->fd, &l->q, err);
	return l->map ? 0 : -1;
}

static int open_layer(struct layer *l, const struct volume_layer *what, struct err *err)
{
	struct stat st;
	l->fd = what->fd;
	if (what->qcow2)
		return open_qcow2(l, err);
	if (fstat(l->fd, &st) < 0)
		return err_errno(err, "cannot look at the file");
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "not a regular file");
	l->size = raw_virtual_size(&st);
	return 0;
}

static int in_layer(const struct volume *v, size_t i, struct err *err)
{
	return v->count > 1 ? err_prefix(err, "layer %zu", i) : -1;
}

struct volume *volume_open(const struct volume_layer *layers, size_t count, struct err *err)
{
	if (count == 0 || count > VOLUME_LAYERS_MAX) {
		err_set(err, ERR_USAGE, "a disk of %zu layers: 1 to %d are possible", count,
			VOLUME_LAYERS_MAX);
		return NULL;
	}
	struct volume *v = xcalloc(1, sizeof(*v));
	v->count = count;
	for (size_t i = 0; i < count; i++) {
		if (open_layer(&v->layers[i], &layers[i], err) < 0) {
			in_layer(v, i, err);
			volume_close(v);
			return NULL;
		}
	}
	return v;
}

void volume_close(struct volume *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->count; i++)
		qcow2_map_close(v->layers[i].map);
	free(v->cluster.bytes);
	free(v->packed);
	free(v);
}

uint64_t volume_size(const struct volume *v)
{
	return v->layers[0].size;
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* What of it lies beyond the end of the file is zeroes. */
static int read_file(int fd, uint64_t at, void *out, size_t len, struct err *err)
{
	char *to = out;
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read the image at %" PRIu64, at);
		if (n == 0) {
			memset(to, 0, len);
			return 0;
		}
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The layer's cluster that is packed in `run`, into v->cluster, unless it is there already. */
static int unpack(struct volume *v, size_t i, const struct qcow2_run *run, struct err *err)
{
	const struct layer *l = &v->layers[i];
	size_t size = (size_t)1 << l->q.cluster_bits;
	struct cluster *c = &v->cluster;
	if (c->bytes && c->layer == i && c->host == run->host && c->host_length == run->host_length)
		return 0;
	free(TAKE(c->bytes));
	v->packed = xrealloc(v->packed, run->host_length);
	if (read_file(l->fd, run->host, v->packed, run->host_length, err) < 0)
		return -1;
	_cleanup_free_ unsigned char *bytes = xrealloc(NULL, size);
	int result = l->q.compression ? inflate_zstd(v->packed, run->host_length, bytes, size, err)
				      : inflate_zlib(v->packed, run->host_length, bytes, size, err);
	if (result < 0)
		return -1;
	*c = (struct cluster){TAKE(bytes), i, run->host, run->host_length};
	return 0;
}

/* The first `run->length` bytes at `offset` or less; the run is one of layer `i`. */
static int read_run(struct volume *v, size_t i, uint64_t offset, const struct qcow2_run *run,
	void *out, struct err *err)
{
	size_t len = (size_t)run->length;
	switch (run->kind) {
	case QCOW2_DATA:
		return read_file(v->layers[i].fd, run->host, out, len, err);
	case QCOW2_COMPRESSED:
		if (unpack(v, i, run, err) < 0)
			return -1;
		memcpy(out, v->cluster.bytes + (offset & ((1U << v->layers[i].q.cluster_bits) - 1)),
			len);
		return 0;
	default:
		memset(out, 0, len);
		return 0;
	}
}

int layer_run(const struct layer *l, uint64_t offset, uint64_t most, struct qcow2_run *out,
	struct err *err)
{
	if (most > l->size - offset)
		most = l->size - offset;
	if (l->map)
		return qcow2_map_at(l->map, offset, most, out, err);
	*out = (struct qcow2_run){
		.kind = QCOW2_DATA, .placed = true, .length = most, .host = offset};
	return 0;
}

/* Which layer has what is at `offset`; that none has is QCOW2_UNALLOCATED. */
static int find(struct volume *v, uint64_t offset, uint64_t most, size_t *layer,
	struct qcow2_run *run, struct err *err)
{
	*run = (struct qcow2_run){.kind = QCOW2_UNALLOCATED, .length = most};
	for (size_t i = 0; i < v->count && offset < v->layers[i].size; i++) {
		if (layer_run(&v->layers[i], offset, run->length, run, err) < 0)
			return in_layer(v, i, err);
		*layer = i;
		if (run->kind != QCOW2_UNALLOCATED)
			return 0;
	}
	return 0;
}

int volume_read(struct volume *v, uint64_t offset, void *buf, size_t len, struct err *err)
{
	size_t layer = 0;
	char *to = buf;
	struct qcow2_run run;
	if (offset > volume_size(v) || len > volume_size(v) - offset)
		return err_set(err, ERR_USAGE,
			"%zu bytes at %" PRIu64
			" lie beyond the end of the disk, which has %" PRIu64,
			len, offset, volume_size(v));
	while (len) {
		if (find(v, offset, len, &layer, &run, err) < 0)
			return -1;
		if (read_run(v, layer, offset, &run, to, err) < 0)
			return in_layer(v, layer, err);
		to += run.length;
		offset += run.length;
		len -= (size_t)run.length;
	}
	return 0;
}
