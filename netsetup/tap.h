/*
 * Taps: a cable whose one end is a port of the bridge and whose other end is an open file, which QEMU gets.
 *
 * They are not persistent: with its last open file the interface goes, so whoever dies leaks none. The
 * kernel takes 16 to 20 ms for that (it waits for RCU), so nobody closes one while a user waits.
 */
#ifndef NETSETUP_TAP_H
#define NETSETUP_TAP_H

#include "base/err.h"

enum { TAP_QUEUES_MAX = 16 };

/*
 * Makes the tap `name` (at most 15 bytes, none of that name may be there) in the namespace that this process is in; it is
 * not a port yet, and down. fds[0..queues-1] become the caller's, close-on-exec and non-blocking. One queue: an ordinary
 * tap, for one that could have more costs 5 MiB instead of 155 KiB. With IFF_VNET_HDR, as QEMU wants it.
 */
int tap_open(const char *name, unsigned queues, int *fds, struct err *err);

#endif
