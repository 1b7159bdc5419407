/*
 * What a network's holder still may once all is laid, before dnsmasq is started. It is uid 0 yet, of the host as root's and of its user namespace as
 * another user's, and listens to everybody who may use the network; so that what talks it into something gets little:
 *
 *	capabilities	NET_ADMIN		taps, links, addresses, guards
 *			NET_RAW, NET_BIND_SERVICE	not its own: dnsmasq is started with them (dhcp.c)
 *			SETUID, SETGID, KILL	dnsmasq and the proxies run as others, and are ended
 *			CHOWN			what dnsmasq reads is its group's
 *			SYS_ADMIN		not in effect but for the moment in which dnsmasq gets its PID namespace
 *			none of it reaches what is executed, but those three of the network; no_new_privs
 *	system calls	of those that capabilities would open none that mounts, enters or makes namespaces, loads code into the kernel,
 *			reads or holds other processes, or sets the clock (seccomp). What it starts inherits that
 *	files		written are only those below the folder that $RUN is in, which it must be able to make anew, and taps
 *			(Landlock, where the kernel has it). It reads what root may read
 */
#ifndef NETSETUP_CONFINE_H
#define NETSETUP_CONFINE_H

#include <stdbool.h>

#include "base/err.h"

/* For good. `writable`: a folder that is there. */
int confine(const char *writable, struct err *err);
/* CAP_SYS_ADMIN into effect, where it is still permitted, or out of it. Was it in effect? */
bool confine_admin(bool on);

#endif
