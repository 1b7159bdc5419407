/* Of validate: devices of the host's kernel, and what this QEMU was built with. */
#include "orchestrator/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/accel.h"
#include "orchestrator/paths.h"
#include "orchestrator/qemu_caps.h"

/* ---- devices ------------------------------------------------------------------------------- */

/*
 * A device that makes something possible or fast. `module` is what brings it; `all`: everybody may open it, as a rule,
 * for the kernel checks what he does with it.
 */
static void check_device(struct validate_row *r, const char *path, const char *module, bool all,
	const char *good, const char *without)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	int error = errno;
	if (fd >= 0) {
		validate_say(r, VALIDATE_PASS, good, "");
		return;
	}
	bool forbidden = error == EACCES || error == EPERM;
	if (forbidden && paths_are_system()) {
		validate_say(r, VALIDATE_PASS, "there, for root, who starts the guests here", "");
		return;
	}
	_cleanup_free_ char *detail =
		str_fmt("cannot open %s: %s; %s", path, strerror(error), without);
	_cleanup_free_ char *remedy =
		forbidden && all ? str_fmt("`sudo chmod 666 %s`", path)
		: forbidden
			? str_fmt("`sudo chgrp kvm %s && sudo chmod 660 %s && sudo usermod -aG kvm "
				  "$USER`, then log in again",
				  path, path)
			: str_fmt("`sudo modprobe %s`; for every boot, `echo %s | sudo tee "
				  "/etc/modules-load.d/%s.conf`",
				  module, module, module);
	validate_say(r, VALIDATE_WARN, detail, remedy);
}

void validate_vhost_net(struct validate_row *r)
{
	check_device(r, "/dev/vhost-net", "vhost_net", false,
		"the kernel moves the packets of networks",
		"packets of networks go through QEMU, slower");
}

void validate_vhost_vsock(struct validate_row *r)
{
	check_device(r, "/dev/vhost-vsock", "vhost_vsock", false, "opens",
		"guests cannot be given a vsock; none of roost's needs one");
}

void validate_fuse(struct validate_row *r)
{
	check_device(r, "/dev/fuse", "fuse", true, "opens",
		"nothing can be mounted by programs, such as an image; no guest needs that");
}

/* ---- the processor ------------------------------------------------------------------------- */

static bool cpu_is_intel(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	return file_read(AT_FDCWD, "/proc/cpuinfo", 1 << 22, &text, &ignored) == 0 &&
	       strstr(text.data, "GenuineIntel");
}

void validate_iommu(struct validate_row *r)
{
	struct err ignored = ERR_INIT;
	size_t groups = 0;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, "/sys/kernel/iommu_groups", &ignored);
	_cleanup_names_ char **names = NULL;
	if (dir >= 0 && dir_names(dir, &names, &groups, &ignored) == 0 && groups) {
		_cleanup_free_ char *detail = str_fmt("on, %zu groups of devices", groups);
		validate_say(r, VALIDATE_PASS, detail, "");
		return;
	}
	bool intel = cpu_is_intel();
	_cleanup_free_ char *remedy = str_fmt("switch on %s in the firmware, and boot with %s",
		intel ? "VT-d" : "AMD-Vi", intel ? "intel_iommu=on" : "iommu=pt");
	validate_say(r, VALIDATE_WARN,
		"none is on: no device of the host could be given to a guest, which roost does not do either",
		remedy);
}

/* Guests that run guests: as the module of the host's processor was loaded. */
void validate_nested(struct validate_row *r)
{
	static const char *const modules[] = {"kvm_intel", "kvm_amd"};
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		struct err ignored = ERR_INIT;
		_cleanup_buf_ struct buf text = {0};
		_cleanup_free_ char *path = str_fmt("/sys/module/%s/parameters/nested", modules[i]);
		if (file_read(AT_FDCWD, path, 16, &text, &ignored) < 0)
			continue;
		if (str_starts(text.data, "Y") || str_starts(text.data, "1")) {
			validate_say(r, VALIDATE_PASS, "guests can run guests under KVM", "");
			return;
		}
		_cleanup_free_ char *remedy = str_fmt(
			"`echo options %s nested=1 | sudo tee /etc/modprobe.d/kvm-nested.conf`, then "
			"`sudo modprobe -r %s && sudo modprobe %s`",
			modules[i], modules[i], modules[i]);
		validate_say(r, VALIDATE_WARN, "off: guests cannot run guests under KVM", remedy);
		return;
	}
	validate_say(r, VALIDATE_WARN,
		"neither kvm_intel nor kvm_amd is loaded: guests run guests under TCG",
		cpu_is_intel()
			? "`sudo modprobe kvm_intel nested=1`, where the row `kvm` tells that KVM can be"
			: "`sudo modprobe kvm_amd nested=1`, where the row `kvm` tells that KVM can be");
}

/* ---- QEMU ---------------------------------------------------------------------------------- */

void validate_qemu_features(struct validate_row *r)
{
	static const struct {
		const char *command, *arg, *what;
	} wanted[] = {
		{"query-vnc", NULL, "VNC"},
		{"screendump", "format", "screenshots (since QEMU 7.1)"},
		{"query-tpm", NULL, "TPM"},
		{"blockdev-reopen", NULL, "commits of running guests (since QEMU 6.1)"},
		{"query-hotpluggable-cpus", NULL, "plugging of vCPUs"},
		{"migrate", NULL, "save and restore"},
	};
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf missing = {0};
	_cleanup_schema_ struct schema *s = qemu_schema(qemu_path(), &err);
	if (!s) {
		_cleanup_free_ char *detail = str_fmt("not known: %s", err.message);
		validate_say(r, VALIDATE_FAIL, detail,
			err.hint[0] ? err.hint : "install the package qemu-system-x86");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!schema_has_command(s, wanted[i].command) ||
			(wanted[i].arg && !schema_has_arg(s, wanted[i].command, wanted[i].arg)))
			buf_fmt(&missing, "%s%s", missing.len ? ", " : "", wanted[i].what);
	if (!missing.len) {
		validate_say(r, VALIDATE_PASS, "all that roost can make use of", "");
		return;
	}
	_cleanup_free_ char *detail = str_fmt("without %s", missing.data);
	validate_say(r, VALIDATE_WARN, detail,
		"install QEMU 7.1 or newer, as distributions build it: the package qemu-system-x86");
}
