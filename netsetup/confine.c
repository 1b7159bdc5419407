#include "netsetup/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/call_filter.h"
#include "base/mem.h"

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

static const int refused[] = {__NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot,
	__NR_open_tree, __NR_move_mount, __NR_fsopen, __NR_fsmount, __NR_setns, __NR_unshare,
	__NR_mknodat, __NR_open_by_handle_at, __NR_ptrace, __NR_process_vm_readv,
	__NR_process_vm_writev, __NR_pidfd_getfd, __NR_bpf, __NR_perf_event_open, __NR_init_module,
	__NR_finit_module, __NR_delete_module, __NR_kexec_load, __NR_reboot, __NR_swapon,
	__NR_swapoff, __NR_settimeofday, __NR_clock_settime, __NR_adjtimex, __NR_clock_adjtime,
	__NR_keyctl, __NR_add_key, __NR_request_key};

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
	/* EINVAL: a kernel without */
	if (call_filter(refused, ARRAY_SIZE(refused), false) < 0 && errno != EINVAL)
		return err_errno(err, "cannot shut off system calls");
	return 0;
}
