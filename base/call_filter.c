#include "base/call_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* x32: the same architecture, other numbers */
enum { X32_FROM = 0x40000000, HEAD = 6 };

int call_filter(const int *calls, size_t count, bool only)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
#ifdef ARCH
	const uint32_t refused = SECCOMP_RET_ERRNO | EPERM;
	struct sock_filter filter[HEAD + 2 * CALL_FILTER_MAX + 1] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_FROM, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	size_t at = HEAD;
	if (count > CALL_FILTER_MAX)
		return errno = E2BIG, -1;
	for (size_t i = 0; i < count; i++) {
		filter[at++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
		filter[at++] = (struct sock_filter)BPF_STMT(
			BPF_RET | BPF_K, only ? SECCOMP_RET_ALLOW : refused);
	}
	filter[at++] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, only ? refused : SECCOMP_RET_ALLOW);
	const struct sock_fprog program = {(unsigned short)at, filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
#else
	(void)calls, (void)count, (void)only;
	return 0;
#endif
}
