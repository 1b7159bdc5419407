/*
 * QEMU's jail, in the order in which its walls go up. In the child, after fork:
 *
 *	1. a session and a folder of its own	no terminal's signal reaches it
 *	2. its open files		exactly those of the plan, numbered from 3; nothing else
 *	3. /dev/kvm reachable		by its group, or (root only) a private node over it
 *	4. an empty network namespace	unless QEMU's own user networking needs the host's (root only)
 *	5. limits			no core dumps: they would hold the guest's RAM
 *	6. no privilege			empty bounding set, own uid and gid, no groups (root only)
 *	7. no_new_privs			nothing it runs can gain any; a user's may be asked for its taps
 *	8. a fixed environment, exec
 *
 * seccomp is QEMU's own `-sandbox` line (argv.c). A guest has no PDEATHSIG: it outlives us.
 */
#include "orchestrator/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"

enum { KVM_MAJOR = 10, KVM_MINOR = 232 }; /* linux/miscdevice.h */

void launch_arg(struct launch *l, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0 || l->argc >= LAUNCH_ARGS_MAX)
		abort(); /* the definition's own limits keep the count far below */
	va_end(ap);
	l->argv[l->argc++] = text;
}

void launch_arg_json(struct launch *l, json_t *value)
{
	_cleanup_json_ json_t *owned = value;
	_cleanup_free_ char *text = json_line(owned);
	launch_arg(l, "%s", text);
}

int launch_fd(struct launch *l, int fd)
{
	if (l->fd_count >= LAUNCH_FDS_MAX)
		abort();
	l->fds[l->fd_count] = fd;
	return LAUNCH_FD_FIRST + (int)l->fd_count++;
}

char *launch_fds(struct launch *l, int *fds, size_t *count)
{
	_cleanup_buf_ struct buf text = {0};
	for (size_t i = 0; i < *count; i++)
		buf_fmt(&text, "%s%d", i ? ":" : "", launch_fd(l, fds[i]));
	bool any = *count;
	*count = 0;
	return any ? buf_steal(&text) : NULL;
}

void launch_free(struct launch *l)
{
	for (size_t i = 0; i < l->argc; i++)
		free(l->argv[i]);
	for (size_t i = 0; i < l->fd_count; i++)
		cleanup_close(&l->fds[i]);
	cleanup_close(&l->stderr_fd);
	cleanup_close(&l->folder_fd);
	l->argc = l->fd_count = 0;
}

int launch_copy(const char *path, uid_t uid, int *out, struct err *err)
{
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_close_ int to = memfd_create("boot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	if (from < 0 || to < 0 || fstat(from, &st) < 0)
		return err_errno(err, "cannot read '%s'", path);
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(to, from, NULL, (size_t)left);
		if (n <= 0)
			return err_errno(err, "cannot read '%s'", path);
		left -= n;
	}
	if (fcntl(to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ||
		(geteuid() == 0 && uid && fchown(to, uid, uid) < 0))
		return err_errno(err, "cannot seal a copy of '%s'", path);
	*out = TAKE_FD(to);
	return 0;
}

/* ---- in the child: no memory is allocated, every failure is told on standard error ------------ */

static _Noreturn void die(const char *what)
{
	dprintf(STDERR_FILENO, "roost: cannot confine QEMU: %s: %s\n", what, strerror(errno));
	_exit(126);
}

static void place_fds(const struct launch *l)
{
	/* out of the way of the numbers wanted, but not further: few may be all there are */
	int above = LAUNCH_FD_FIRST + (int)l->fd_count;
	int high[LAUNCH_FDS_MAX];
	int null = open("/dev/null", O_RDWR);
	/* first of all, for what goes wrong is told there */
	if (dup2(l->stderr_fd, STDERR_FILENO) < 0 || dup2(l->stderr_fd, STDOUT_FILENO) < 0 ||
		dup2(null, STDIN_FILENO) < 0)
		die("its standard streams");
	for (size_t i = 0; i < l->fd_count; i++)
		if ((high[i] = fcntl(l->fds[i], F_DUPFD, above)) < 0)
			die("duplicating its files");
	for (size_t i = 0; i < l->fd_count; i++)
		if (dup2(high[i], LAUNCH_FD_FIRST + (int)i) < 0)
			die("placing its files");
	if (syscall(SYS_close_range, (unsigned)LAUNCH_FD_FIRST + (unsigned)l->fd_count, ~0U, 0U) <
		0)
		die("closing all other files");
}

/* Returns the group to keep for /dev/kvm, or 0. */
static gid_t reach_kvm(const struct launch *l)
{
	struct stat st;
	if (stat("/dev/kvm", &st) < 0)
		die("/dev/kvm");
	if ((st.st_mode & 0006) == 0006)
		return 0;
	if ((st.st_mode & 0060) == 0060 && st.st_gid != 0)
		return st.st_gid;
	/* 0600 root: a node of its own, seen by this process alone */
	char path[] = "/dev/roost-kvm-XXXXXX";
	int holder = mkstemp(path);
	if (holder < 0 || unlink(path) < 0 ||
		mknod(path, S_IFCHR | 0600, makedev(KVM_MAJOR, KVM_MINOR)) < 0 ||
		chown(path, l->uid, l->uid) < 0)
		die("a private /dev/kvm");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount(path, "/dev/kvm", NULL, MS_BIND, NULL) < 0)
		die("binding a private /dev/kvm");
	unlink(path);
	close(holder);
	return 0;
}

static void drop_privilege(const struct launch *l, gid_t kvm_group)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			die("emptying the capability bounding set");
	if (setgroups(kvm_group ? 1 : 0, &kvm_group) < 0 || setresgid(l->uid, l->uid, l->uid) < 0 ||
		setresuid(l->uid, l->uid, l->uid) < 0)
		die("taking its own uid");
}

/*
 * A network whose holder was killed is taken up again by a tap out of a QEMU's hands (network_tap.h). Yama, where a host has it,
 * grants that to root and to parents alone (kernel.yama.ptrace_scope=1); a user's roostd is none, or no more. What it grants is
 * kept over exec, for no hook of Yama's undoes it. The user's other programs get no more than his QEMU's sockets and disks give them.
 */
static void let_taps_out(void)
{
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* EINVAL: there is no Yama */
}

static _Noreturn void enter_jail(const struct launch *l, pid_t parent)
{
	static char *const environment[] = {
		"LC_ALL=C", "PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=/nonexistent", NULL};
	const struct rlimit no_core = {0, 0};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (setsid() < 0)
		die("a session of its own");
	if ((l->folder_fd < 0 ? chdir("/") : fchdir(l->folder_fd)) < 0)
		die("its folder");
	place_fds(l);
	gid_t kvm_group = 0;
	if (l->kvm && l->uid)
		kvm_group = reach_kvm(l);
	if (l->no_network && unshare(CLONE_NEWNET) < 0)
		die("a network namespace without a network");
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		die("its limits");
	if (l->uid)
		drop_privilege(l, kvm_group);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("no_new_privs");
	if (!l->uid)
		let_taps_out();
	/* now, for a change of the uid undoes it; who started us waits in vfork() or is dead */
	if (l->dies_with_us && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		die("its end with ours");
	execve(l->argv[0], l->argv, environment);
	dprintf(STDERR_FILENO, "roost: cannot run '%s': %s\n", l->argv[0], strerror(errno));
	_exit(127);
}

int launch_run(struct launch *l, struct proc *out, struct err *err)
{
	l->argv[l->argc] = NULL;
	/* what fork() copies is not needed: enter_jail() neither allocates nor returns */
	pid_t self = getpid(), pid = vfork();
	if (pid < 0)
		return err_errno(err, "cannot fork a QEMU");
	if (pid == 0)
		enter_jail(l, self);
	/* our copies would keep image locks and the QMP listener alive after QEMU's death */
	for (size_t i = 0; i < l->fd_count; i++)
		cleanup_close(&l->fds[i]);
	/* one that has ended already has said why on its standard error */
	return proc_open_child(pid, out, err);
}
