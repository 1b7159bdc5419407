/* A domain's XML: all but its devices. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"
#include "orchestrator/pci_place.h"

#define MIB ((uint64_t)1 << 20)

/* ---- sizes ------------------------------------------------------------------------------------------ */

/* "KiB" is libvirt's default, as it is bare. 0: it is no size. */
static uint64_t unit_of(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = {{"b", 1}, {"bytes", 1}, {"KB", 1000}, {"k", 1024}, {"KiB", 1024},
		{"MB", 1000000}, {"M", MIB}, {"MiB", MIB}, {"GB", 1000000000}, {"G", MIB << 10},
		{"GiB", MIB << 10}, {"TB", 1000000000000}, {"T", MIB << 20}, {"TiB", MIB << 20}};
	if (!unit)
		return 1024;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (str_eq(units[i].name, unit))
			return units[i].bytes;
	return 0;
}

/* In whole MiB, as roost has it; 0: there is none. */
static uint64_t read_size(struct reading *r, xmlNode *n)
{
	_cleanup_free_ char *text = x_text(n);
	uint64_t number, unit = unit_of(x_attr(n, "unit"));
	struct err ignored = ERR_INIT;
	if (!n)
		return 0;
	if (!unit ||
		str_parse_u64(text, 1, ((uint64_t)1 << 44) / unit, "size", &number, &ignored) < 0) {
		x_note(r, n, true, "'%.40s %.20s' is not a size of memory", text,
			x_attr(n, "unit") ? x_attr(n, "unit") : "KiB");
		return 0;
	}
	uint64_t whole = (number * unit + MIB - 1) / MIB * MIB;
	if (whole != number * unit)
		x_note(r, n, false, "is %s, for roost's is in whole MiB", str_size(whole));
	return whole;
}

/* What libvirt's balloon has taken at the start is room to grow here. */
static void read_memory(struct reading *r, xmlNode *domain)
{
	uint64_t most = read_size(r, x_child(domain, "memory")),
		 now = read_size(r, x_child(domain, "currentMemory"));
	if (!x_child(domain, "memory"))
		x_note(r, domain, true, "has no <memory>");
	if (!most)
		return;
	if (!now || now > most)
		now = most;
	json_object_set_new(r->out, "memory", json_integer((json_int_t)now));
	json_object_set_new(r->out, "max_memory", json_integer((json_int_t)most));
	xmlNode *slots = x_child(domain, "maxMemory");
	if (slots)
		x_note(r, slots, false, "has no equivalent: it grows to <memory>, no further");
}

static void read_vcpus(struct reading *r, xmlNode *domain)
{
	xmlNode *n = x_child(domain, "vcpu");
	_cleanup_free_ char *text = x_text(n);
	uint64_t most = 1;
	struct err ignored = ERR_INIT;
	if (n && str_parse_u64(text, 1, 255, "vcpu", &most, &ignored) < 0) {
		x_note(r, n, true, "'%.20s' is not a number of CPUs from 1 to 255", text);
		return;
	}
	unsigned now = x_number(n, "current", (unsigned)most);
	x_attr(n, "placement");
	json_object_set_new(r->out, "vcpus", json_integer(now));
	json_object_set_new(r->out, "max_vcpus", json_integer((json_int_t)most));
	/* that each CPU is on or off */
	x_pass_children(domain, "vcpus");
}

/* ---- <os> ------------------------------------------------------------------------------------------- */

static char *machine_of(const xmlNode *domain)
{
	const char *machine = x_attr(x_child(x_child(domain, "os"), "type"), "machine");
	return xstrdup(machine ? machine : "pc");
}

bool libvirt_machine_is_old(const xmlNode *domain)
{
	_cleanup_free_ char *machine = machine_of(domain);
	return pci_old(machine);
}

static void read_machine(struct reading *r, xmlNode *domain, xmlNode *os)
{
	_cleanup_free_ char *machine = machine_of(domain);
	xmlNode *type = x_child(os, "type");
	_cleanup_free_ char *kind = x_text(type);
	const char *arch = x_attr(type, "arch");
	if (!os || !str_eq(kind, "hvm"))
		x_note(r, os ? os : domain, true, "only fully virtualised guests are taken (hvm)");
	else if (arch && !str_eq(arch, "x86_64") && !str_eq(arch, "i686"))
		x_note_attr(
			r, type, "arch", true, "only x86_64 guests are taken, not '%.20s'", arch);
	else if (!pci_old(machine) && !str_eq(machine, "q35") && !str_starts(machine, "pc-q35-"))
		x_note_attr(r, type, "machine", true,
			"only machines q35 and pc (i440FX) are taken, not '%.40s'", machine);
	put(r->out, "machine", machine);
}

/* Firmware is chosen here by what it must do and by the size of its variables, not by its path. */
static void read_firmware(struct reading *r, xmlNode *os)
{
	xmlNode *loader = x_child(os, "loader"), *nvram = x_child(os, "nvram");
	_cleanup_free_ char *vars = x_text(nvram);
	bool flash = x_attr_is(loader, "type", "pflash"),
	     uefi = x_attr_is(os, "firmware", "efi") || flash,
	     secure = x_attr_is(loader, "secure", "yes");
	for (xmlNode *f = x_child(x_child(os, "firmware"), "feature"); f; f = x_next(f)) {
		bool enabled = x_attr_is(f, "enabled", "yes");
		if (x_attr_is(f, "name", "secure-boot"))
			secure = secure || enabled;
		else if (!x_attr_is(f, "name", "enrolled-keys"))
			x_note(r, f, false, "has no equivalent");
	}
	x_attr(loader, "readonly");
	if (loader && !uefi)
		x_note(r, loader, true, "a BIOS of one's own cannot be taken");
	if (x_attr_is(loader, "stateless", "yes"))
		x_note(r, loader, false, "gets variables of its own");
	put(r->out, "firmware", uefi ? "uefi" : "bios");
	if (secure)
		json_object_set_new(r->out, "secure_boot", json_true());
	if (!nvram)
		return;
	x_attr(nvram, "template");
	x_attr(nvram, "format"); /* the file itself tells */
	x_attr(nvram, "templateFormat");
	const char *file = x_attr(x_child(nvram, "source"), "file");
	if (x_attr(nvram, "type") && !x_attr_is(nvram, "type", "file"))
		x_note(r, nvram, true,
			"UEFI variables that are not in a file of this host cannot be taken");
	else
		put(r->more, "nvram", file ? file : vars && vars[0] ? vars : NULL);
}

static void read_boot_menu(struct reading *r, xmlNode *os)
{
	xmlNode *menu = x_child(os, "bootmenu");
	unsigned ms = x_number(menu, "timeout", 0);
	if (!x_attr_is(menu, "enable", "yes"))
		return;
	json_t *o = json_object();
	if (ms)
		json_object_set_new(o, "timeout", json_integer(ms));
	json_object_set_new(r->out, "boot_menu", ms ? o : json_true());
	if (!ms)
		json_decref(o);
}

static void read_kernel(struct reading *r, xmlNode *os)
{
	_cleanup_free_ char *kernel = x_child_text(os, "kernel"),
			    *initrd = x_child_text(os, "initrd"),
			    *line = x_child_text(os, "cmdline");
	bool there = kernel && kernel[0];
	put(r->out, "kernel", there ? kernel : NULL);
	put(r->out, "initrd", there && initrd && initrd[0] ? initrd : NULL);
	put(r->out, "cmdline", there && line && line[0] ? line : NULL);
}

static void read_os(struct reading *r, xmlNode *domain)
{
	xmlNode *os = x_child(domain, "os"), *bios = x_child(os, "bios"),
		*smbios = x_child(os, "smbios");
	read_machine(r, domain, os);
	read_firmware(r, os);
	read_boot_menu(r, os);
	read_kernel(r, os);
	if (bios && !x_attr(bios, "rebootTimeout"))
		x_pass(bios); /* the serial line is a console of the firmware's where there is no display */
	if (x_attr_is(smbios, "mode", "emulate"))
		x_pass(smbios);
}

/* ---- <cpu> ------------------------------------------------------------------------------------------ */

static void add_features(struct reading *r, xmlNode *cpu, struct buf *out)
{
	for (xmlNode *f = x_child(cpu, "feature"); f; f = x_next(f)) {
		const char *name = x_attr(f, "name"), *policy = x_attr(f, "policy");
		bool off = str_eq(policy, "disable") || str_eq(policy, "forbid");
		if (name &&
			strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(name) &&
			strlen(name) < 40)
			buf_fmt(out, ",%s%s", off ? "-" : "+", name);
		else
			x_note(r, f, false, "is not the name of a CPU's feature");
	}
}

/* The host's own CPU is what roost gives anyway, where KVM works. */
static void read_cpu(struct reading *r, xmlNode *domain)
{
	xmlNode *cpu = x_child(domain, "cpu"), *model = x_child(cpu, "model");
	_cleanup_free_ char *name = x_text(model);
	_cleanup_buf_ struct buf all = {0};
	static const char *const of_no_meaning[] = {"match", "check", "migratable"};
	for (size_t i = 0; i < ARRAY_SIZE(of_no_meaning); i++)
		x_attr(cpu, of_no_meaning[i]);
	x_attr(model, "fallback");
	if (str_eq(x_attr(cpu, "mode"), "host-model"))
		x_note_attr(r, cpu, "mode", false, "is the host's CPU itself here");
	if (cpu && str_starts(x_attr(cpu, "mode") ? x_attr(cpu, "mode") : "custom", "host")) {
		for (xmlNode *f = x_child(cpu, "feature"); f; f = x_next(f))
			x_note(r, f, false, "has no equivalent with the host's CPU");
		x_pass_children(cpu, "model");
		return;
	}
	if (str_eq(x_attr(cpu, "mode"), "maximum")) {
		put(r->out, "cpu", "max");
		return;
	}
	buf_str(&all, name && name[0] ? name : "qemu64"); /* QEMU's own default, and libvirt's */
	add_features(r, cpu, &all);
	put(r->out, "cpu", all.data);
}

/* ---- what else there is ----------------------------------------------------------------------------- */

static void read_features(struct reading *r, xmlNode *domain)
{
	static const char *const always[] = {"acpi", "apic", "pae", "smm"};
	xmlNode *features = x_child(domain, "features");
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		x_pass_children(features, always[i]);
	xmlNode *vmport = x_child(features, "vmport");
	if (x_attr_is(vmport, "state", "off"))
		x_pass(vmport);
	else if (vmport)
		x_note(r, vmport, false, "is off here");
	if (!x_child(features, "acpi"))
		x_remark(r, features ? features : domain, "without ACPI: here it has it");
}

static void read_clock(struct reading *r, xmlNode *domain)
{
	xmlNode *clock = x_child(domain, "clock");
	const char *offset = x_attr(clock, "offset");
	if (offset && !str_eq(offset, "utc"))
		x_note_attr(r, clock, "offset", false,
			"'%.40s': the guest's clock starts at UTC here", offset);
	for (xmlNode *t = x_child(clock, "timer"); t; t = x_next(t)) {
		bool usual =
			(x_attr_is(t, "name", "hpet") && x_attr_is(t, "present", "no")) ||
			(x_attr_is(t, "name", "rtc") && x_attr_is(t, "tickpolicy", "catchup")) ||
			(x_attr_is(t, "name", "pit") && x_attr_is(t, "tickpolicy", "delay"));
		if (usual)
			x_pass(t);
		else
			x_note(r, t, false, "timer '%.20s' has no equivalent", x_attr(t, "name"));
	}
}

static void read_ends(struct reading *r, xmlNode *domain)
{
	xmlNode *off = x_child(domain, "on_poweroff"), *reboot = x_child(domain, "on_reboot"),
		*crash = x_child(domain, "on_crash");
	_cleanup_free_ char *at_off = x_text(off), *at_reboot = x_text(reboot),
			    *at_crash = x_text(crash);
	if (off && !str_eq(at_off, "destroy"))
		x_note(r, off, false, "'%.20s': a guest that powers off is off here", at_off);
	if (str_eq(at_reboot, "destroy"))
		put(r->out, "on_reboot", "destroy");
	else if (reboot && !str_eq(at_reboot, "restart"))
		x_note(r, reboot, false, "'%.20s': a guest that reboots does so here", at_reboot);
	if (str_eq(at_crash, "restart") || !crash || str_eq(at_crash, "destroy"))
		put(r->out, "on_crash", str_eq(at_crash, "restart") ? "restart" : "destroy");
	else if (!str_eq(at_crash, "preserve"))
		x_note(r, crash, false, "'%.20s': a guest that panics stays paused here", at_crash);
}

static void read_power(struct reading *r, xmlNode *domain)
{
	xmlNode *pm = x_child(domain, "pm");
	static const char *const kinds[] = {"suspend-to-mem", "suspend-to-disk"};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		xmlNode *n = x_child(pm, kinds[i]);
		if (x_attr_is(n, "enabled", "yes"))
			x_note(r, n, false, "has no equivalent");
	}
}

static void read_words(struct reading *r, xmlNode *domain)
{
	static const char *const keys[] = {"name", "title", "description"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *text = x_child_text(domain, keys[i]);
		put(r->out, keys[i], text && text[0] ? text : NULL);
	}
	_cleanup_free_ char *written = x_child_text(domain, "uuid"), *uuid = lower_hex(written);
	put(r->out, "uuid", uuid);
	/* which system it is, for tools that would make another one */
	xmlNode *metadata = x_child(domain, "metadata");
	x_pass_children(metadata, "libosinfo");
}

static void read_accel(struct reading *r, xmlNode *domain)
{
	const char *type = x_attr(domain, "type");
	x_attr(domain, "id");
	if (str_eq(type, "qemu"))
		put(r->out, "accel", "tcg");
	else if (str_eq(type, "kvm") || str_eq(type, "test")) /* KVM where it is proven to work */
		put(r->out, "accel", "auto");
	else
		x_note_attr(r, domain, "type", true,
			"only guests of QEMU and KVM are taken, not of '%.20s'", type ? type : "");
}

void libvirt_read_domain(struct reading *r, xmlNode *domain)
{
	xmlNode *resource = x_child(domain, "resource"),
		*partition = x_child(resource, "partition");
	_cleanup_free_ char *group = x_text(partition);
	read_words(r, domain);
	read_accel(r, domain);
	read_memory(r, domain);
	read_vcpus(r, domain);
	read_os(r, domain);
	read_cpu(r, domain);
	read_features(r, domain);
	read_clock(r, domain);
	read_ends(r, domain);
	read_power(r, domain);
	libvirt_read_boot(r, domain);
	x_pass_children(domain, "genid");    /* every guest has one here */
	x_pass_children(domain, "seclabel"); /* and a jail */
	if (partition && !str_eq(group, "/machine"))
		x_note(r, partition, false, "has no equivalent");
	libvirt_read_devices(r, domain);
	x_tell_rest(r, domain);
}
