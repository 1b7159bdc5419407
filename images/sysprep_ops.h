/*
 * What makes a system fit to be copied: the operations of `roost sysprep`, named as virt-sysprep(1) names
 * them where it has them. An operation is a number of rows: what is done with which files.
 */
#ifndef IMAGES_SYSPREP_OPS_H
#define IMAGES_SYSPREP_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum sysprep_act {
	ACT_REMOVE, /* what matches, a folder with all that is in it */
	ACT_FILES,  /* of what matches only what is no folder */
	ACT_PLAIN,  /* the same, and no symbolic link */
	ACT_EMPTY,  /* the file stays, without content */
	ACT_LINES,  /* lines of it that begin with one of `lines` */
};

struct sysprep_row {
	enum sysprep_act act;
	/* Absolute; '*', '?' and "@(a|b)" as bash has them, hidden names too; a part "**": folders of any depth. */
	const char *pattern;
	const char *const *lines; /* of ACT_LINES, up to NULL */
};

struct sysprep_op {
	const char *name;
	bool usual; /* done unless it is skipped */
	const char *doc;
	const struct sysprep_row *rows; /* up to one without a pattern */
};

extern const struct sysprep_op sysprep_ops[]; /* up to one without a name */
enum { SYSPREP_OPS_MAX = 64 };

/* What virt-sysprep has and this has not. */
struct sysprep_absent {
	const char *name;
	const char *why; /* and what to do instead */
};

extern const struct sysprep_absent sysprep_absent[]; /* up to one without a name */

/* By its place in sysprep_ops; NULL-terminated names to choose from are `sysprep_names`. */
typedef uint64_t sysprep_set;

sysprep_set sysprep_usual(void);
/*
 * Changes the set by a list "a,b,-c" as virt-sysprep's --operations takes it: `defaults` and `all` are the
 * usual ones and all. To take out what is never done is nothing. ERR_USAGE names the word that is no operation,
 * and the nearest one that is.
 */
int sysprep_choose(sysprep_set *set, const char *list, struct err *err);
/* May files of that pattern be removed? ERR_USAGE: it is not absolute, or of letters that not every shell takes as they are. */
int sysprep_check_pattern(const char *pattern, struct err *err);
/* Takes those of a list "a,b" out. */
int sysprep_skip(sysprep_set *set, const char *list, struct err *err);

#endif
