/* A file's bytes into another: shared where the file system can, else copied, holes left out. */
#include "images/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/signals.h"
#include "base/str.h"
#include "images/image.h"

enum { PIECE = 4 << 20 };

struct copy {
	int from, to;
	off_t in, out; /* where it begins in either */
	off_t size;
	bool moves; /* what is there already in `to` is written over, by holes, too, and `from` keeps nothing */
	image_told_fn *told;
	void *about;
};

static int cannot(struct err *err)
{
	return err_errno(err, "cannot copy");
}

/* Where the file systems are two, or an old kernel says no. */
static ssize_t copy_by_hand(const struct copy *c, off_t at, size_t len)
{
	static char piece[256 * 1024];
	ssize_t n = pread(c->from, piece, len < sizeof(piece) ? len : sizeof(piece), c->in + at);
	for (ssize_t done = 0; done < n;) {
		ssize_t put = pwrite(c->to, piece + done, (size_t)(n - done), c->out + at + done);
		if (put < 0)
			return -1;
		done += put;
	}
	return n;
}

static ssize_t copy_piece(const struct copy *c, off_t at, size_t len)
{
	off_t in = c->in + at, out = c->out + at;
	ssize_t n = copy_file_range(c->from, &in, c->to, &out, len, 0);
	return n > 0 ? n : copy_by_hand(c, at, len);
}

/* What was moved needs no second place on the disk; within a file, all but what the move itself has written to. */
static void give_back(const struct copy *c, off_t at, off_t len)
{
	const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (c->moves && (c->from != c->to || c->in - c->out >= PIECE))
		(void)!fallocate(c->from, how, c->in + at, len);
}

/* The bytes from `at` to `end`, none of which is a hole. */
static int copy_range(const struct copy *c, off_t at, off_t end, struct err *err)
{
	while (at < end) {
		if (signals_check(err) < 0)
			return -1;
		size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = copy_piece(c, at, len);
		if (n < 0)
			return cannot(err);
		if (n == 0)
			return err_set(err, ERR_USAGE, "the file became shorter while it was read");
		give_back(c, at, n);
		at += n;
		if (c->told)
			c->told(c->about, "copy", at, c->size);
	}
	return 0;
}

/* A hole: is it one in `to` as well, now? */
static bool make_hole(const struct copy *c, off_t at, off_t end)
{
	const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return at == end || !c->moves || fallocate(c->to, how, c->out + at, end - at) == 0;
}

static int copy_all(const struct copy *c, struct err *err)
{
	for (off_t at = 0; at < c->size;) {
		off_t data = lseek(c->from, c->in + at, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* a hole to the end */
			data = c->in + c->size;
		off_t hole = data < 0 ? -1 : lseek(c->from, data, SEEK_HOLE);
		if (data < 0) /* it cannot tell */
			data = c->in + at;
		if (hole < 0 || hole > c->in + c->size)
			hole = c->in + c->size;
		if (data > hole)
			data = hole;
		if (!make_hole(c, at, data - c->in))
			data = c->in + at;
		if (copy_range(c, data - c->in, hole - c->in, err) < 0)
			return -1;
		at = hole - c->in;
	}
	return 0;
}

int image_copy(int from, int to, image_told_fn *told, void *about, struct err *err)
{
	struct copy c = {.from = from, .to = to, .told = told, .about = about};
	struct stat st;
	if (fstat(from, &st) < 0)
		return err_errno(err, "cannot look at the file");
	c.size = st.st_size;
	if (ftruncate(to, 0) < 0)
		return cannot(err);
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	return ftruncate(to, c.size) < 0 ? cannot(err) : copy_all(&c, err);
}

int image_copy_part(int from, uint64_t at, uint64_t size, int to, image_told_fn *told, void *about,
	struct err *err)
{
	struct copy c = {.from = from,
		.to = to,
		.in = (off_t)at,
		.size = (off_t)size,
		.told = told,
		.about = about};
	return ftruncate(to, 0) < 0 || ftruncate(to, c.size) < 0 ? cannot(err) : copy_all(&c, err);
}

int image_move(int from, uint64_t at, uint64_t size, int to, uint64_t to_at, struct err *err)
{
	struct copy c = {.from = from,
		.to = to,
		.in = (off_t)at,
		.out = (off_t)to_at,
		.size = (off_t)size,
		.moves = true};
	return copy_all(&c, err);
}

int store_copy(const struct store *s, const struct store_entry *e, int from, struct err *err)
{
	return image_copy(from, e->fd, s->told, s->about, err) < 0
		       ? err_prefix(err, "the image '%s', on its way into the store", e->name)
		       : 0;
}
