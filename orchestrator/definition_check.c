/*
 * Definitions: what one key alone cannot tell, and what is filled in where nothing was said.
 *
 * What could come true of a record by a later operation (its last interface was detached, so
 * nothing can log in) is refused only in what people write: no guest becomes unreadable by it.
 */
#include "orchestrator/definition_check.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/pci_place.h"
#include "orchestrator/publish.h"
#include "orchestrator/reach.h"

/* ---- one disk -------------------------------------------------------------------------------- */

static const char *target_prefix(enum disk_bus bus)
{
	static const char *const prefixes[] = {
		[BUS_VIRTIO] = "vd", [BUS_SCSI] = "sd", [BUS_SATA] = "sd", [BUS_IDE] = "hd"};
	return prefixes[bus];
}

static int check_source(const struct disk_def *d, const struct node *map, struct err *err)
{
	const struct node *format = node_get(map, "format"), *size = node_get(map, "size");
	switch (d->source) {
	case DISK_PATH:
		if (size)
			return node_error(
				size, err, "a file of yours is used as it is, and keeps its size");
		if (format)
			return 0;
		node_error(map, err, "'path' without 'format'");
		return err_hint(err,
			"write `format: raw` or `format: qcow2`; it is never guessed, for a guest "
			"could write a qcow2 header into a raw disk and so read files of the host");
	case DISK_IMAGE:
		if (!format && !node_by_people(map))
			return node_error(map, err, "'image' without 'format'");
		return 0;
	case DISK_BLANK:
		if (d->format == FORMAT_RAW)
			return node_error(format, err, "disks that roost makes are qcow2");
		if (d->readonly)
			return node_error(node_place(map, "readonly"), err,
				"a blank disk that nobody may write is of no use");
		if (size)
			return 0;
		node_error(map, err, "the disk has neither 'image' nor 'path' nor 'size'");
		return err_hint(err, "a blank disk needs a size, such as `size: 10G`");
	}
	return 0;
}

static int check_serial_length(const struct disk_def *d, const struct node *map, struct err *err)
{
	size_t max = d->bus == BUS_SCSI ? 36 : 20;
	if (!d->serial || strlen(d->serial) <= max)
		return 0;
	return node_error(node_place(map, "serial"), err,
		"'%s' is longer than %zu characters, the most that %s holds", d->serial, max,
		disk_bus_name(d->bus));
}

static int check_target(const struct disk_def *d, const struct node *map, struct err *err)
{
	const char *prefix = target_prefix(d->bus);
	if (!d->target[0])
		return 0;
	if (str_starts(d->target, prefix) && strlen(d->target) == 3 && d->target[2] >= 'a' &&
		d->target[2] <= 'z')
		return 0;
	return node_error(node_place(map, "target"), err,
		"'%s' does not fit the bus %s, whose disks are %sa to %sz", d->target,
		disk_bus_name(d->bus), prefix, prefix);
}

int check_disk(void *disk, const struct node *map, struct err *err)
{
	struct disk_def *d = disk;
	const struct node *image = node_get(map, "image"), *path = node_get(map, "path");
	if (image && path)
		return node_error(path, err, "'image' and 'path' exclude one another");
	/* a CD-ROM without a path is a drive without a medium */
	d->source = image ? DISK_IMAGE : path || d->cdrom ? DISK_PATH : DISK_BLANK;
	if (check_source(d, map, err) < 0 || check_serial_length(d, map, err) < 0 ||
		check_target(d, map, err) < 0)
		return -1;
	if (d->size % 512)
		return node_error(node_place(map, "size"), err,
			"%llu bytes are not whole sectors of 512", (unsigned long long)d->size);
	if (d->cdrom && (d->source != DISK_PATH || !d->readonly || d->bus == BUS_VIRTIO))
		return node_error(map, err, "a CD-ROM is a read-only 'path' on scsi, sata or ide");
	if (d->source == DISK_PATH && d->file)
		return node_error(
			node_place(map, "file"), err, "'path' and 'file' exclude one another");
	if (d->source == DISK_BLANK)
		d->format = FORMAT_NONE; /* said or not, it is ours */
	d->lineage_known = node_get(map, "lineage");
	return 0;
}

/* ---- the disks together ---------------------------------------------------------------------- */

static const struct node *place_of_disk(const struct node *root, size_t index)
{
	const struct node *list = node_get(root, "disks");
	return list && index < list->count ? list->children[index] : node_place(root, "cdrom");
}

static bool has_target(const struct definition *d, const char *target)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].target, target))
			return true;
	return false;
}

int disk_free_target(const struct definition *d, enum disk_bus bus, char out[8], struct err *err)
{
	for (char letter = 'a'; letter <= 'z'; letter++) {
		char target[] = {target_prefix(bus)[0], target_prefix(bus)[1], letter, '\0'};
		if (!has_target(d, target)) {
			memcpy(out, target, sizeof(target));
			return 0;
		}
	}
	return err_set(err, ERR_REFUSED, "all targets of the bus %s are taken", disk_bus_name(bus));
}

static bool has_file(const struct definition *d, const char *file)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].file, file))
			return true;
	return false;
}

static char *free_file(const struct definition *d)
{
	for (unsigned n = 0;; n++) {
		_cleanup_free_ char *file = str_fmt("disk%u.qcow2", n);
		if (!has_file(d, file))
			return TAKE(file);
	}
}

static int complete_disks(struct definition *d, struct err *err)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		struct disk_def *disk = &d->disks[i];
		if (disk->source != DISK_PATH && !disk->file)
			disk->file = free_file(d);
		if (!disk->target[0] && disk_free_target(d, disk->bus, disk->target, err) < 0)
			return -1;
	}
	return 0;
}

static int check_twins(const struct disk_def *a, const struct disk_def *b, const struct node *place,
	struct err *err)
{
	if (a->target[0] && str_eq(a->target, b->target))
		return node_error(node_place(place, "target"), err,
			"the target '%s' is taken by another disk", a->target);
	if (a->file && str_eq(a->file, b->file))
		return node_error(node_place(place, "file"), err,
			"the file '%s' is taken by another disk", a->file);
	bool same = a->source == DISK_PATH && b->source == DISK_PATH && str_eq(a->path, b->path);
	if (same && !(a->readonly && b->readonly))
		return node_error(node_place(place, "path"), err,
			"'%s' is another disk already, and one of them writes", a->path);
	return 0;
}

static int check_disks(const struct definition *d, const struct node *root, struct err *err)
{
	enum { AHCI_PORTS = 6, PIIX_DRIVES = 4 };
	unsigned on_ahci = 0, most = pci_old(d->machine) ? PIIX_DRIVES : AHCI_PORTS;
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct node *place = place_of_disk(root, i);
		enum disk_bus bus = d->disks[i].bus;
		on_ahci += bus == BUS_SATA || bus == BUS_IDE;
		if (on_ahci > most)
			return node_error(place, err,
				"more than %u disks on sata and ide together, CD-ROM included",
				most);
		for (size_t k = 0; k < i; k++)
			if (check_twins(&d->disks[i], &d->disks[k], place, err) < 0)
				return -1;
	}
	return 0;
}

/* ---- interfaces ------------------------------------------------------------------------------ */

/* Is a forward before number `last` of interface `nic` in the way of it? */
static bool forward_taken(const struct definition *d, size_t nic, size_t last)
{
	const struct forward *f = &d->nics[nic].forwards[last];
	for (size_t i = 0; i <= nic; i++) {
		size_t count = i < nic ? d->nics[i].forward_count : last;
		for (size_t k = 0; k < count; k++)
			if (publish_clash(&d->nics[i].forwards[k], f))
				return true;
	}
	return false;
}

static const struct node *place_of_forward(const struct node *nic, size_t index)
{
	const struct node *list = node_get(nic, "publish");
	list = list ? list : node_get(node_get(nic, "user"), "hostfwd");
	return list ? list->children[index] : nic;
}

static int check_nics(const struct definition *d, const struct node *root, struct err *err)
{
	const struct node *list = node_get(root, "interfaces");
	for (size_t i = 0; list && i < d->nic_count; i++) {
		const struct node *nic = list->children[i];
		for (size_t k = 0; k < i; k++)
			if (d->nics[i].mac[0] && str_eq(d->nics[i].mac, d->nics[k].mac))
				return node_error(node_place(nic, "mac"), err,
					"another interface has the MAC address %s", d->nics[i].mac);
		for (size_t k = 0; k < i; k++)
			if (d->nics[i].address[0] &&
				str_eq(d->nics[i].address, d->nics[k].address) &&
				str_eq(d->nics[i].network, d->nics[k].network))
				return node_error(node_place(nic, "address"), err,
					"another interface has the address %s", d->nics[i].address);
		for (size_t f = 0; f < d->nics[i].forward_count; f++)
			if (forward_taken(d, i, f))
				return node_error(place_of_forward(nic, f), err,
					"port %u of the host is forwarded already",
					d->nics[i].forwards[f].host_port);
	}
	return 0;
}

/* Every one at a place of its own, and none where a disk is. */
static int check_places(const struct definition *d, const struct node *root, struct err *err)
{
	const struct node *list = node_get(root, "interfaces");
	struct err why = ERR_INIT;
	for (size_t i = 0; list && i < d->nic_count; i++) {
		if (pci_place_check(d, i, &why) == 0)
			continue;
		node_error(node_place(list->children[i], "pci"), err, "%s", why.message);
		return why.hint[0] ? err_hint(err, "%s", why.hint) : -1;
	}
	return 0;
}

static void complete_nics(struct definition *d, const struct node *root)
{
	if (node_get(root, "interfaces"))
		return;
	d->nics[0] = (struct nic_def){
		.forwards = {{.host = "127.0.0.1", .guest_port = 22}}, .forward_count = 1};
	d->nic_count = 1;
}

/* ---- readiness ------------------------------------------------------------------------------- */

static bool among(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (str_eq(word, *words))
			return true;
	return false;
}

static int check_ready(const struct definition *d, const struct node *root, struct err *err)
{
	static const char *const by_ssh[] = {
		"tcp", "banner", "hostkey", "login", "cloud-init", "probes", NULL};
	const struct ready_def *r = &d->ready;
	const struct node *ready = node_place(root, "ready");
	bool probes = r->probe_count || str_eq(r->rung, "probes");
	bool login = probes || str_eq(r->rung, "login") || str_eq(r->rung, "cloud-init");
	const struct node *place = node_place(ready, r->probe_count ? "probes" : "rung");
	if (str_eq(r->rung, "probes") && !r->probe_count)
		return node_error(place, err, "there are no probes");
	if (str_eq(r->rung, "console") && !d->console_count)
		return node_error(place, err, "the guest has no console");
	if ((str_eq(r->rung, "address") || login) && !d->nic_count)
		return node_error(place, err, "the guest has no interface");
	if ((probes || among(r->rung, by_ssh)) && !reach_defined(d, 22)) {
		node_error(place, err, "no port leads to the guest's port 22, where SSH is");
		return err_hint(err, "add `hostfwd: [\"-22\"]` to its `user` interface");
	}
	if (login && !d->cloud_init.enabled && !r->user) {
		node_error(place, err, "nobody is known who could log in");
		return err_hint(err, "add `cloud_init: true`, or name the user in ready.user");
	}
	if (str_eq(r->rung, "hostkey") && !d->cloud_init.enabled) {
		node_error(place, err, "without cloud_init no host key is known");
		return err_hint(err, "add `cloud_init: true`, or wait for 'banner'");
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int check_memory(const struct definition *d, const struct node *root, struct err *err)
{
	static const char *const keys[] = {"memory", "max_memory"};
	const uint64_t values[] = {d->memory, d->max_memory};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (values[i] % (1 << 20))
			return node_error(node_place(root, keys[i]), err,
				"%llu bytes are not whole MiB", (unsigned long long)values[i]);
	if (d->max_memory < d->memory)
		return node_error(node_place(root, "max_memory"), err,
			"%s is less than the %s of 'memory'", str_size(d->max_memory),
			str_size(d->memory));
	if (d->max_vcpus < d->vcpus)
		return node_error(node_place(root, "max_vcpus"), err,
			"%u is less than the %u of 'vcpus'", d->max_vcpus, d->vcpus);
	return 0;
}

static void complete_sizes(struct definition *d, const struct node *root)
{
	if (!node_get(root, "max_memory"))
		d->max_memory = d->memory;
	if (node_get(root, "max_vcpus"))
		return;
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned cpus = online < 1 ? 1 : online > VCPUS_MAX ? VCPUS_MAX : (unsigned)online;
	d->max_vcpus = d->vcpus > cpus ? d->vcpus : cpus;
}

static int check_kernel(const struct definition *d, const struct node *root, struct err *err)
{
	if (d->kernel || (!d->initrd && !d->cmdline))
		return 0;
	const char *key = d->initrd ? "initrd" : "cmdline";
	node_error(
		node_place(root, key), err, "it goes with a kernel, and there is no key 'kernel'");
	return err_hint(err, "a guest that boots from its disk has its own %s there", key);
}

static int check_secure_boot(const struct definition *d, const struct node *root, struct err *err)
{
	const struct node *place = node_place(root, "secure_boot");
	if (!d->secure_boot)
		return 0;
	if (d->firmware != FIRMWARE_UEFI) {
		node_error(place, err, "only UEFI has secure boot");
		return err_hint(err, "add `firmware: uefi`");
	}
	if (d->machine && !str_eq(d->machine, "q35") && !str_starts(d->machine, "pc-q35-"))
		return node_error(place, err,
			"the machine '%s' has no secure boot; q35 has (it needs SMM)", d->machine);
	return 0;
}

static int check_boot(const struct definition *d, const struct node *root, struct err *err)
{
	for (size_t i = 0; i < d->boot_count; i++)
		for (size_t k = 0; k < i; k++)
			if (d->boot[i] == d->boot[k])
				return node_error(node_get(root, "boot")->children[i], err,
					"'%s' stands there twice", boot_device_name(d->boot[i]));
	return 0;
}

static void complete_cloud_init(struct definition *d)
{
	struct cloud_init_def *c = &d->cloud_init;
	if (c->enabled && !c->user)
		c->user = xstrdup("roost");
	if (c->enabled && !c->hostname)
		c->hostname = xstrdup(d->name);
}

static int check_cloud_init(const struct definition *d, const struct node *root, struct err *err)
{
	const struct cloud_init_def *c = &d->cloud_init;
	const struct node *map = node_place(root, "cloud_init");
	if (c->password_file && c->password_hash)
		return node_error(
			node_place(map, "password_file"), err, "there is a 'password_hash', too");
	if (c->host_key && !c->user_data) {
		node_error(node_place(map, "host_key"), err, "there is no 'user_data' that has it");
		return err_hint(err, "leave it out: one is issued for the guest");
	}
	if (c->user_data && (c->password_file || c->password_hash))
		return node_error(
			node_place(map, c->password_file ? "password_file" : "password_hash"), err,
			"it has no effect, for 'user_data' is taken as written");
	if (!c->user_data || !c->key_count)
		return 0;
	node_error(node_get(map, "keys"), err,
		"they have no effect, for 'user_data' is taken as written");
	return err_hint(err, "write the keys into that file, or leave 'user_data' out");
}

int check_definition(void *definition, const struct node *root, struct err *err)
{
	struct definition *d = definition;
	complete_sizes(d, root);
	complete_nics(d, root);
	complete_cloud_init(d);
	if (check_memory(d, root, err) < 0 || check_kernel(d, root, err) < 0 ||
		check_secure_boot(d, root, err) < 0 || check_disks(d, root, err) < 0 ||
		check_boot(d, root, err) < 0 || check_nics(d, root, err) < 0 ||
		check_places(d, root, err) < 0 || check_cloud_init(d, root, err) < 0)
		return -1;
	if (node_by_people(root) && check_ready(d, root, err) < 0)
		return -1;
	return complete_disks(d, err);
}
