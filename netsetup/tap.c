#include "netsetup/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/mem.h"

#define TUN "/dev/net/tun"

static int no_tun(struct err *err)
{
	int error = errno;
	err_errno(err, "cannot open " TUN);
	err->kind = ERR_SYSTEM; /* no guest is missing */
	if (error == ENOENT || error == ENODEV)
		return err_hint(err, "`sudo modprobe tun`, or interfaces of kind `user`");
	return err_hint(err,
		"`sudo chmod 666 " TUN "`, as distributions have it, or interfaces of kind `user`");
}

static int open_queue(const char *name, bool many, struct err *err)
{
	struct ifreq r = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
					       (many ? IFF_MULTI_QUEUE : IFF_TUN_EXCL))};
	_cleanup_close_ int fd = open(TUN, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return no_tun(err);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return err_errno(err, "cannot make the tap '%s'", name);
	return TAKE_FD(fd);
}

int tap_open(const char *name, unsigned queues, int *fds, struct err *err)
{
	if (strlen(name) >= IFNAMSIZ)
		return err_set(err, ERR_USAGE, "the tap's name '%s' has more than %d bytes", name,
			IFNAMSIZ - 1);
	if (queues < 1 || queues > TAP_QUEUES_MAX)
		return err_set(
			err, ERR_USAGE, "a tap has 1 to %d queues, not %u", TAP_QUEUES_MAX, queues);
	/* TUNSETIFF would open one that is there: another guest's */
	if (if_nametoindex(name))
		return err_set(err, ERR_REFUSED, "the tap '%s' exists already", name);
	for (unsigned i = 0; i < queues; i++) {
		fds[i] = open_queue(name, queues > 1, err);
		if (fds[i] >= 0)
			continue;
		while (i-- > 0)
			cleanup_close(&fds[i]);
		return -1;
	}
	return 0;
}
