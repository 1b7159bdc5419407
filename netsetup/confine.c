#include "netsetup/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* ---- capabilities --------------------------------------------------------------------------------- */

/* All of them are below 32. */
static const uint32_t to_dnsmasq =
	1U << CAP_NET_ADMIN | 1U << CAP_NET_RAW | 1U << CAP_NET_BIND_SERVICE;
static const uint32_t of_holder =
	1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_KILL | 1U << CAP_CHOWN;

static int set_capabilities(uint32_t effective, uint32_t permitted)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = effective, .permitted = permitted}};
	return (int)syscall(SYS_capset, &head, sets);
}

/* The bounding set first, for that wants a capability itself. */
static int drop_capabilities(struct err *err)
{
	uint32_t kept = to_dnsmasq | of_holder;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if ((cap >= 32 || !(to_dnsmasq & 1U << cap)) &&
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_errno(err, "cannot empty the capability bounding set");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
		set_capabilities(kept, kept | 1U << CAP_SYS_ADMIN) < 0)
		return err_errno(err, "cannot drop capabilities");
	return 0;
}

bool confine_admin(bool on)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
	if (syscall(SYS_capget, &head, sets) < 0)
		return false;
	uint32_t admin = sets[0].permitted & 1U << CAP_SYS_ADMIN;
	bool was = sets[0].effective & admin;
	sets[0].effective = on ? sets[0].effective | admin : sets[0].effective & ~admin;
	(void)!syscall(SYS_capset, &head, sets);
	return was;
}

/* ---- system calls --------------------------------------------------------------------------------- */

#define REFUSE(name)                                                                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1),                                    \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

/* A call under another architecture's numbers is another call. */
static int close_calls(struct err *err)
{
#ifdef ARCH
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef __x86_64__
		/* x32: the same architecture, other numbers */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
#endif
		REFUSE(mount),
		REFUSE(umount2),
		REFUSE(pivot_root),
		REFUSE(chroot),
		REFUSE(open_tree),
		REFUSE(move_mount),
		REFUSE(fsopen),
		REFUSE(fsmount),
		REFUSE(setns),
		REFUSE(unshare),
		REFUSE(mknodat),
		REFUSE(open_by_handle_at),
		REFUSE(ptrace),
		REFUSE(process_vm_readv),
		REFUSE(process_vm_writev),
		REFUSE(pidfd_getfd),
		REFUSE(bpf),
		REFUSE(perf_event_open),
		REFUSE(init_module),
		REFUSE(finit_module),
		REFUSE(delete_module),
		REFUSE(kexec_load),
		REFUSE(reboot),
		REFUSE(swapon),
		REFUSE(swapoff),
		REFUSE(settimeofday),
		REFUSE(clock_settime),
		REFUSE(adjtimex),
		REFUSE(clock_adjtime),
		REFUSE(keyctl),
		REFUSE(add_key),
		REFUSE(request_key),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_SIZE(filter), filter};
	/* EINVAL: a kernel without */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 && errno != EINVAL)
		return err_errno(err, "cannot shut off system calls");
#else
	(void)err;
#endif
	return 0;
}

/* ---- files ---------------------------------------------------------------------------------------- */

static const uint64_t changes = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
				LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
				LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM;
static const uint64_t devices = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

/* What is not there need not be written. */
static int allow(int rules, const char *path, uint64_t access)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	const struct landlock_path_beneath_attr beneath = {
		.allowed_access = access, .parent_fd = fd};
	if (fd < 0)
		return 0;
	return (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
}

static int close_files(const char *writable, struct err *err)
{
	const struct landlock_ruleset_attr handled = {.handled_access_fs = changes | devices};
	_cleanup_close_ int rules =
		(int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (rules < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
		return 0; /* `roost validate` tells */
	if (rules < 0 || allow(rules, writable, changes) < 0 ||
		allow(rules, "/dev/net/tun", LANDLOCK_ACCESS_FS_WRITE_FILE) < 0 ||
		allow(rules, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE) < 0 ||
		syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return err_errno(err, "cannot shut off files");
	return 0;
}

int confine(const char *writable, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, "cannot renounce new privileges");
	if (close_files(writable, err) < 0 || drop_capabilities(err) < 0)
		return -1;
	return close_calls(err);
}
