#include "images/sysprep_jail.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/call_filter.h"
#include "base/mem.h"

enum { CPU_SECONDS = 120 };
#define MEMORY_MAX ((rlim_t)2 << 30)

static int limit(int what, rlim_t most, struct err *err)
{
	const struct rlimit l = {most, most};
	if (setrlimit((__rlimit_resource_t)what, &l) < 0)
		return err_errno(err, "cannot set a limit");
	return 0;
}

static const int calls[] = {__NR_read, __NR_write, __NR_readv, __NR_writev, __NR_lseek, __NR_brk,
	__NR_mmap, __NR_mremap, __NR_munmap, __NR_madvise, __NR_futex, __NR_clock_gettime,
	__NR_gettimeofday, __NR_getrandom, __NR_rt_sigreturn, __NR_exit, __NR_exit_group};

int sysprep_jail(struct err *err)
{
	if (limit(RLIMIT_AS, MEMORY_MAX, err) < 0 || limit(RLIMIT_CPU, CPU_SECONDS, err) < 0 ||
		limit(RLIMIT_CORE, 0, err) < 0)
		return -1;
	if (call_filter(calls, ARRAY_SIZE(calls), true) < 0)
		return err_errno(err, "cannot shut off system calls");
	return 0;
}
