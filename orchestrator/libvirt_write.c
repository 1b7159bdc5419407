/* Definitions as libvirt's XML: domains. */
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_make.h"
#include "orchestrator/libvirt_xml.h"

#define KIB 1024

/* ---- elements --------------------------------------------------------------------------------------- */

xmlNode *m_add(xmlNode *parent, const char *name, const char *text)
{
	return xmlNewTextChild(parent, NULL, BAD_CAST name, BAD_CAST text);
}

void m_set(xmlNode *n, const char *attr, const char *value)
{
	if (value)
		xmlNewProp(n, BAD_CAST attr, BAD_CAST value);
}

void m_number(xmlNode *n, const char *attr, json_int_t value)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)value);
	m_set(n, attr, text);
}

/* Scripts read what virsh prints, and that has single quotes. Of the double ones in a value libxml2 has made &quot;. */
static char *single_quoted(const char *text)
{
	struct buf out = {0};
	bool tag = false;
	for (; *text; text++) {
		tag = *text == '<' || (tag && *text != '>');
		if (tag && *text == '\'')
			buf_str(&out, "&apos;");
		else
			buf_add(&out, tag && *text == '"' ? "'" : text, 1);
	}
	return buf_steal(&out);
}

char *m_text(const char *root_name, void (*fill)(xmlNode *root, const json_t *request),
	const json_t *request)
{
	xmlChar *text = NULL;
	xmlDoc *doc = xmlNewDoc(BAD_CAST "1.0");
	xmlNode *root = xmlNewNode(NULL, BAD_CAST root_name);
	int len;
	xmlDocSetRootElement(doc, root);
	fill(root, request);
	xmlDocDumpFormatMemoryEnc(doc, &text, &len, "UTF-8", 1);
	xmlFreeDoc(doc);
	/* as virsh has it: without the line that tells what every XML is */
	const char *from = text ? strstr((const char *)text, "?>\n") : NULL;
	char *copy = single_quoted(from ? from + 3 : text ? (const char *)text : "");
	xmlFree(text);
	return copy;
}

static void add_address(xmlNode *n, unsigned bus, unsigned slot, unsigned function)
{
	char text[16];
	xmlNode *at = m_add(n, "address", NULL);
	m_set(at, "type", "pci");
	m_set(at, "domain", "0x0000");
	snprintf(text, sizeof(text), "0x%02x", bus & 0xff);
	m_set(at, "bus", text);
	snprintf(text, sizeof(text), "0x%02x", slot & 0x1f);
	m_set(at, "slot", text);
	snprintf(text, sizeof(text), "0x%x", function & 7);
	m_set(at, "function", text);
}

static bool old_machine(const json_t *d)
{
	return str_starts(json_get_str(d, "machine", ""), "pc-i440fx-") ||
	       str_eq(json_get_str(d, "machine", ""), "pc");
}

/* ---- all but the devices ---------------------------------------------------------------------------- */

static void add_size(xmlNode *root, const char *name, json_int_t bytes)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)bytes / KIB);
	m_set(m_add(root, name, text), "unit", "KiB");
}

static void add_vcpus(xmlNode *root, const json_t *d)
{
	char text[24];
	json_int_t now = json_get_int(d, "vcpus", 1), most = json_get_int(d, "max_vcpus", now);
	snprintf(text, sizeof(text), "%lld", (long long)most);
	xmlNode *n = m_add(root, "vcpu", text);
	m_set(n, "placement", "static");
	if (now != most)
		m_number(n, "current", now);
}

static void add_firmware(xmlNode *os, const json_t *d)
{
	if (!str_eq(json_get_str(d, "firmware", ""), "uefi"))
		return;
	bool secure = json_get_bool(d, "secure_boot", false);
	m_set(os, "firmware", "efi");
	xmlNode *feature = m_add(m_add(os, "firmware", NULL), "feature", NULL);
	m_set(feature, "enabled", secure ? "yes" : "no");
	m_set(feature, "name", "secure-boot");
}

static void add_os(xmlNode *root, const json_t *d)
{
	static const char *const keys[] = {"kernel", "initrd", "cmdline"};
	static const char *const kinds[][2] = {
		{"disk", "hd"}, {"cdrom", "cdrom"}, {"network", "network"}};
	xmlNode *os = m_add(root, "os", NULL), *type;
	const json_t *menu = json_object_get(d, "boot_menu");
	size_t i;
	json_t *kind;
	type = m_add(os, "type", "hvm");
	m_set(type, "arch", "x86_64");
	m_set(type, "machine", json_get_str(d, "machine", "q35"));
	add_firmware(os, d);
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		if (json_get_str(d, keys[k], NULL))
			m_add(os, keys[k], json_get_str(d, keys[k], ""));
	json_array_foreach (json_object_get(d, "boot"), i, kind)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			if (str_eq(json_string_value(kind), kinds[k][0]))
				m_set(m_add(os, "boot", NULL), "dev", kinds[k][1]);
	if (!json_array_size(json_object_get(d, "boot"))) {
		m_set(m_add(os, "boot", NULL), "dev", "hd");
		m_set(m_add(os, "boot", NULL), "dev", "cdrom");
	}
	if (!menu || json_is_false(menu))
		return;
	xmlNode *n = m_add(os, "bootmenu", NULL);
	m_set(n, "enable", "yes");
	if (json_get_int(menu, "timeout", 0))
		m_number(n, "timeout", json_get_int(menu, "timeout", 0));
}

static void add_cpu(xmlNode *root, const json_t *d, bool tcg)
{
	const char *cpu = json_get_str(d, "cpu", NULL);
	xmlNode *n = m_add(root, "cpu", NULL);
	if (!cpu || str_eq(cpu, "host") || str_eq(cpu, "max")) {
		bool max = str_eq(cpu, "max") || (!cpu && tcg);
		m_set(n, "mode", max ? "maximum" : "host-passthrough");
		m_set(n, "check", "none");
		return;
	}
	_cleanup_free_ char *words = xstrdup(cpu);
	char *rest = NULL, *word = strtok_r(words, ",", &rest);
	m_set(n, "mode", "custom");
	m_set(n, "match", "exact");
	m_set(n, "check", "none");
	m_set(m_add(n, "model", word), "fallback", "forbid");
	while ((word = strtok_r(NULL, ",", &rest))) {
		if (*word != '+' && *word != '-')
			continue; /* a property of QEMU's own */
		xmlNode *feature = m_add(n, "feature", NULL);
		m_set(feature, "policy", *word == '+' ? "require" : "disable");
		m_set(feature, "name", word + 1);
	}
}

static void add_ends(xmlNode *root, const json_t *d)
{
	const char *crash = json_get_str(d, "on_crash", "pause");
	m_add(root, "on_poweroff", "destroy");
	m_add(root, "on_reboot", json_get_str(d, "on_reboot", "restart"));
	m_add(root, "on_crash", str_eq(crash, "pause") ? "preserve" : crash);
}

/* ---- devices ---------------------------------------------------------------------------------------- */

static void add_disk(xmlNode *devices, const json_t *disk, const char *folder)
{
	bool cdrom = json_get_bool(disk, "cdrom", false);
	const char *file = json_get_str(disk, "file", NULL),
		   *path = json_get_str(disk, "path", NULL),
		   *cache = json_get_str(disk, "cache", "default");
	_cleanup_free_ char *own = file ? str_fmt("%s/%s", folder, file) : NULL;
	xmlNode *n = m_add(devices, "disk", NULL), *driver;
	m_set(n, "type", "file");
	m_set(n, "device", cdrom ? "cdrom" : "disk");
	driver = m_add(n, "driver", NULL);
	m_set(driver, "name", "qemu");
	m_set(driver, "type", own ? "qcow2" : json_get_str(disk, "format", "raw"));
	if (!str_eq(cache, "default"))
		m_set(driver, "cache", cache);
	if (!cdrom && json_get_bool(disk, "discard", false))
		m_set(driver, "discard", "unmap");
	if (own || path)
		m_set(m_add(n, "source", NULL), "file", own ? own : path);
	xmlNode *target = m_add(n, "target", NULL);
	m_set(target, "dev", json_get_str(disk, "target", ""));
	m_set(target, "bus", json_get_str(disk, "bus", "virtio"));
	if (json_get_bool(disk, "readonly", false))
		m_add(n, "readonly", NULL);
	if (json_get_str(disk, "serial", NULL))
		m_add(n, "serial", json_get_str(disk, "serial", ""));
}

static void add_forward(xmlNode *n, const char *text)
{
	/* as roost writes it: "tcp:127.0.0.1:8080-80" */
	char protocol[4], address[40];
	unsigned host = 0, guest = 0;
	if (sscanf(text, "%3[a-z]:%39[0-9.]:%u-%u", protocol, address, &host, &guest) != 4)
		return; /* a free port at each start, which libvirt has not */
	xmlNode *f = m_add(n, "portForward", NULL), *range = m_add(f, "range", NULL);
	m_set(f, "proto", protocol);
	m_set(f, "address", address);
	m_number(range, "start", host);
	m_number(range, "to", guest);
}

static void add_user(xmlNode *n, const json_t *user)
{
	size_t i;
	json_t *forward;
	m_set(n, "type", "user");
	if (json_array_size(json_object_get(user, "hostfwd")))
		m_set(m_add(n, "backend", NULL), "type", "passt");
	json_array_foreach (json_object_get(user, "hostfwd"), i, forward)
		add_forward(n, json_string_value(forward));
}

static void add_nic(xmlNode *devices, const json_t *nic, size_t index, bool old)
{
	const char *network = json_get_str(nic, "network", NULL),
		   *bridge = json_get_str(nic, "bridge", NULL);
	unsigned bus = 0, slot = (unsigned)index + (old ? 3 : 7);
	xmlNode *n = m_add(devices, "interface", NULL);
	if (!network && !bridge)
		add_user(n, json_object_get(nic, "user"));
	m_set(m_add(n, "mac", NULL), "address", json_get_str(nic, "mac", ""));
	if (network || bridge) {
		m_set(n, "type", network ? "network" : "bridge");
		m_set(m_add(n, "source", NULL), network ? "network" : "bridge",
			network ? network : bridge);
	}
	m_set(m_add(n, "model", NULL), "type", json_get_str(nic, "model", "virtio"));
	if (json_get_int(nic, "queues", 0) > 1) {
		xmlNode *driver = m_add(n, "driver", NULL);
		m_set(driver, "name", "vhost");
		m_number(driver, "queues", json_get_int(nic, "queues", 0));
	}
	if (json_get_int(nic, "mtu", 0))
		m_number(m_add(n, "mtu", NULL), "size", json_get_int(nic, "mtu", 0));
	if (json_get_bool(nic, "isolated", false))
		m_set(m_add(n, "port", NULL), "isolated", "yes");
	if (json_get_str(nic, "link", NULL))
		m_set(m_add(n, "link", NULL), "state", "down");
	sscanf(json_get_str(nic, "pci", ""), "%x:%x", &bus, &slot);
	add_address(n, bus, slot, 0);
}

/* The ports that argv.c makes, so that the addresses behind them are those that the guest sees. */
static void add_controllers(xmlNode *devices, const json_t *d)
{
	bool old = old_machine(d);
	xmlNode *root = m_add(devices, "controller", NULL);
	m_set(root, "type", "pci");
	m_set(root, "index", "0");
	m_set(root, "model", old ? "pci-root" : "pcie-root");
	for (unsigned i = 0; !old && i < 13; i++) {
		xmlNode *n = m_add(devices, "controller", NULL), *target;
		m_set(n, "type", "pci");
		m_number(n, "index", i + 1);
		m_set(n, "model", "pcie-root-port");
		target = m_add(n, "target", NULL);
		m_number(target, "chassis", i + 1);
		m_number(target, "port", i);
		add_address(n, 0, i < 8 ? 2 : 3, i < 8 ? i : i - 5);
	}
}

static void add_consoles(xmlNode *devices, const json_t *d)
{
	const json_t *list = json_object_get(d, "console");
	size_t count = json_is_array(list) ? json_array_size(list) : json_is_true(list);
	json_int_t ports[2] = {0, 0}; /* serial lines, virtio consoles */
	for (size_t i = 0; i < count; i++) {
		bool virtio = str_eq(json_string_value(json_array_get(list, i)), "virtio");
		xmlNode *n = m_add(devices, virtio ? "console" : "serial", NULL), *target;
		m_set(n, "type", "pty");
		target = m_add(n, "target", NULL);
		m_set(target, "type", virtio ? "virtio" : "isa-serial");
		m_number(target, "port", ports[virtio]++);
		if (!virtio)
			m_set(m_add(target, "model", NULL), "name", "isa-serial");
		if (i > 0)
			continue;
		n = m_add(devices, "console", NULL);
		m_set(n, "type", "pty");
		target = m_add(n, "target", NULL);
		m_set(target, "type", "serial");
		m_set(target, "port", "0");
	}
}

static void add_display(xmlNode *devices, const json_t *d)
{
	const json_t *vnc = json_object_get(d, "vnc");
	bool has_vnc = vnc && !json_is_false(vnc);
	if (has_vnc) {
		xmlNode *n = m_add(devices, "graphics", NULL);
		m_set(n, "type", "vnc");
		m_set(m_add(n, "listen", NULL), "type", "socket");
	}
	if (has_vnc || str_eq(json_get_str(d, "display", ""), "vga"))
		m_set(m_add(m_add(devices, "video", NULL), "model", NULL), "type", "vga");
}

static void add_tpm(xmlNode *devices, const json_t *d)
{
	const json_t *tpm = json_object_get(d, "tpm");
	if (!tpm || json_is_false(tpm))
		return;
	xmlNode *n = m_add(devices, "tpm", NULL), *backend = m_add(n, "backend", NULL);
	m_set(n, "model", str_eq(json_get_str(tpm, "model", "crb"), "tis") ? "tpm-tis" : "tpm-crb");
	m_set(backend, "type", "emulator");
	m_set(backend, "version", "2.0");
}

static void add_watchdog(xmlNode *devices, const json_t *d)
{
	const json_t *dog = json_object_get(d, "watchdog");
	if (!dog || json_is_false(dog))
		return;
	xmlNode *n = m_add(devices, "watchdog", NULL);
	m_set(n, "model", json_get_str(dog, "model", "i6300esb"));
	m_set(n, "action", json_get_str(dog, "action", "reset"));
}

static void add_small(xmlNode *devices, const json_t *d)
{
	if (json_get_bool(d, "agent", true)) {
		xmlNode *n = m_add(devices, "channel", NULL), *target = m_add(n, "target", NULL);
		m_set(n, "type", "unix");
		m_set(target, "type", "virtio");
		m_set(target, "name", "org.qemu.guest_agent.0");
	}
	m_set(m_add(devices, "memballoon", NULL), "model", "virtio");
	if (json_get_bool(d, "rng", true)) {
		xmlNode *n = m_add(devices, "rng", NULL);
		m_set(n, "model", "virtio");
		m_set(m_add(n, "backend", "/dev/urandom"), "model", "random");
	}
	m_set(m_add(devices, "panic", NULL), "model", "isa");
}

static void add_devices(xmlNode *root, const json_t *d, const json_t *request)
{
	xmlNode *devices = m_add(root, "devices", NULL);
	size_t i;
	json_t *item;
	if (json_get_str(request, "emulator", NULL))
		m_add(devices, "emulator", json_get_str(request, "emulator", ""));
	json_array_foreach (json_object_get(d, "disks"), i, item)
		add_disk(devices, item, json_get_str(request, "folder", ""));
	add_controllers(devices, d);
	json_array_foreach (json_object_get(d, "interfaces"), i, item)
		add_nic(devices, item, i, old_machine(d));
	add_consoles(devices, d);
	add_display(devices, d);
	add_tpm(devices, d);
	add_watchdog(devices, d);
	add_small(devices, d);
}

static void fill(xmlNode *root, const json_t *request)
{
	static const char *const words[] = {"name", "uuid", "title", "description"};
	const json_t *d = json_object_get(request, "definition");
	bool tcg = str_eq(json_get_str(d, "accel", ""), "tcg");
	json_int_t memory = json_get_int(d, "memory", 0);
	m_set(root, "type", tcg ? "qemu" : "kvm");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (json_get_str(d, words[i], NULL))
			m_add(root, words[i], json_get_str(d, words[i], ""));
	add_size(root, "memory", json_get_int(d, "max_memory", memory));
	add_size(root, "currentMemory", memory);
	add_vcpus(root, d);
	add_os(root, d);
	xmlNode *features = m_add(root, "features", NULL);
	m_add(features, "acpi", NULL);
	m_add(features, "apic", NULL);
	add_cpu(root, d, tcg);
	m_set(m_add(root, "clock", NULL), "offset", "utc");
	add_ends(root, d);
	add_devices(root, d, request);
}

char *libvirt_write_domain(const json_t *request, struct err *err)
{
	if (!json_is_object(json_object_get(request, "definition"))) {
		err_set(err, ERR_USAGE, "there is no definition to write");
		return NULL;
	}
	return m_text("domain", fill, request);
}
