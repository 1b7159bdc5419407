#include "netsetup/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"

static int put(const char *path, const char *text, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_errno(err, "cannot write '%s' to '%s'", text, path);
	return 0;
}

int namespace_set(const char *setting, const char *value, struct err *err)
{
	_cleanup_free_ char *path = str_fmt("/proc/sys/%s", setting);
	return access(path, F_OK) < 0 ? 0 : put(path, value, err);
}

static bool says(const char *path, const char *value)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	return file_read(AT_FDCWD, path, 4096, &text, &ignored) == 0 &&
	       str_starts(text.data, value);
}

static int refused(struct err *err)
{
	int cause = errno;
	err_errno(err, "this host lets no user make a network namespace");
	/* user_namespaces(7): nothing of a disk */
	if (cause == ENOSPC)
		err_set(err, ERR_REFUSED,
			"this host lets no user make a network namespace: its limit of namespaces is reached");
	err->kind = ERR_REFUSED;
	if (says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
		return err_hint(err,
			"AppArmor wants a profile with `userns,` for roost-net; or use interfaces of kind `user`");
	if (says("/proc/sys/kernel/unprivileged_userns_clone", "0"))
		return err_hint(err,
			"`sudo sysctl kernel.unprivileged_userns_clone=1`, or interfaces of kind `user`");
	if (cause == ENOSPC || says("/proc/sys/user/max_user_namespaces", "0\n"))
		return err_hint(err,
			"`sudo sysctl user.max_user_namespaces=10000`, or interfaces of kind `user`");
	return err_hint(err, "use interfaces of kind `user`, which need none");
}

static int new_with_user(struct err *err)
{
	_cleanup_free_ char *uids = str_fmt("0 %u 1", (unsigned)geteuid());
	_cleanup_free_ char *gids = str_fmt("0 %u 1", (unsigned)getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return refused(err);
	if (put("/proc/self/setgroups", "deny", err) < 0 ||
		put("/proc/self/uid_map", uids, err) < 0)
		return -1;
	return put("/proc/self/gid_map", gids, err);
}

int namespace_new(struct err *err)
{
	if (geteuid() != 0)
		return new_with_user(err);
	if (unshare(CLONE_NEWNET) < 0)
		return err_errno(err, "cannot make a network namespace");
	return 0;
}

int namespace_of_tap(int tap, struct err *err)
{
	_cleanup_close_ int net = ioctl(tap, TUNGETDEVNETNS);
	if (net < 0)
		return err_errno(err, "cannot tell the network namespace of a tap");
	_cleanup_close_ int user = geteuid() == 0 ? -1 : ioctl(net, NS_GET_USERNS);
	if (geteuid() != 0 && (user < 0 || setns(user, CLONE_NEWUSER) < 0))
		return err_errno(err, "cannot enter the user namespace of a tap");
	if (setns(net, CLONE_NEWNET) < 0)
		return err_errno(err, "cannot enter the network namespace of a tap");
	return 0;
}

/* ---- steering ------------------------------------------------------------------------------------- */

/* A sysfs shows the interfaces of the namespace that it was mounted in: this one is of here, and mounted nowhere. */
static int open_sysfs(struct err *err)
{
	_cleanup_close_ int fs = fsopen("sysfs", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(err, "cannot open the namespace's sysfs");
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? err_errno(err, "cannot mount the namespace's sysfs") : fd;
}

/* As the kernel reads a bitmap: groups of 32 bits, the highest first. */
static void add_mask(struct buf *text, const cpu_set_t *cpus)
{
	bool begun = false;
	for (size_t group = CPU_SETSIZE / 32; group-- > 0;) {
		uint32_t bits = 0;
		for (size_t i = 0; i < 32; i++)
			if (CPU_ISSET(group * 32 + i, cpus))
				bits |= UINT32_C(1) << i;
		if (begun || bits)
			buf_fmt(text, begun ? ",%08x" : "%x", bits);
		begun = begun || bits;
	}
}

int namespace_steer(const char *interface, struct err *err)
{
	_cleanup_buf_ struct buf mask = {0};
	_cleanup_free_ char *path = str_fmt("class/net/%s/queues/rx-0/rps_cpus", interface);
	cpu_set_t cpus;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return err_errno(err, "cannot tell which CPUs are free to use");
	if (CPU_COUNT(&cpus) == 1)
		return 0;
	_cleanup_close_ int sysfs = open_sysfs(err);
	if (sysfs < 0)
		return -1;
	add_mask(&mask, &cpus);
	_cleanup_close_ int fd = openat(sysfs, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, mask.data, mask.len) < 0)
		return err_errno(err, "cannot write '%s' to '%s' of sysfs", mask.data, path);
	return 0;
}
