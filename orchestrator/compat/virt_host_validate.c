/*
 * virt-host-validate: the lines of libvirt's, in its order. Where the flags of the processor say that guests could run,
 * and they would not, its first line says so: by running one (accel.h).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/compat/tool.h"

struct host {
	bool quiet, failed;
	const char *prefix;
};

enum { TEXT_MAX = 1 << 22 };

/* "PASS", "WARN (...)", "FAIL (...)". */
static void line(struct host *h, const char *result, const char *why, const char *text)
{
	h->failed = h->failed || str_eq(result, "FAIL");
	if (h->quiet)
		return;
	printf("%6s: %-69s: %s", h->prefix, text, result);
	if (why)
		printf(" (%s)", why);
	putchar('\n');
}

static void check(struct host *h, bool good, const char *bad, const char *why, const char *fmt,
	const char *what)
{
	_cleanup_free_ char *text = str_fmt("Checking %s%s", fmt, what);
	line(h, good ? "PASS" : bad, good ? NULL : why, text);
}

static bool file_has(const char *file, const char *word)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	return file_read(AT_FDCWD, file, TEXT_MAX, &text, &ignored) == 0 && text.data &&
	       strstr(text.data, word);
}

/* ---- KVM ---------------------------------------------------------------------------------------------- */

static void check_kvm(struct host *h)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *rows = NULL;
	json_t *row, *kvm = NULL;
	size_t i;
	bool flags = file_has("/proc/cpuinfo", " vmx") || file_has("/proc/cpuinfo", " svm");
	bool there = access("/dev/kvm", F_OK) == 0;
	if (compat_ask("validate", NULL, &rows, &err) == 0)
		json_array_foreach (rows, i, row)
			if (str_eq(json_get_str(row, "name", ""), "kvm"))
				kvm = row;
	bool proven = str_eq(json_get_str(kvm, "result", ""), "PASS");
	if (!flags && !there) {
		line(h, "FAIL",
			"Host not compatible with KVM; HW virtualization CPU features not found. Only emulated CPUs are available; performance will be significantly limited",
			"Checking for hardware virtualization");
		return;
	}
	check(h, proven, "FAIL", json_get_str(kvm, "detail", "it could not be tried"),
		"for hardware virtualization", "");
	check(h, there, "FAIL",
		"Check that the 'kvm-intel' or 'kvm-amd' modules are loaded & the BIOS has enabled virtualization",
		"if device /dev/kvm exists", "");
	check(h, proven || access("/dev/kvm", R_OK | W_OK) == 0, "FAIL",
		"Check /dev/kvm is world writable or you are in a group that is allowed to access it",
		"if device /dev/kvm is accessible", "");
}

/* ---- control groups ----------------------------------------------------------------------------------- */

static bool among(const char *list, const char *word, const char *separators)
{
	size_t len = strlen(word);
	for (list += strspn(list, separators); *list; list += strspn(list, separators)) {
		size_t n = strcspn(list, separators);
		if (n == len && strncmp(list, word, n) == 0)
			return true;
		list += n;
	}
	return false;
}

/* Version 2 counts CPU time and guards devices without a controller. */
static bool has_controller(const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf v2 = {0}, mounts = {0};
	if (file_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 4096, &v2, &ignored) == 0)
		return str_eq(name, "devices") || str_eq(name, "freezer") ||
		       among(v2.data ? v2.data : "",
			       str_eq(name, "blkio")     ? "io"
			       : str_eq(name, "cpuacct") ? "cpu"
							 : name,
			       " \n");
	if (file_read(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, &mounts, &ignored) < 0)
		return false;
	char *rest = mounts.data, *one;
	while ((one = strsep(&rest, "\n"))) {
		const char *super = strstr(one, " - cgroup ");
		if (super && among(super, name, " ,"))
			return true;
	}
	return false;
}

static void check_controllers(struct host *h, const char *const *names)
{
	for (; *names; names++) {
		_cleanup_free_ char *text =
			str_fmt("Checking for cgroup '%s' controller support", *names);
		_cleanup_free_ char *why = str_fmt(
			"Enable '%s' in kernel Kconfig file or mount/enable cgroup controller in your system",
			*names);
		bool there = has_controller(*names);
		line(h, there ? "PASS" : "WARN", there ? NULL : why, text);
	}
}

/* ---- the rest of it ------------------------------------------------------------------------------------- */

static bool folder_has_some(const char *path)
{
	struct err ignored = ERR_INIT;
	size_t count = 0;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, path, &ignored);
	_cleanup_names_ char **names = NULL;
	return dir >= 0 && dir_names(dir, &names, &count, &ignored) == 0 && count > 0;
}

static void check_iommu(struct host *h)
{
	static const char text[] = "Checking for device assignment IOMMU support";
	bool intel = file_has("/proc/cpuinfo", " vmx"), amd = file_has("/proc/cpuinfo", " svm");
	if (!intel && !amd) {
		line(h, "WARN", "Unknown if this platform has IOMMU support", text);
		return;
	}
	if (access(intel ? "/sys/firmware/acpi/tables/DMAR" : "/sys/firmware/acpi/tables/IVRS",
		    F_OK) < 0) {
		_cleanup_free_ char *why = str_fmt(
			"No ACPI %s table found, IOMMU either disabled in BIOS or not supported by this hardware platform",
			intel ? "DMAR" : "IVRS");
		line(h, "WARN", why, text);
		return;
	}
	line(h, "PASS", NULL, text);
	check(h, folder_has_some("/sys/kernel/iommu_groups"), "WARN",
		intel ? "IOMMU appears to be disabled in kernel. Add intel_iommu=on to kernel cmdline arguments"
		      : "IOMMU appears to be disabled in kernel. Add iommu=pt to kernel cmdline arguments",
		"if IOMMU is enabled by kernel", "");
}

static void qemu(struct host *h)
{
	static const char *const controllers[] = {
		"cpu", "cpuacct", "cpuset", "memory", "devices", "blkio", NULL};
	h->prefix = "QEMU";
	check_kvm(h);
	check(h, access("/dev/vhost-net", F_OK) == 0, "WARN",
		"Load the 'vhost_net' module to improve performance of virtio networking",
		"if device /dev/vhost-net exists", "");
	check(h, access("/dev/net/tun", F_OK) == 0, "FAIL",
		"Load the 'tun' module to enable networking for QEMU guests",
		"if device /dev/net/tun exists", "");
	check_controllers(h, controllers);
	check_iommu(h);
	line(h, "WARN", "Unknown if this platform has Secure Guest support",
		"Checking for secure guest support");
}

/* roost runs no containers; what the host could do for some is told all the same. */
static void lxc(struct host *h)
{
	static const char *const namespaces[] = {"ipc", "mnt", "pid", "uts", "net", "user"};
	static const char *const controllers[] = {
		"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", NULL};
	h->prefix = "LXC";
	line(h, "PASS", NULL, "Checking for Linux >= 2.6.26");
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		_cleanup_free_ char *path = str_fmt("/proc/self/ns/%s", namespaces[i]);
		_cleanup_free_ char *why =
			str_fmt("Enable '%s' namespace in kernel Kconfig file", namespaces[i]);
		check(h, access(path, F_OK) == 0, "FAIL", why, "for namespace ", namespaces[i]);
	}
	check_controllers(h, controllers);
	check(h, access("/sys/fs/fuse/connections", F_OK) == 0, "FAIL",
		"Load the 'fuse' module to enable /proc/ overrides",
		"if device /sys/fs/fuse/connections exists", "");
}

static void print_help(FILE *out, const char *program)
{
	fprintf(out,
		"\nsyntax: %s [OPTIONS] [HVTYPE]\n\n"
		" Hypervisor types:\n\n   - qemu\n   - lxc\n\n"
		" Options:\n   -h, --help     Display command line help\n"
		"   -v, --version  Display command version\n"
		"   -q, --quiet    Don't display progress information\n\n",
		program);
}

int virt_host_validate_main(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'}, {"quiet", no_argument, NULL, 'q'}, {0}};
	struct host h = {0};
	int letter;
	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":hvq", options, NULL)) >= 0) {
		switch (letter) {
		case 'h':
			print_help(stdout, argv[0]);
			return compat_end(0);
		case 'v':
			printf("version: %s 9.0.0\n", argv[0]);
			return compat_end(0);
		case 'q':
			h.quiet = true;
			break;
		default:
			tool_bad_option("virt-host-validate", argv, options, letter);
			print_help(stderr, argv[0]);
			return 1;
		}
	}
	/* for a member of the group it is the system instance that guests would run on */
	struct err ignored = ERR_INIT;
	tool_connect(NULL, &ignored);
	const char *type = optind < argc ? argv[optind] : NULL;
	if (argc - optind > 1)
		return fprintf(stderr, "virt-host-validate: too many command line arguments\n"), 1;
	if (type && !str_eq(type, "qemu") && !str_eq(type, "lxc"))
		return fprintf(stderr, "%s: unsupported hypervisor name %s\n", argv[0], type), 1;
	if (!type || str_eq(type, "qemu"))
		qemu(&h);
	if (!type || str_eq(type, "lxc"))
		lxc(&h);
	return compat_end(h.failed ? 1 : 0);
}
