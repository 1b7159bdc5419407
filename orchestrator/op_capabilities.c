/*
 * What the installed QEMU can do, for people and for tools that choose: machines, CPU models, devices,
 * drivers, accelerators, sandbox, firmware. Asked of a QEMU without a machine; what cannot change
 * without another QEMU is kept in $STATE/capabilities.json by the binary's identity. Whether KVM and
 * firmware are there is looked at anew each time.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/accel.h"
#include "orchestrator/firmware.h"
#include "orchestrator/paths.h"
#include "orchestrator/qemu_caps.h"
#include "orchestrator/roostd.h"

enum { ANSWER_MS = 20000 };

/* What roost makes guests of (argv.c, disk_open.c), by what it is for. */
static const struct {
	const char *kind, *driver;
} devices[] = {
	{"disk", "virtio-blk-pci"},
	{"disk", "virtio-scsi-pci"},
	{"disk", "scsi-hd"},
	{"disk", "ide-hd"},
	{"cdrom", "scsi-cd"},
	{"cdrom", "ide-cd"},
	{"interface", "virtio-net-pci"},
	{"interface", "e1000e"},
	{"interface", "e1000"},
	{"memory", "virtio-balloon-pci"},
	{"memory", "virtio-mem-pci"},
	{"channel", "virtio-serial-pci"},
	{"channel", "virtserialport"},
	{"console", "isa-serial"},
	{"display", "VGA"},
	{"hotplug", "pcie-root-port"},
	{"rng", "virtio-rng-pci"},
	{"panic", "pvpanic"},
	{"generation", "vmgenid"},
	{"tpm", "tpm-crb"},
	{"tpm", "tpm-tis"},
	{"watchdog", "i6300esb"},
};

static int ask(struct qmp *q, const char *command, json_t *args, json_t **out, struct err *err)
{
	return qmp_call(q, command, args, deadline_in(ANSWER_MS), out, err);
}

/* ---- what QEMU says ------------------------------------------------------------------------------- */

static int add_version(struct qmp *q, json_t *to, struct err *err)
{
	_cleanup_json_ json_t *version = NULL, *target = NULL;
	if (ask(q, "query-version", NULL, &version, err) < 0 ||
		ask(q, "query-target", NULL, &target, err) < 0)
		return -1;
	const json_t *numbers = json_object_get(version, "qemu");
	_cleanup_free_ char *text = str_fmt("%d.%d.%d", (int)json_get_int(numbers, "major", 0),
		(int)json_get_int(numbers, "minor", 0), (int)json_get_int(numbers, "micro", 0));
	json_object_update_new(to, json_pack("{s:s, s:s, s:s, s:s}", "qemu", qemu_path(), "version",
					   text, "package", json_get_str(version, "package", ""),
					   "arch", json_get_str(target, "arch", "")));
	return 0;
}

static int add_machines(struct qmp *q, json_t *to, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	json_t *machines = json_array(), *m;
	size_t i;
	json_object_set_new(to, "machines", machines);
	if (ask(q, "query-machines", NULL, &list, err) < 0)
		return -1;
	json_array_foreach (list, i, m) {
		json_t *machine =
			json_pack("{s:s, s:I, s:b, s:b}", "name", json_get_str(m, "name", ""),
				"max_vcpus", (json_int_t)json_get_int(m, "cpu-max", 1),
				"deprecated", json_get_bool(m, "deprecated", false), "default",
				json_get_bool(m, "is-default", false));
		if (json_object_get(m, "alias"))
			json_object_set(machine, "alias", json_object_get(m, "alias"));
		json_array_append_new(machines, machine);
	}
	return 0;
}

/* The QEMU that is asked runs under TCG: what is lacking to a model is lacking there. */
static int add_cpu_models(struct qmp *q, json_t *to, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	json_t *models = json_array(), *m;
	size_t i;
	json_object_set_new(to, "cpu_models", models);
	if (ask(q, "query-cpu-definitions", NULL, &list, err) < 0)
		return -1;
	json_array_foreach (list, i, m) {
		json_t *lacks = json_object_get(m, "unavailable-features");
		json_array_append_new(
			models, json_pack("{s:s, s:b, s:b}", "name", json_get_str(m, "name", ""),
					"complete_under_tcg", json_array_size(lacks) == 0,
					"deprecated", json_get_bool(m, "deprecated", false)));
	}
	return 0;
}

/* The names of types below `parent`, as keys. */
static json_t *types_below(struct qmp *q, const char *parent, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *type;
	if (ask(q, "qom-list-types", json_pack("{s:s, s:b}", "implements", parent, "abstract", 0),
		    &list, err) < 0)
		return NULL;
	json_t *names = json_object();
	json_array_foreach (list, i, type)
		json_object_set_new(names, json_get_str(type, "name", ""), json_true());
	return names;
}

static int add_devices(struct qmp *q, json_t *to, struct err *err)
{
	_cleanup_json_ json_t *names = types_below(q, "device", err);
	json_t *kinds = json_object();
	json_object_set_new(to, "devices", kinds);
	if (!names)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		json_t *kind = json_object_get(kinds, devices[i].kind);
		if (!kind)
			json_object_set_new(kinds, devices[i].kind, kind = json_object());
		json_object_set_new(kind, devices[i].driver,
			json_boolean(json_object_get(names, devices[i].driver)));
	}
	return 0;
}

static int add_accelerators(struct qmp *q, json_t *to, struct err *err)
{
	static const char *const known[] = {"kvm", "tcg"};
	_cleanup_json_ json_t *names = types_below(q, "accel", err);
	json_t *list = json_object();
	json_object_set_new(to, "accelerators", list);
	if (!names)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_cleanup_free_ char *type = str_fmt("%s-accel", known[i]);
		json_object_set_new(list, known[i],
			json_pack("{s:b}", "built_in", json_object_get(names, type) != NULL));
	}
	return 0;
}

/* The cases that an argument of a command may be, such as the drivers of blockdev-add. */
static json_t *cases_of(const json_t *schema, const char *command)
{
	const char *type = command;
	json_t *cases = json_array(), *entry, *variant;
	size_t i, j;
	json_array_foreach (schema, i, entry)
		if (str_eq(json_get_str(entry, "name", ""), command))
			type = json_get_str(entry, "arg-type", "");
	json_array_foreach (schema, i, entry)
		if (str_eq(json_get_str(entry, "name", ""), type))
			json_array_foreach (json_object_get(entry, "variants"), j, variant)
				json_array_append(cases, json_object_get(variant, "case"));
	return cases;
}

static int add_drivers(struct qmp *q, json_t *to, struct err *err)
{
	_cleanup_json_ json_t *schema = NULL;
	if (ask(q, "query-qmp-schema", NULL, &schema, err) < 0)
		return -1;
	json_object_set_new(to, "block_drivers", cases_of(schema, "blockdev-add"));
	json_object_set_new(to, "net_backends", cases_of(schema, "netdev_add"));
	return 0;
}

/* QEMU has the option only if it was built with seccomp; then not to know it is no failure. */
static int add_sandbox(struct qmp *q, json_t *to, struct err *err)
{
	bool there = ask(q, "query-command-line-options", json_pack("{s:s}", "option", "sandbox"),
			     NULL, err) == 0;
	json_object_set_new(to, "sandbox", json_boolean(there));
	return there || err->kind == ERR_QEMU ? 0 : -1;
}

static json_t *ask_all(const char *binary, struct err *err)
{
	static int (*const parts[])(struct qmp *, json_t *, struct err *) = {add_version,
		add_machines, add_cpu_models, add_devices, add_accelerators, add_drivers,
		add_sandbox};
	_cleanup_(child_end) struct child child = CHILD_NONE;
	_cleanup_qmp_ struct qmp *q = qemu_to_ask(binary, &child, err);
	_cleanup_json_ json_t *all = json_object();
	bool failed = !q;
	for (size_t i = 0; !failed && i < ARRAY_SIZE(parts); i++)
		failed = parts[i](q, all, err) < 0;
	if (failed) {
		err_prefix(err, "asking '%s'", binary);
		return NULL;
	}
	return json_incref(all);
}

/* ---- what the host says --------------------------------------------------------------------------- */

static void add_kvm(json_t *all, struct err *err)
{
	_cleanup_free_ char *cache = str_fmt("%s/kvm.json", paths_run(err));
	json_t *accelerators = json_object_get(all, "accelerators");
	json_t *kvm = json_object_get(accelerators, "kvm"),
	       *tcg = json_object_get(accelerators, "tcg");
	struct accel_proof proof = {0};
	struct err why = ERR_INIT;
	bool proven = accel_probe(cache, &proof, &why) == 0 && proof.verdict == KVM_PROVEN;
	json_object_set_new(tcg, "usable", json_boolean(json_get_bool(tcg, "built_in", false)));
	json_object_set_new(
		kvm, "usable", json_boolean(proven && json_get_bool(kvm, "built_in", false)));
	json_object_set_new(
		kvm, "reason", json_string(proof.reason[0] ? proof.reason : why.message));
}

static json_t *firmware_for(bool secure_boot)
{
	struct err ignored = ERR_INIT;
	struct firmware_files files;
	if (firmware_find(&(struct firmware_want){.secure_boot = secure_boot}, &files, &ignored) <
		0)
		return json_null();
	return json_pack("{s:s, s:s}", "code", files.code, "variables", files.vars);
}

int op_capabilities(const json_t *args, json_t **ret, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *state = paths_state(err), *binary = qemu_path();
	_cleanup_json_ json_t *id = state ? qemu_identity(binary, err) : NULL;
	(void)args;
	if (!id)
		return -1;
	_cleanup_free_ char *path = str_fmt("%s/capabilities.json", state);
	_cleanup_json_ json_t *cache = json_file_read(AT_FDCWD, path, &ignored);
	json_t *all = json_incref(json_object_get(cache, "capabilities"));
	if (!json_is_object(all) || !json_equal(json_object_get(cache, "identity"), id)) {
		json_decref(all);
		all = ask_all(binary, err);
		_cleanup_json_ json_t *now =
			json_pack("{s:O, s:O?}", "identity", id, "capabilities", all);
		if (all)
			json_file_write(AT_FDCWD, path, now, false, &ignored);
	}
	if (!all)
		return -1;
	add_kvm(all, &ignored);
	json_object_set_new(all, "firmware",
		json_pack("{s:b, s:o, s:o}", "bios", 1, "uefi", firmware_for(false), "secure_boot",
			firmware_for(true)));
	*ret = all;
	return 0;
}
