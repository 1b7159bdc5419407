/* A file's bytes into the store: shared where the file system can, else copied, holes left out. */
#include "images/store.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"

enum { PIECE = 4 << 20 };

static int cannot(const struct store_entry *e, struct err *err)
{
	return err_errno(err, "cannot write the image '%s' into the store", e->name);
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
static int copy_range(const struct store *s, const struct store_entry *e, int from, off_t at,
	off_t end, off_t size, struct err *err)
{
	while (at < end) {
		size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = copy_piece(from, e->fd, at, len);
		if (n < 0)
			return cannot(e, err);
		if (n == 0)
			return err_set(err, ERR_USAGE, "the file became shorter while it was read");
		at += n;
		if (s->told)
			s->told(s->about, "copy", at, size);
	}
	return 0;
}

int store_copy(const struct store *s, const struct store_entry *e, int from, struct err *err)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return err_errno(err, "cannot look at the file");
	if (ftruncate(e->fd, 0) < 0)
		return cannot(e, err);
	if (ioctl(e->fd, FICLONE, from) == 0)
		return 0;
	if (ftruncate(e->fd, st.st_size) < 0)
		return cannot(e, err);
	for (off_t at = 0; at < st.st_size;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* a hole to the end */
			break;
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		if (hole < 0) { /* it cannot tell */
			data = at;
			hole = st.st_size;
		}
		if (copy_range(s, e, from, data, hole, st.st_size, err) < 0)
			return -1;
		at = hole;
	}
	return 0;
}
