/*
 * Extents, as qemu-img map has them. What it says of an offset is what the first layer says that has
 * data or zeroes there; in layers that are raw, and in qcow2 files whose tables were made before the
 * data, holes of the file are zeroes.
 */
#include "images/volume_layers.h"

#include <unistd.h>

/* How much of a file, from `at` on, is a hole (*zero) or is not; nothing more comes: UINT64_MAX. */
static uint64_t file_piece(int fd, uint64_t at, bool *zero)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	off_t end = data == (off_t)at ? lseek(fd, data, SEEK_HOLE) : data;
	*zero = data != (off_t)at;
	return end > (off_t)at ? (uint64_t)end - at : UINT64_MAX;
}

static void shorten(struct volume_extent *e, uint64_t length)
{
	if (e->length > length)
		e->length = length;
}

static void raw_extent(const struct layer *l, uint64_t at, struct volume_extent *e)
{
	shorten(e, file_piece(l->fd, at, &e->zero));
	e->data = !e->zero;
}

/* The cluster's place may be a hole still. */
static void look_for_hole(struct layer *l, struct volume_extent *e)
{
	if (l->tables == UNKNOWN)
		l->tables = qcow2_map_preallocated(l->map) ? PREALLOCATED : IN_ORDER;
	if (l->tables == PREALLOCATED)
		shorten(e, file_piece(l->fd, e->offset, &e->zero));
}

static void take_run(struct layer *l, const struct qcow2_run *run, struct volume_extent *e)
{
	e->length = run->length;
	e->present = run->kind != QCOW2_UNALLOCATED;
	e->zero = run->kind == QCOW2_ZERO;
	e->data = run->kind == QCOW2_DATA || run->kind == QCOW2_COMPRESSED;
	e->compressed = run->kind == QCOW2_COMPRESSED;
	e->has_offset = run->placed;
	e->offset = run->host;
	if (!l->map)
		raw_extent(l, run->host, e);
	else if (run->kind == QCOW2_DATA)
		look_for_hole(l, e);
}

/* One piece of an extent. */
static int piece_at(struct volume *v, uint64_t start, struct volume_extent *out, struct err *err)
{
	struct volume_extent e = {.start = start, .length = volume_size(v) - start};
	struct qcow2_run run;
	for (size_t i = 0; i < v->count; i++) {
		if (layer_run(&v->layers[i], start, e.length, &run, err) < 0)
			return v->count > 1 ? err_prefix(err, "layer %zu", i) : -1;
		take_run(&v->layers[i], &run, &e);
		e.depth = i;
		if (e.present)
			break;
		/* nothing below it, or that is too short */
		if (i + 1 == v->count || start >= v->layers[i + 1].size) {
			e.zero = true;
			break;
		}
	}
	*out = e;
	return 0;
}

static bool goes_on(const struct volume_extent *e, const struct volume_extent *next)
{
	return e->depth == next->depth && e->present == next->present && e->zero == next->zero &&
	       e->data == next->data && e->compressed == next->compressed &&
	       e->has_offset == next->has_offset &&
	       (!e->has_offset || e->offset + e->length == next->offset);
}

int volume_extent_at(struct volume *v, uint64_t start, struct volume_extent *out, struct err *err)
{
	struct volume_extent e, next;
	struct err ended = ERR_INIT;
	if (piece_at(v, start, &e, err) < 0)
		return -1;
	while (start + e.length < volume_size(v) &&
		piece_at(v, start + e.length, &next, &ended) == 0 && goes_on(&e, &next))
		e.length += next.length;
	*out = e;
	return 0;
}
