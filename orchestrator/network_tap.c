#include "orchestrator/network_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

/* Is what was taken the tap of that name? */
static bool is_tap(int fd, const char *tap)
{
	struct ifreq r = {0};
	return ioctl(fd, TUNGETIFF, &r) == 0 && str_eq(r.ifr_name, tap);
}

/* "iff:\tNAME" is in the fdinfo of a tap's open file alone (drivers/net/tun.c). */
static bool names_tap(int infos, const char *number, const char *tap)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *line = str_fmt("\niff:\t%s\n", tap);
	return file_read(infos, number, 65536, &text, &ignored) == 0 && strstr(text.data, line);
}

static int take_from(const struct proc *p, const char *tap)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **numbers = NULL;
	_cleanup_free_ char *path = str_fmt("/proc/%d/fdinfo", (int)p->pid);
	_cleanup_close_ int infos = dir_open(AT_FDCWD, path, &ignored);
	if (infos < 0 || dir_names(infos, &numbers, NULL, &ignored) < 0)
		return -1;
	for (char **number = numbers; *number; number++) {
		if (!names_tap(infos, *number, tap))
			continue;
		_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, p->pidfd, atoi(*number), 0);
		if (fd >= 0 && is_tap(fd, tap))
			return TAKE_FD(fd);
	}
	return -1;
}

/* The guest's QEMU. Its status file is the keeper's, so the process must be of the uid that was issued for it. */
static int take_from_guest(const char *guest, const char *tap)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	struct proc p = PROC_NONE;
	int fd = -1;
	_cleanup_definition_ struct definition *d = record_read(guest, &ignored);
	_cleanup_close_ int run = d ? run_dir_open(d->issued.id, &ignored) : -1;
	if (run < 0 || status_read(run, "status", &s, &ignored) < 0)
		return -1;
	if (proc_open_known(s.qemu_pid, s.qemu_start, &p, &ignored) == 0 &&
		proc_uid(p.pid) == d->issued.qemu_uid)
		fd = take_from(&p, tap);
	proc_close(&p);
	return fd;
}

static int take_from_asker(const json_t *port, const char *tap)
{
	struct err ignored = ERR_INIT;
	struct proc p = PROC_NONE;
	int fd = -1;
	if (proc_open_known((pid_t)json_get_int(port, "pid", 0),
		    (uint64_t)json_get_int(port, "start", 0), &p, &ignored) == 0)
		fd = take_from(&p, tap);
	proc_close(&p);
	return fd;
}

int network_find_tap(const char *id, struct err *err)
{
	_cleanup_names_ char **taps = NULL;
	const char *run = paths_run(err);
	_cleanup_free_ char *folder = run ? str_fmt("%s/n/%s/ports", run, id) : NULL;
	_cleanup_close_ int ports = folder ? dir_open(AT_FDCWD, folder, err) : -1;
	if (ports < 0 || dir_names(ports, &taps, NULL, err) < 0)
		return -1;
	for (char **tap = taps; *tap; tap++) {
		_cleanup_json_ json_t *port = json_file_read(ports, *tap, err);
		int fd = take_from_guest(json_get_str(port, "guest", ""), *tap);
		if (fd < 0)
			fd = take_from_asker(port, *tap);
		if (fd >= 0)
			return fd;
	}
	return err_set(err, ERR_NOT_FOUND, "no tap of network %s lives", id);
}
