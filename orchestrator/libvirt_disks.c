/* <disk> of a domain's XML; and what is booted from. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"

/* ---- one disk --------------------------------------------------------------------------------------- */

/* Which file; what is none of this host's cannot be taken. */
static void read_source(struct reading *r, xmlNode *n, json_t *disk)
{
	xmlNode *source = x_child(n, "source");
	const char *type = x_attr(n, "type"), *file = x_attr(source, "file");
	bool cdrom = json_get_bool(disk, "cdrom", false);
	x_attr(source, "index");
	x_pass_children(source, "seclabel");
	if (type && !str_eq(type, "file")) {
		x_note(r, n, true, "only disks in files are taken, not of type '%.20s'%s", type,
			str_eq(type, "volume") ? ": `virsh vol-path` tells a volume's file" : "");
		return;
	}
	if (x_child(source, "encryption") || x_child(n, "encryption"))
		x_note(r, n, true, "an encrypted disk cannot be taken");
	else if (!file && !cdrom)
		x_note(r, n, true, "has no <source file='...'>");
	put(disk, "path", file);
}

static void read_driver(struct reading *r, xmlNode *n, json_t *disk)
{
	xmlNode *driver = x_child(n, "driver");
	const char *format = x_attr(driver, "type"), *cache = x_attr(driver, "cache");
	bool cdrom = json_get_bool(disk, "cdrom", false);
	x_attr(driver, "name");
	if (format && !str_eq(format, "raw") && !str_eq(format, "qcow2"))
		x_note(r, n, true,
			"only qcow2 and raw are taken, not '%.20s': `roost image convert` makes qcow2 of it",
			format);
	put(disk, "format", format ? format : "raw"); /* libvirt's own default */
	if (!format && !cdrom && !str_eq(x_attr(n, "type"), "network"))
		x_remark(r, driver ? driver : n, "says no type: it is raw, as libvirt takes it");
	/* its default is that a guest's discards do nothing */
	if (!cdrom)
		json_object_set_new(
			disk, "discard", json_boolean(x_attr_is(driver, "discard", "unmap")));
	else
		x_attr(driver, "discard");
	if (str_eq(cache, "directsync")) {
		x_note_attr(r, driver, "cache", false,
			"is writethrough here, over the host's page cache");
		cache = "writethrough";
	}
	put(disk, "cache", cache);
}

/* Its name in libvirt stays where it fits the bus. */
static void read_target(struct reading *r, xmlNode *n, json_t *disk)
{
	static const char *const prefixes[][2] = {
		{"virtio", "vd"}, {"scsi", "sd"}, {"sata", "sd"}, {"ide", "hd"}};
	xmlNode *target = x_child(n, "target");
	const char *name = x_attr(target, "dev"), *bus = x_attr(target, "bus");
	if (!name) {
		x_note(r, n, true, "has no <target dev='...'>");
		return;
	}
	x_attr(target, "tray");
	if (!bus)
		bus = str_starts(name, "vd") ? "virtio" : str_starts(name, "sd") ? "scsi" : "ide";
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (!str_eq(bus, prefixes[i][0]))
			continue;
		put(disk, "bus", bus);
		if (str_starts(name, prefixes[i][1]) && strlen(name) == 3)
			put(disk, "target", name);
		else
			x_note_attr(r, target, "dev", false,
				"it is not '%.20s' here, but named by its bus", name ? name : "");
		return;
	}
	x_note(r, n, true, "only disks on virtio, scsi, sata and ide are taken, not on '%.20s'",
		bus);
}

static void read_serial(struct reading *r, xmlNode *n, json_t *disk)
{
	xmlNode *serial = x_child(n, "serial");
	_cleanup_free_ char *text = x_text(serial);
	size_t most = str_eq(json_get_str(disk, "bus", ""), "scsi") ? 36 : 20;
	bool good =
		text &&
		strspn(text,
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+-") ==
			strlen(text);
	if (good && text[0] && strlen(text) <= most)
		put(disk, "serial", text);
	else if (text && text[0])
		x_note(r, serial, false,
			"has more than %zu characters, or others than letters and digits", most);
}

/* Sectors of another size: all that is on it would be elsewhere. */
static void read_sectors(struct reading *r, xmlNode *n)
{
	xmlNode *io = x_child(n, "blockio");
	if (x_number(io, "logical_block_size", 512) != 512)
		x_note(r, n, true, "only disks with sectors of 512 bytes are taken");
}

static void read_disk(struct reading *r, xmlNode *n, json_t *disks)
{
	const char *device = x_attr(n, "device");
	json_t *disk = json_object();
	if (str_eq(device, "floppy")) {
		json_decref(disk);
		x_note(r, n, false, "there are no floppy disks here");
		return;
	}
	if (device && !str_eq(device, "disk") && !str_eq(device, "cdrom"))
		x_note(r, n, true, "a disk of kind '%.20s' cannot be taken", device);
	if (str_eq(device, "cdrom"))
		json_object_update_new(disk, json_pack("{s:b, s:b}", "cdrom", 1, "readonly", 1));
	if (x_child(n, "readonly"))
		json_object_set_new(disk, "readonly", json_true());
	read_source(r, n, disk);
	read_driver(r, n, disk);
	read_target(r, n, disk);
	read_serial(r, n, disk);
	read_sectors(r, n);
	if (x_child(n, "transient"))
		x_note(r, n, true, "a disk that forgets what is written cannot be taken");
	if (x_child(n, "mirror"))
		x_note(r, n, true, "a job is at work on it: `virsh blockjob --abort` first");
	x_pass_children(n, "backingStore"); /* the files themselves tell */
	x_pass_children(n, "address");
	x_pass_children(n, "alias");
	json_array_append_new(disks, disk);
}

void libvirt_read_disks(struct reading *r, xmlNode *devices)
{
	json_t *disks = json_array();
	bool scsi = false;
	size_t i;
	json_t *disk;
	for (xmlNode *n = x_child(devices, "disk"); n; n = x_next(n))
		read_disk(r, n, disks);
	json_array_foreach (disks, i, disk)
		scsi = scsi || str_eq(json_get_str(disk, "bus", ""), "scsi");
	for (xmlNode *n = x_child(devices, "controller"); n && scsi; n = x_next(n)) {
		const char *model = x_attr(n, "model");
		if (x_attr_is(n, "type", "scsi") && model && !str_starts(model, "virtio"))
			x_note_attr(r, n, "model", true,
				"'%.20s': SCSI disks are on virtio-scsi here, and the guest may not find them",
				model);
	}
	json_object_set_new(r->out, "disks", disks);
}

/* ---- booting ---------------------------------------------------------------------------------------- */

enum { ORDERS_MAX = 64 };
struct order {
	unsigned number;
	const char *kind;
	size_t nth; /* of its kind */
	xmlNode *at;
};

static int by_number(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void add_kind(json_t *boot, const char *kind)
{
	size_t i;
	json_t *had;
	json_array_foreach (boot, i, had)
		if (str_eq(json_string_value(had), kind))
			return;
	json_array_append_new(boot, json_string(kind));
}

static size_t collect_orders(xmlNode *devices, struct order all[ORDERS_MAX])
{
	size_t count = 0, disks = 0, cdroms = 0, nics = 0;
	for (xmlNode *n = x_child(devices, "disk"); n; n = x_next(n)) {
		bool cdrom = x_attr_is(n, "device", "cdrom");
		size_t nth = cdrom ? cdroms++ : disks++;
		xmlNode *boot = x_child(n, "boot");
		if (boot && count < ORDERS_MAX)
			all[count++] = (struct order){
				x_number(boot, "order", 0), cdrom ? "cdrom" : "disk", nth, boot};
	}
	for (xmlNode *n = x_child(devices, "interface"); n; n = x_next(n)) {
		size_t nth = nics++;
		xmlNode *boot = x_child(n, "boot");
		if (boot && count < ORDERS_MAX)
			all[count++] =
				(struct order){x_number(boot, "order", 0), "network", nth, boot};
	}
	qsort(all, count, sizeof(*all), by_number);
	return count;
}

/* Here a kind has its turn, and in it all of that kind in their order. */
static void read_orders(struct reading *r, xmlNode *devices, json_t *boot)
{
	struct order all[ORDERS_MAX];
	size_t count = collect_orders(devices, all);
	for (size_t i = 0; i < count; i++) {
		size_t before = 0;
		for (size_t k = 0; k < i; k++)
			before += str_eq(all[k].kind, all[i].kind);
		if (all[i].nth != before)
			x_note(r, all[i].at, false,
				"those of its kind are booted from in their order here");
		add_kind(boot, all[i].kind);
	}
}

void libvirt_read_boot(struct reading *r, xmlNode *domain)
{
	static const char *const kinds[][2] = {
		{"hd", "disk"}, {"cdrom", "cdrom"}, {"network", "network"}};
	json_t *boot = json_array();
	for (xmlNode *n = x_child(x_child(domain, "os"), "boot"); n; n = x_next(n)) {
		const char *dev = x_attr(n, "dev");
		size_t i = 0;
		while (i < ARRAY_SIZE(kinds) && !str_eq(dev, kinds[i][0]))
			i++;
		if (i < ARRAY_SIZE(kinds))
			add_kind(boot, kinds[i][1]);
		else
			x_note(r, n, false, "nothing boots from '%.20s' here", dev ? dev : "");
	}
	read_orders(r, x_child(domain, "devices"), boot);
	if (json_array_size(boot))
		json_object_set_new(r->out, "boot", boot);
	else
		json_decref(boot);
}
