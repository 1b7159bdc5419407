/*
 * A large file that is written piece by piece and gets its name when it is whole: until then it has none (O_TMPFILE), or
 * where the file system cannot do that "NAME.new.PID" beside it. Whoever is killed leaves nothing, there that name.
 *
 *	_cleanup_new_file_ struct new_file f = NEW_FILE_NONE;
 *	if (new_file_begin(&f, path, err) < 0 || write_all(f.fd, ...) < 0 || new_file_commit(&f, true, err) < 0)
 *		return -1;
 *
 * It is 0600, and the path is its user's own: it may lead over symbolic links.
 */
#ifndef BASE_NEW_FILE_H
#define BASE_NEW_FILE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"

struct new_file {
	int dir, fd;
	char *name;      /* in `dir` */
	char *temporary; /* its name so far */
	bool named;      /* it has that already */
};
#define NEW_FILE_NONE                                                                              \
	{                                                                                          \
		.dir = -1, .fd = -1                                                                \
	}

/* Open for reading and writing. ERR_USAGE: the path is a folder's, or something else is there that is no regular file. */
int new_file_begin(struct new_file *f, const char *path, struct err *err);
/*
 * Flushed and named: when it returns it survives a loss of power. `replaces`: whatever has that name goes; else
 * ERR_REFUSED, and that stays.
 */
int new_file_commit(struct new_file *f, bool replaces, struct err *err);
/* One that will not be committed, but is needed a while yet, gives up its temporary name. */
void new_file_leave_name(struct new_file *f);
/* Of one that was not committed nothing stays. */
void new_file_end(struct new_file *f);
#define _cleanup_new_file_ _cleanup_(new_file_end)

#endif
