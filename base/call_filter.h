/* Which system calls this process may still make (seccomp): a list of those that it may, or of those that it may not. */
#ifndef BASE_CALL_FILTER_H
#define BASE_CALL_FILTER_H

#include <stdbool.h>
#include <stddef.h>

enum { CALL_FILTER_MAX = 100 };

/*
 * From here on, and for all that it starts: the calls of that list (__NR_...; at most CALL_FILTER_MAX) are the only ones
 * if `only`, else the ones that are shut off. What is shut off fails with EPERM; a call under another architecture's
 * numbers, which is another call, ends the process. New privileges are renounced, too. -1 with errno: EINVAL from a kernel
 * without seccomp. Where the architecture is not known to us nothing is shut off.
 */
int call_filter(const int *calls, size_t count, bool only);

#endif
