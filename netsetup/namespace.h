/*
 * The network namespace of a network: made anew, or one that lives on after its holder, entered through a tap
 * of a guest that still runs in it.
 */
#ifndef NETSETUP_NAMESPACE_H
#define NETSETUP_NAMESPACE_H

#include "base/err.h"

/*
 * This process moves into a network namespace of its own, where it may do all: as root into that alone, else
 * into a user namespace, too, in which its uid and gid are 0. ERR_REFUSED where the host forbids that, with what to do.
 */
int namespace_new(struct err *err);
/* Into the one that the tap is in, and into the user namespace that this belongs to. */
int namespace_of_tap(int tap, struct err *err);

/* Writes a setting of this namespace, "net/ipv4/ip_forward"; one that this kernel does not have is success. */
int namespace_set(const char *setting, const char *value, struct err *err);

/*
 * What `interface` of this namespace receives is worked on by all CPUs that this process may use (receive packet
 * steering: Documentation/networking/scaling.rst of Linux): else all is done by the one CPU that brings a guest's frames,
 * within a write of QEMU's, while its guest waits. An error where the kernel has no such thing, or shows no sysfs: it
 * shows none in a user namespace, whose networks lead through slirp4netns and not by here to the host.
 */
int namespace_steer(const char *interface, struct err *err);

#endif
