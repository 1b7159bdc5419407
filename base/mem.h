/*
 * Memory and cleanup on leaving a scope.
 *
 * Running out of memory ends the program (a keeper's end harms no guest: the next one re-attaches),
 * so the allocators here never return NULL. `_cleanup_(f)` calls f(&variable) when the variable's
 * scope ends; TAKE() moves a pointer out so that the cleanup finds NULL, TAKE_FD() an fd.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* "unused" is for clang, which does not count the cleanup as a use */
#define _cleanup_(f)    __attribute__((cleanup(f), unused))
#define _cleanup_free_  _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)

#define TAKE(p)                                                                                    \
	({                                                                                         \
		__auto_type _taken = (p);                                                          \
		(p) = NULL;                                                                        \
		_taken;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int _taken = (fd);                                                                 \
		(fd) = -1;                                                                         \
		_taken;                                                                            \
	})
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

void cleanup_free(void *pointer_to_pointer);
/* Closes *fd if it is not negative and sets it to -1; errno is kept. */
void cleanup_close(int *fd);

void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s); /* xstrdup(NULL) is NULL */

#endif
