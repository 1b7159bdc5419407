/*
 * For t_steps.sh, preloaded into roost's programs: whoever comes to the step of a given number dies there by SIGKILL. A
 * step is a call that changes a file or a folder, starts a process or sends; it dies before it.
 *
 * The file that $STEPS names is shared by all: how many steps are left until somebody dies (0 and below: nobody does),
 * how many there were, who died, and in words.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct shared {
	_Atomic int64_t left, count, pid;
	char words[128];
};
static struct shared *shared;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("STEPS");
	int fd = path && strncmp(program_invocation_short_name, "roost", 5) == 0
			 ? open(path, O_RDWR | O_CLOEXEC)
			 : -1;
	if (fd < 0)
		return;
	void *at = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		shared = at;
}

static void step(const char *call, const char *on)
{
	if (!shared)
		return;
	atomic_fetch_add(&shared->count, 1);
	if (atomic_load(&shared->left) <= 0 || atomic_fetch_sub(&shared->left, 1) != 1)
		return;
	snprintf(shared->words, sizeof(shared->words), "%s: %s %s", program_invocation_short_name,
		call, on ? on : "");
	atomic_store(&shared->pid, getpid());
	kill(getpid(), SIGKILL);
}

#define WRAP(type, name, args, pass, on)                                                           \
	type name args                                                                             \
	{                                                                                          \
		static __typeof__(&name) real;                                                     \
		if (!real)                                                                         \
			real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                         \
		step(#name, on);                                                                   \
		return real pass;                                                                  \
	}
WRAP(int, rename, (const char *a, const char *b), (a, b), b)
WRAP(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), b)
WRAP(int, renameat2, (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f), b)
WRAP(int, link, (const char *a, const char *b), (a, b), b)
WRAP(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), b)
WRAP(int, symlinkat, (const char *a, int e, const char *b), (a, e, b), b)
WRAP(int, unlink, (const char *a), (a), a)
WRAP(int, unlinkat, (int d, const char *a, int f), (d, a, f), a)
WRAP(int, rmdir, (const char *a), (a), a)
WRAP(int, mkdir, (const char *a, mode_t m), (a, m), a)
WRAP(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m), a)
WRAP(int, fsync, (int d), (d), NULL)
WRAP(int, fdatasync, (int d), (d), NULL)
WRAP(int, ftruncate, (int d, off_t l), (d, l), NULL)
WRAP(int, fchmod, (int d, mode_t m), (d, m), NULL)
WRAP(int, fchmodat, (int d, const char *a, mode_t m, int f), (d, a, m, f), a)
WRAP(int, fchown, (int d, uid_t u, gid_t g), (d, u, g), NULL)
WRAP(int, fchownat, (int d, const char *a, uid_t u, gid_t g, int f), (d, a, u, g, f), a)
WRAP(ssize_t, pwrite, (int d, const void *p, size_t n, off_t at), (d, p, n, at), NULL)
WRAP(ssize_t, copy_file_range, (int d, off_t *a, int e, off_t *b, size_t n, unsigned f),
	(d, a, e, b, n, f), NULL)
WRAP(ssize_t, sendmsg, (int d, const struct msghdr *m, int f), (d, m, f), NULL)
WRAP(pid_t, fork, (void), (), NULL)

/* Of those that open, only who makes a file. */
static mode_t mode_of(int flags, va_list args)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	if (flags & (O_CREAT | O_TRUNC))
		step("open", path);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	if (flags & (O_CREAT | O_TRUNC))
		step("openat", path);
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

/* And of those that write, only into files. */
ssize_t write(int fd, const void *data, size_t len)
{
	struct stat st;
	if (shared && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		step("write", NULL);
	return syscall(SYS_write, fd, data, len);
}
