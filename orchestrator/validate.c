#include "orchestrator/validate.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/accel.h"
#include "orchestrator/connect.h"
#include "orchestrator/find_program.h"
#include "orchestrator/firmware.h"
#include "orchestrator/logout.h"
#include "orchestrator/paths.h"

enum {
	PROGRAM_MS = 5000,
	QEMU_OLDEST = 702, /* what we are tested with, as MAJOR * 100 + MINOR */
	CGROUP2_MAGIC = 0x63677270,
};

static const char *const result_names[] = {
	[VALIDATE_PASS] = "PASS",
	[VALIDATE_WARN] = "WARN",
	[VALIDATE_FAIL] = "FAIL",
};
static_assert(ARRAY_SIZE(result_names) == VALIDATE_RESULT_MAX, "a result lacks its name");

const char *validate_result_name(enum validate_result result)
{
	return result_names[result];
}

static void found(struct validate_row *r, enum validate_result result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void found(struct validate_row *r, enum validate_result result, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(r->detail, sizeof(r->detail), fmt, ap);
	va_end(ap);
	r->result = result;
}

static void remedy(struct validate_row *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void remedy(struct validate_row *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(r->remedy, sizeof(r->remedy), fmt, ap);
	va_end(ap);
}

void validate_say(
	struct validate_row *r, enum validate_result result, const char *detail, const char *advice)
{
	found(r, result, "%s", detail);
	remedy(r, "%s", advice);
}

/* ---- programs ------------------------------------------------------------------------------ */

/* The first line that `path --version` prints; false when there is none in time. */
static bool first_line(const char *path, struct buf *line)
{
	const char *const argv[] = {path, "--version", NULL};
	struct err ignored = ERR_INIT;
	_cleanup_(child_end) struct child c = CHILD_NONE;
	int64_t deadline = deadline_in(PROGRAM_MS);
	if (child_start(argv, false, &c, &ignored) < 0)
		return false;
	while (!line->len || !strchr(line->data, '\n')) {
		if (line->len > 4096 || fd_wait(c.out, POLLIN, deadline) <= 0)
			return false;
		buf_reserve(line, 512);
		ssize_t n = read(c.out, line->data + line->len, 512);
		if (n <= 0)
			return false;
		line->len += (size_t)n;
		line->data[line->len] = '\0';
	}
	*strchr(line->data, '\n') = '\0';
	return true;
}

/* "version 7.2.22" in that line, as MAJOR * 100 + MINOR; 0 if it says none. */
static int version_in(const char *line)
{
	int major, minor;
	const char *word = strstr(line, "version ");
	if (!word || sscanf(word, "version %d.%d", &major, &minor) != 2)
		return 0;
	return major * 100 + minor;
}

static void check_qemu(struct validate_row *r)
{
	_cleanup_buf_ struct buf line = {0};
	const char *path = qemu_path();
	if (access(path, X_OK) < 0) {
		found(r, VALIDATE_FAIL, "cannot run %s: %s", path, strerror(errno));
		remedy(r, "install the package qemu-system-x86, or set ROOST_QEMU");
	} else if (!first_line(path, &line) || !version_in(line.data)) {
		found(r, VALIDATE_FAIL, "%s --version does not tell a version", path);
		remedy(r, "install the package qemu-system-x86, or set ROOST_QEMU");
	} else if (version_in(line.data) < QEMU_OLDEST) {
		found(r, VALIDATE_WARN, "%s: %s: roost is tested with %d.%d and later", path,
			line.data, QEMU_OLDEST / 100, QEMU_OLDEST % 100);
		remedy(r, "install a newer qemu-system-x86, or set ROOST_QEMU to one");
	} else {
		found(r, VALIDATE_PASS, "%s: %s", path, line.data);
	}
}

static void check_qemu_img(struct validate_row *r)
{
	_cleanup_buf_ struct buf line = {0};
	_cleanup_free_ char *path = program_in_path("qemu-img");
	if (path && first_line(path, &line) && str_starts(line.data, "qemu-img version ")) {
		found(r, VALIDATE_PASS, "%s: %s", path, line.data);
		return;
	}
	found(r, VALIDATE_WARN, "no qemu-img: images in other formats cannot be converted");
	remedy(r, "install the package qemu-utils");
}

static void check_firmware(struct validate_row *r)
{
	struct firmware_files plain, secure;
	struct err err = ERR_INIT;
	if (firmware_find(&(struct firmware_want){0}, &plain, &err) < 0) {
		found(r, VALIDATE_WARN,
			"no UEFI firmware: guests with `firmware: uefi` cannot run");
		remedy(r, "%s", err.hint);
	} else if (firmware_find(&(struct firmware_want){.secure_boot = true}, &secure, &err) < 0) {
		found(r, VALIDATE_WARN, "%s; none for `secure_boot: true`", plain.code);
		remedy(r, "%s", err.hint);
	} else {
		found(r, VALIDATE_PASS, "%s; with secure boot %s", plain.code, secure.code);
	}
}

/* Where AppArmor confines swtpm, it must be told of our folder; Ubuntu ships such a profile. */
static bool apparmor_forbids_tpm(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf enabled = {0}, local = {0};
	if (access("/etc/apparmor.d/usr.bin.swtpm", F_OK) < 0 ||
		file_read(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 4096, &enabled,
			&ignored) < 0 ||
		!str_starts(enabled.data, "Y"))
		return false;
	file_read(AT_FDCWD, "/etc/apparmor.d/local/usr.bin.swtpm", 1 << 20, &local, &ignored);
	return !local.data || !strstr(local.data, "/guests/*/tpm/");
}

static void check_tpm(struct validate_row *r)
{
	_cleanup_buf_ struct buf line = {0};
	struct err ignored = ERR_INIT;
	const char *state = paths_state(&ignored);
	if (access(swtpm_path(), X_OK) < 0 || !first_line(swtpm_path(), &line)) {
		found(r, VALIDATE_WARN, "no swtpm: guests with `tpm: true` cannot start");
		remedy(r, "install the package swtpm");
	} else if (apparmor_forbids_tpm()) {
		found(r, VALIDATE_WARN, "AppArmor keeps swtpm out of the guests' folders");
		remedy(r,
			"write `owner %s/guests/*/tpm/** rwk,` into "
			"/etc/apparmor.d/local/usr.bin.swtpm and reload AppArmor",
			state ? state : "/var/lib/roost");
	} else {
		found(r, VALIDATE_PASS, "%s: %s", swtpm_path(), line.data);
	}
}

/* Those of a library each, which are left out where it is missing: all are named. */
static void check_optional_programs(struct validate_row *r)
{
	static const struct {
		const char *program, *what, *packages;
	} optional[] = {
		{"roost-ssh", "readiness, ssh, scp, seeds", "libssh-dev"},
		{"roost-image", "seeds", "libarchive-dev libcrypt-dev"},
		{"roost-disk", "df of guests that do not run, image map", "zlib1g-dev libzstd-dev"},
		{"roost-digest", "the store of images", "libssl-dev"},
		{"roost-fetch", "image pull", "libcurl4-openssl-dev"},
		{"roost-sysprep", "sysprep", "libext2fs-dev"},
		{"roost-xml", "adopt, dumpxml", "libxml2-dev"},
		{"roost-net", "networks", "libmnl-dev libnftables-dev"},
	};
	_cleanup_buf_ struct buf missing = {0}, packages = {0};
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++) {
		if (access(libexec_path(optional[i].program), X_OK) == 0)
			continue;
		buf_fmt(&missing, "%s%s (%s)", missing.len ? ", " : "", optional[i].program,
			optional[i].what);
		buf_fmt(&packages, " %s", optional[i].packages);
	}
	if (!missing.len)
		return;
	found(r, VALIDATE_WARN, "not built: %s", missing.data);
	remedy(r, "install%s and build again", packages.data);
}

static void check_programs(struct validate_row *r)
{
	static const char *const needed[] = {"roostd", "roost-keeper"};
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (access(libexec_path(needed[i]), X_OK) == 0)
			continue;
		found(r, VALIDATE_FAIL, "cannot run %s", libexec_path(needed[i]));
		remedy(r, "install roost as a whole: `make && sudo make install`");
		return;
	}
	found(r, VALIDATE_PASS, "all there, beside %s", libexec_path("roostd"));
	check_optional_programs(r);
}

/* ---- the kernel ---------------------------------------------------------------------------- */

/* What counts for a member is what roostd may do; false: it cannot be asked. */
static bool ask_roostd(struct validate_row *r)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *all = NULL;
	if (supervisor_call("roost-capabilities", NULL, &all, &ignored) < 0)
		return false;
	const json_t *kvm = json_object_get(json_object_get(all, "accelerators"), "kvm");
	bool proven = json_get_bool(kvm, "usable", false);
	found(r, proven ? VALIDATE_PASS : VALIDATE_WARN, "%s%s", json_get_str(kvm, "reason", ""),
		proven ? "" : "; guests run under TCG, slower");
	if (!proven)
		remedy(r, "`sudo roost validate` tells what to do");
	return true;
}

static void check_kvm(struct validate_row *r)
{
	struct err err = ERR_INIT;
	struct accel_proof proof;
	const char *run = paths_run(&err);
	_cleanup_free_ char *cache = run ? str_fmt("%s/kvm.json", run) : NULL;
	if (accel_probe(cache, &proof, &err) < 0) {
		found(r, VALIDATE_WARN, "%s", err.message);
		remedy(r, "guests run under TCG meanwhile");
		return;
	}
	bool proven = proof.verdict == KVM_PROVEN;
	if (!proven && paths_by_member() && ask_roostd(r))
		return;
	if (!proven && paths_by_member()) {
		found(r, VALIDATE_WARN, "%s; but guests here are started by root", proof.reason);
		remedy(r, "`sudo roost validate` tells whether KVM is there for them");
		return;
	}
	found(r, proven ? VALIDATE_PASS : VALIDATE_WARN, "%s%s", proof.reason,
		proven ? "" : "; guests run under TCG, slower");
	remedy(r, "%s", proof.remedy);
}

static void check_kernel(struct validate_row *r)
{
	/* each is asked so that it fails for its arguments, if it is there at all */
	static const struct {
		const char *name;
		long number;
	} calls[] = {
		{"pidfd_open", SYS_pidfd_open},
		{"pidfd_send_signal", SYS_pidfd_send_signal},
		{"close_range", SYS_close_range},
	};
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (syscall(calls[i].number, -1, 0, 0, -1) == 0 || errno != ENOSYS)
			continue;
		found(r, VALIDATE_FAIL, "no system call %s", calls[i].name);
		remedy(r, "Linux 5.9 or later is needed");
		return;
	}
	found(r, VALIDATE_PASS, "has the system calls that roost needs");
}

static void check_memfd(struct validate_row *r)
{
	_cleanup_close_ int fd = memfd_create("validate", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0) {
		found(r, VALIDATE_PASS, "kernels and initrds are handed over in sealed memory");
		return;
	}
	found(r, VALIDATE_FAIL, "no sealed memory files: %s", strerror(errno));
	remedy(r, "a kernel with CONFIG_MEMFD_CREATE is needed");
}

static void check_seccomp(struct validate_row *r)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
		found(r, VALIDATE_PASS, "QEMU's system calls are filtered");
		return;
	}
	found(r, VALIDATE_FAIL, "QEMU's system calls cannot be filtered: %s", strerror(errno));
	remedy(r, "a kernel with CONFIG_SECCOMP_FILTER is needed");
}

static void check_landlock(struct validate_row *r)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi > 0) {
		found(r, VALIDATE_PASS, "ABI %ld", abi);
		return;
	}
	found(r, VALIDATE_WARN, "none: QEMU may see files by their ordinary permissions");
	remedy(r, "a kernel with CONFIG_SECURITY_LANDLOCK, and `landlock` in its lsm= list");
}

/* The first setting that forbids user namespaces, with what allows them again. */
static const char *why_no_user_namespaces(void)
{
	static const struct {
		const char *file, *value, *remedy;
	} settings[] = {
		{"/proc/sys/user/max_user_namespaces", "0\n",
			"`sudo sysctl user.max_user_namespaces=10000`"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0\n",
			"`sudo sysctl kernel.unprivileged_userns_clone=1`"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n",
			"an AppArmor profile with `userns,` for roost-net, or `sudo sysctl "
			"kernel.apparmor_restrict_unprivileged_userns=0`"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		struct err ignored = ERR_INIT;
		_cleanup_buf_ struct buf text = {0};
		if (file_read(AT_FDCWD, settings[i].file, 64, &text, &ignored) == 0 &&
			str_eq(text.data, settings[i].value))
			return settings[i].remedy;
	}
	return "a kernel with CONFIG_USER_NS, and a container that lets them be made, are needed";
}

/* AppArmor may let one be made and give no rights in it: so a network is made there, too. */
static void check_user_namespaces(struct validate_row *r)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNET) < 0 ? errno : 0);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0) {
		found(r, VALIDATE_PASS, "may be made");
		return;
	}
	found(r, VALIDATE_WARN, "cannot be made, nor networks of a user's own: %s",
		pid > 0 && WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "no child");
	remedy(r, "%s", why_no_user_namespaces());
}

/* The controllers of version 2 that bound what guests use; only the kernel's command line brings back one that is off. */
static void check_controllers(struct validate_row *r, const char *there)
{
	static const char *const wanted[] = {"cpu", "cpuset", "io", "memory", "pids"};
	_cleanup_free_ char *line = str_fmt(" %.*s ", (int)strcspn(there, "\n"), there);
	_cleanup_buf_ struct buf missing = {0};
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		_cleanup_free_ char *word = str_fmt(" %s ", wanted[i]);
		if (!strstr(line, word))
			buf_fmt(&missing, "%s%s", missing.len ? "," : "", wanted[i]);
	}
	if (!missing.len) {
		found(r, VALIDATE_PASS,
			"version 2, with all controllers that guests can be bound by");
		return;
	}
	found(r, VALIDATE_WARN, "version 2, without the controllers %s", missing.data);
	remedy(r, "boot with cgroup_enable=%s, without cgroup_disable= and cgroup_no_v1=",
		missing.data);
}

static void check_cgroup(struct validate_row *r)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf mounts = {0}, controllers = {0};
	struct statfs fs;
	if (statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_MAGIC &&
		file_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 4096, &controllers,
			&ignored) == 0) {
		check_controllers(r, controllers.data);
		return;
	}
	bool v1 = file_read(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &mounts, &ignored) == 0 &&
		  strstr(mounts.data, " - cgroup ");
	found(r, VALIDATE_WARN,
		"%s: what ended a guest for want of memory is told by version 2 alone",
		v1 ? "version 1" : "none is mounted");
	remedy(r, "%s",
		v1 ? "boot with systemd.unified_cgroup_hierarchy=1"
		   : "`sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup`");
}

static void check_tun(struct validate_row *r)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		found(r, VALIDATE_PASS, "opens");
		return;
	}
	bool forbidden = errno == EACCES || errno == EPERM;
	found(r, VALIDATE_WARN,
		"cannot open /dev/net/tun: %s; no networks, user networking works without",
		strerror(errno));
	remedy(r,
		forbidden
			? "`sudo chmod 666 /dev/net/tun`: the kernel checks who may do what with it"
			: "`sudo modprobe tun`");
}

static void check_inotify(struct validate_row *r)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
	if (fd >= 0) {
		found(r, VALIDATE_PASS, "files can be followed");
		return;
	}
	found(r, VALIDATE_WARN, "files cannot be followed: %s", strerror(errno));
	remedy(r, "`sudo sysctl fs.inotify.max_user_instances=1024`");
}

static void check_huge_pages(struct validate_row *r)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf transparent = {0}, memory = {0};
	bool has_transparent = file_read(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/enabled",
				       4096, &transparent, &ignored) == 0;
	long reserved = 0;
	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &memory, &ignored) == 0) {
		const char *line = strstr(memory.data, "HugePages_Total:");
		reserved = line ? strtol(line + strlen("HugePages_Total:"), NULL, 10) : 0;
	}
	if (has_transparent && !strstr(transparent.data, "[never]")) {
		found(r, VALIDATE_PASS, "transparent ones for guests' RAM; %ld reserved", reserved);
		return;
	}
	found(r, VALIDATE_WARN, "no transparent ones for guests' RAM; %ld reserved", reserved);
	remedy(r, "`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`");
}

static void check_logout(struct validate_row *r)
{
	bool lingers;
	if (paths_are_system() || !logout_ends(getpid(), &lingers)) {
		found(r, VALIDATE_PASS, "no guest ends with it");
		return;
	}
	found(r, lingers ? VALIDATE_PASS : VALIDATE_WARN, "%s",
		lingers ? "guests outlive it, as you linger" : "guests end when you log out");
	if (!lingers)
		remedy(r, "%s", logout_remedy(false));
}

/* ---- folders ------------------------------------------------------------------------------- */

/* The folder itself, or the nearest one above that exists and in which it would be made. */
static char *nearest_existing(const char *path)
{
	_cleanup_free_ char *folder = xstrdup(path);
	while (access(folder, F_OK) < 0) {
		char *slash = strrchr(folder, '/');
		if (!slash || slash == folder)
			return xstrdup("/");
		*slash = '\0';
	}
	return TAKE(folder);
}

static void check_state(struct validate_row *r)
{
	enum { LITTLE = 1 << 30 };
	struct err err = ERR_INIT;
	struct statvfs fs;
	const char *state = paths_state(&err);
	if (!state) {
		found(r, VALIDATE_FAIL, "%s", err.message);
		remedy(r, "%s", err.hint);
		return;
	}
	_cleanup_free_ char *folder = nearest_existing(state);
	if (access(folder, paths_by_member() ? R_OK : W_OK | X_OK) < 0 ||
		statvfs(folder, &fs) < 0) {
		found(r, VALIDATE_FAIL, "cannot write to %s: %s", folder, strerror(errno));
		remedy(r, "set ROOST_STATE to a folder of your own");
		return;
	}
	uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
	found(r, available < LITTLE ? VALIDATE_WARN : VALIDATE_PASS, "%s, %s free", state,
		str_size(available));
	if (available < LITTLE)
		remedy(r, "make room there, or set ROOST_STATE to a folder with more");
}

static void check_run(struct validate_row *r)
{
	struct err err = ERR_INIT;
	struct sockaddr_un longest;
	/* a socket is bound under its name with a "~" (base/sock.c) */
	_cleanup_free_ char *path = run_path("0123456789ab", "guest.sock~", &err);
	if (!path) {
		found(r, VALIDATE_FAIL, "%s", err.message);
		remedy(r, "%s", err.hint);
		return;
	}
	const char *run = paths_run(&err);
	_cleanup_free_ char *folder = nearest_existing(run);
	if (strlen(path) >= sizeof(longest.sun_path)) {
		found(r, VALIDATE_FAIL, "%s is %zu bytes too long for sockets in it", run,
			strlen(path) + 1 - sizeof(longest.sun_path));
		remedy(r, "set ROOST_RUN to a folder with a shorter path");
	} else if (access(folder, paths_by_member() ? R_OK : W_OK | X_OK) < 0) {
		found(r, VALIDATE_FAIL, "cannot write to %s: %s", folder, strerror(errno));
		remedy(r, "set ROOST_RUN to a folder of your own");
	} else {
		found(r, VALIDATE_PASS, "%s, room for %zu more bytes in a socket's path", run,
			sizeof(longest.sun_path) - 1 - strlen(path));
	}
}

size_t validate_host(struct validate_row rows[VALIDATE_MAX])
{
	static const struct {
		const char *name;
		void (*check)(struct validate_row *);
	} checks[] = {
		{"qemu", check_qemu},
		{"qemu-features", validate_qemu_features},
		{"qemu-img", check_qemu_img},
		{"programs", check_programs},
		{"state", check_state},
		{"run", check_run},
		{"kvm", check_kvm},
		{"nested", validate_nested},
		{"kernel", check_kernel},
		{"memfd", check_memfd},
		{"seccomp", check_seccomp},
		{"landlock", check_landlock},
		{"user-namespaces", check_user_namespaces},
		{"cgroup", check_cgroup},
		{"tun", check_tun},
		{"vhost-net", validate_vhost_net},
		{"vhost-vsock", validate_vhost_vsock},
		{"fuse", validate_fuse},
		{"iommu", validate_iommu},
		{"dnsmasq", validate_dnsmasq},
		{"uplink", validate_uplink},
		{"inotify", check_inotify},
		{"huge-pages", check_huge_pages},
		{"uefi", check_firmware},
		{"tpm", check_tpm},
		{"log-out", check_logout},
	};
	static_assert(ARRAY_SIZE(checks) <= VALIDATE_MAX, "more checks than rows");
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		rows[i] = (struct validate_row){.name = checks[i].name};
		if (checks[i].check == validate_qemu_features && rows[0].result == VALIDATE_FAIL)
			validate_say(&rows[i], VALIDATE_WARN,
				"not known, as there is no QEMU to ask", "see the row `qemu`");
		else
			checks[i].check(&rows[i]);
	}
	return ARRAY_SIZE(checks);
}
