/* A file's bytes into another: shared where the file system can, else copied, holes left out. */
#include "images/store.h"

#include <errno.h>
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
	off_t size;
	image_told_fn *told;
	void *about;
};

static int cannot(struct err *err)
{
	return err_errno(err, "cannot copy");
}

/* Where the file systems are two, or an old kernel says no. */
static ssize_t copy_by_hand(int from, int to, off_t at, size_t len)
{
	static char piece[256 * 1024];
	ssize_t n = pread(from, piece, len < sizeof(piece) ? len : sizeof(piece), at);
	for (ssize_t done = 0; done < n;) {
		ssize_t put = pwrite(to, piece + done, (size_t)(n - done), at + done);
		if (put < 0)
			return -1;
		done += put;
	}
	return n;
}

static ssize_t copy_piece(int from, int to, off_t at, size_t len)
{
	off_t in = at, out = at;
	ssize_t n = copy_file_range(from, &in, to, &out, len, 0);
	return n > 0 ? n : copy_by_hand(from, to, at, len);
}

/* The bytes from `at` to `end`, none of which is a hole. */
static int copy_range(const struct copy *c, off_t at, off_t end, struct err *err)
{
	while (at < end) {
		if (signals_check(err) < 0)
			return -1;
		size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = copy_piece(c->from, c->to, at, len);
		if (n < 0)
			return cannot(err);
		if (n == 0)
			return err_set(err, ERR_USAGE, "the file became shorter while it was read");
		at += n;
		if (c->told)
			c->told(c->about, "copy", at, c->size);
	}
	return 0;
}

static int copy_all(const struct copy *c, struct err *err)
{
	for (off_t at = 0; at < c->size;) {
		off_t data = lseek(c->from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* a hole to the end */
			break;
		off_t hole = data < 0 ? -1 : lseek(c->from, data, SEEK_HOLE);
		if (hole < 0) { /* it cannot tell */
			data = at;
			hole = c->size;
		}
		if (copy_range(c, data, hole, err) < 0)
			return -1;
		at = hole;
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

int store_copy(const struct store *s, const struct store_entry *e, int from, struct err *err)
{
	return image_copy(from, e->fd, s->told, s->about, err) < 0
		       ? err_prefix(err, "the image '%s', on its way into the store", e->name)
		       : 0;
}
