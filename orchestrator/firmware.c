#include "orchestrator/firmware.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

/* ---- files ----------------------------------------------------------------------------------- */

/* Both can be read, and the variables are of the size that the guest's have. */
static bool usable(const struct firmware_want *want, const char *code, const char *vars)
{
	struct stat st;
	return code[0] == '/' && access(code, R_OK) == 0 && access(vars, R_OK) == 0 &&
	       stat(vars, &st) == 0 &&
	       (!want->vars_size || want->vars_size == (uint64_t)st.st_size);
}

static bool take(const struct firmware_want *want, const char *code, const char *vars,
	struct firmware_files *out)
{
	if (strlen(code) >= sizeof(out->code) || strlen(vars) >= sizeof(out->vars) ||
		!usable(want, code, vars))
		return false;
	snprintf(out->code, sizeof(out->code), "%s", code);
	snprintf(out->vars, sizeof(out->vars), "%s", vars);
	return true;
}

/* Where they lie on a distribution that describes nothing. */
static bool find_known(const struct firmware_want *want, struct firmware_files *out)
{
	static const struct {
		bool secure_boot;
		const char *code, *vars;
	} known[] = {
		{false, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{false, "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
		{false, "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
		{false, "/usr/share/qemu/ovmf-x86_64-code.bin",
			"/usr/share/qemu/ovmf-x86_64-vars.bin"},
		{true, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"},
		{true, "/usr/share/OVMF/OVMF_CODE.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"},
		{true, "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
			"/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"},
		{true, "/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin",
			"/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].secure_boot == want->secure_boot &&
			take(want, known[i].code, known[i].vars, out))
			return true;
	return false;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static bool lists(const json_t *descriptor, const char *key, const char *word)
{
	size_t i;
	json_t *value;
	json_array_foreach (json_object_get(descriptor, key), i, value)
		if (str_eq(json_string_value(value), word))
			return true;
	return false;
}

static bool fits_machine(const json_t *target, const char *machine)
{
	size_t i;
	json_t *pattern;
	if (!machine)
		return true;
	if (str_eq(machine, "q35"))
		machine = "pc-q35-0"; /* of whatever version */
	else if (str_eq(machine, "pc"))
		machine = "pc-i440fx-0";
	json_array_foreach (json_object_get(target, "machines"), i, pattern)
		if (json_is_string(pattern) && fnmatch(json_string_value(pattern), machine, 0) == 0)
			return true;
	return false;
}

static bool fits_target(const json_t *descriptor, const char *machine)
{
	size_t i;
	json_t *target;
	json_array_foreach (json_object_get(descriptor, "targets"), i, target)
		if (str_eq(json_get_str(target, "architecture", ""), "x86_64") &&
			fits_machine(target, machine))
			return true;
	return false;
}

/* Without secure boot no keys, which would refuse unsigned loaders, and no SMM, which costs time. */
static bool fits_features(const json_t *descriptor, bool secure_boot)
{
	if (secure_boot)
		return lists(descriptor, "features", "secure-boot") &&
		       lists(descriptor, "features", "enrolled-keys");
	return !lists(descriptor, "features", "enrolled-keys") &&
	       !lists(descriptor, "features", "requires-smm");
}

static bool take_described(
	const json_t *descriptor, const struct firmware_want *want, struct firmware_files *out)
{
	const json_t *mapping = json_object_get(descriptor, "mapping");
	const json_t *code = json_object_get(mapping, "executable");
	const json_t *vars = json_object_get(mapping, "nvram-template");
	return lists(descriptor, "interface-types", "uefi") &&
	       str_eq(json_get_str(mapping, "device", ""), "flash") &&
	       str_eq(json_get_str(mapping, "mode", "split"), "split") &&
	       str_eq(json_get_str(code, "format", ""), "raw") &&
	       str_eq(json_get_str(vars, "format", ""), "raw") &&
	       fits_target(descriptor, want->machine) &&
	       fits_features(descriptor, want->secure_boot) &&
	       take(want, json_get_str(code, "filename", ""), json_get_str(vars, "filename", ""),
		       out);
}

/* The folder whose file of that name counts. */
static const char *last_with(const char *const folders[], const char *name)
{
	const char *last = NULL;
	for (; *folders; folders++) {
		_cleanup_free_ char *path = str_fmt("%s/%s", *folders, name);
		if (access(path, F_OK) == 0)
			last = *folders;
	}
	return last;
}

/* One folder's names, as {NAME: null}. */
static void collect_names(const char *folder, json_t *names)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, folder, &ignored);
	if (dir < 0 || dir_names(dir, &files, NULL, &ignored) < 0)
		return;
	for (char **f = files; *f; f++)
		if (str_ends(*f, ".json"))
			json_object_set_new(names, *f, json_null());
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool firmware_described(
	const char *const folders[], const struct firmware_want *want, struct firmware_files *out)
{
	_cleanup_json_ json_t *names = json_object();
	for (const char *const *folder = folders; *folder; folder++)
		collect_names(*folder, names);
	size_t count = json_object_size(names), n = 0;
	_cleanup_free_ const char **sorted = xcalloc(count + 1, sizeof(*sorted));
	const char *name;
	json_t *unused;
	json_object_foreach (names, name, unused)
		sorted[n++] = name;
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (size_t i = 0; i < count; i++) {
		struct err ignored = ERR_INIT;
		const char *folder = last_with(folders, sorted[i]);
		_cleanup_free_ char *path = str_fmt("%s/%s", folder ? folder : "", sorted[i]);
		_cleanup_json_ json_t *descriptor = json_file_read(AT_FDCWD, path, &ignored);
		if (descriptor && take_described(descriptor, want, out))
			return true;
	}
	return false;
}

int firmware_find(const struct firmware_want *want, struct firmware_files *out, struct err *err)
{
	static const char *const folders[] = {
		"/usr/share/qemu/firmware", "/etc/qemu/firmware", NULL};
	if (firmware_described(folders, want, out) || find_known(want, out))
		return 0;
	if (want->vars_size) {
		err_set(err, ERR_SYSTEM,
			"no UEFI firmware is installed that fits the guest's variables of %s",
			str_size(want->vars_size));
		return err_hint(err, "it was defined with another package ovmf (edk2-ovmf, "
				     "qemu-ovmf-x86_64): install that one again");
	}
	err_set(err, ERR_SYSTEM, "no UEFI firmware%s is installed%s%s",
		want->secure_boot ? " with secure boot and keys" : "",
		want->machine ? " for the machine " : "", want->machine ? want->machine : "");
	return err_hint(err, "install the package ovmf (edk2-ovmf, qemu-ovmf-x86_64)");
}
