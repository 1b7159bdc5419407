/* The last wall around roost-sysprep, which it puts up itself. */
#ifndef IMAGES_SYSPREP_JAIL_H
#define IMAGES_SYSPREP_JAIL_H

#include "base/err.h"

/*
 * From here on this process reads and writes what it has open, takes memory within a limit and time on the
 * CPU within another, and does nothing else: every other system call fails with EPERM.
 */
int sysprep_jail(struct err *err);

#endif
