/*
 * Definitions: the words, the keys as rows, and the two ways between a definition and JSON. What
 * the values must be is in definition_text.c and definition_check.c; what people write is turned
 * into nodes by definition_yaml.c.
 */
#include "orchestrator/definition.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/definition_hardware.h"

/* ---- words ----------------------------------------------------------------------------------- */

static const char *const accel_names[] = {
	[ACCEL_AUTO] = "auto",
	[ACCEL_KVM] = "kvm",
	[ACCEL_TCG] = "tcg",
};
static const char *const firmware_names[] = {
	[FIRMWARE_BIOS] = "bios",
	[FIRMWARE_UEFI] = "uefi",
};
static const char *const format_names[] = {
	[FORMAT_NONE] = NULL,
	[FORMAT_RAW] = "raw",
	[FORMAT_QCOW2] = "qcow2",
};
static const char *const bus_names[] = {
	[BUS_VIRTIO] = "virtio",
	[BUS_SCSI] = "scsi",
	[BUS_SATA] = "sata",
	[BUS_IDE] = "ide",
};
static const char *const cache_names[] = {
	[CACHE_DEFAULT] = "default",
	[CACHE_NONE] = "none",
	[CACHE_WRITEBACK] = "writeback",
	[CACHE_WRITETHROUGH] = "writethrough",
	[CACHE_UNSAFE] = "unsafe",
};
static const char *const boot_names[] = {
	[BOOT_DISK] = "disk",
	[BOOT_CDROM] = "cdrom",
	[BOOT_NETWORK] = "network",
};
static const char *const display_names[] = {
	[DISPLAY_NONE] = "none",
	[DISPLAY_VGA] = "vga",
};
static const char *const on_crash_names[] = {
	[ON_CRASH_PAUSE] = "pause",
	[ON_CRASH_DESTROY] = "destroy",
	[ON_CRASH_RESTART] = "restart",
};
static const char *const on_reboot_names[] = {
	[ON_REBOOT_RESTART] = "restart",
	[ON_REBOOT_DESTROY] = "destroy",
};
static const char *const rung_names[] = {"process", "qmp", "running", "console", "address", "tcp",
	"banner", "hostkey", "login", "cloud-init", "probes"};

static_assert(ARRAY_SIZE(accel_names) == ACCEL_MAX, "a word is missing");
static_assert(ARRAY_SIZE(firmware_names) == FIRMWARE_MAX, "a word is missing");
static_assert(ARRAY_SIZE(format_names) == FORMAT_MAX, "a word is missing");
static_assert(ARRAY_SIZE(bus_names) == BUS_MAX, "a word is missing");
static_assert(ARRAY_SIZE(cache_names) == CACHE_MAX, "a word is missing");
static_assert(ARRAY_SIZE(boot_names) == BOOT_DEVICE_MAX, "a word is missing");
static_assert(ARRAY_SIZE(display_names) == DISPLAY_MAX, "a word is missing");
static_assert(ARRAY_SIZE(on_crash_names) == ON_CRASH_MAX, "a word is missing");
static_assert(ARRAY_SIZE(on_reboot_names) == ON_REBOOT_MAX, "a word is missing");
/* rows reach enums, and uids, as unsigned */
static_assert(sizeof(enum accel) == sizeof(unsigned) && sizeof(uid_t) == sizeof(unsigned),
	"KEY_WORD and KEY_NUMBER do not fit");

static const struct words accel_words = WORDS(accel_names), firmware_words = WORDS(firmware_names),
			  format_words = WORDS(format_names), bus_words = WORDS(bus_names),
			  cache_words = WORDS(cache_names), boot_words = WORDS(boot_names),
			  display_words = WORDS(display_names),
			  on_crash_words = WORDS(on_crash_names),
			  on_reboot_words = WORDS(on_reboot_names), rung_words = WORDS(rung_names);

const char *accel_name(enum accel accel)
{
	return accel_names[accel];
}

const char *firmware_name(enum firmware firmware)
{
	return firmware_names[firmware];
}

const char *disk_format_name(enum disk_format format)
{
	return format_names[format] ? format_names[format] : "none";
}

const char *disk_bus_name(enum disk_bus bus)
{
	return bus_names[bus];
}

const char *disk_cache_name(enum disk_cache cache)
{
	return cache_names[cache];
}

const char *boot_device_name(enum boot_device device)
{
	return boot_names[device];
}

const char *display_name(enum display display)
{
	return display_names[display];
}

/* ---- disks ----------------------------------------------------------------------------------- */

static void disk_defaults(void *thing)
{
	struct disk_def *d = thing;
	d->source = DISK_BLANK;
	d->discard = true;
}

static bool is_image(const void *base)
{
	return ((const struct disk_def *)base)->source == DISK_IMAGE;
}

static bool is_path(const void *base)
{
	return ((const struct disk_def *)base)->source == DISK_PATH;
}

static const struct key link_item = {.type = KEY_MAP, .keys = &link_keys};

static bool is_lineage_known(const void *base)
{
	return ((const struct disk_def *)base)->lineage_known;
}

#define AT(member) .offset = offsetof(struct disk_def, member)
static const struct key disk_rows[] = {
	{"image", KEY_TEXT, AT(path), .check = check_image, .there = is_image,
		.doc = "an image, a file or a name of the store; the guest gets an overlay"},
	{"path", KEY_FILE, AT(path), .there = is_path, .doc = "a file of yours, used as it is"},
	{"format", KEY_WORD, AT(format), .words = &format_words,
		.doc = "of `path`; never guessed: a guest could write a header into it"},
	{"size", KEY_SIZE, KEY_SPARSE, AT(size), .min = 512,
		.doc = "of the overlay (default: the image's), or of a blank disk"},
	{"file", KEY_TEXT, KEY_RECORD, AT(file), .check = check_own_file,
		.doc = "its name in the guest's folder"},
	{"bus", KEY_WORD, AT(bus), .words = &bus_words, .doc = "what it hangs on in the guest"},
	{"readonly", KEY_BOOL, AT(readonly), .doc = "the guest may not write"},
	{"cdrom", KEY_BOOL, KEY_SPARSE, AT(cdrom),
		.doc = "it is a CD-ROM; the key `cdrom` beside `disks` makes one in a word"},
	{"cache", KEY_WORD, AT(cache), .words = &cache_words, .doc = "how the host caches it"},
	{"discard", KEY_BOOL, AT(discard),
		.doc = "what the guest discards frees space on the host"},
	{"serial", KEY_TEXT, AT(serial), .check = check_serial,
		.doc = "its serial number, seen in /dev/disk/by-id"},
	{"target", KEY_CHARS, AT(target), .max = 7,
		.doc = "its name here: vda, vdb (virtio), sda (scsi, sata), hda (ide)"},
	{"lineage", KEY_LIST, KEY_RECORD | KEY_HEAP, AT(lineage),
		.aux = offsetof(struct disk_def, lineage_count), .max = LINEAGE_MAX,
		.item = &link_item, .size = sizeof(struct lineage_link), .there = is_lineage_known,
		.doc = "the files that it stands on, as they were when it was defined"},
};
#undef AT
static const struct keys disk_keys = {disk_rows, ARRAY_SIZE(disk_rows), disk_defaults, check_disk};

/* In what people write a CD-ROM is a key of its own; it becomes the last disk. */
static int read_cdrom(const struct node *n, void *base, struct err *err)
{
	struct definition *d = base;
	char *path = NULL;
	if (d->disk_count == DISKS_MAX)
		return node_error(n, err, "there are %d disks already", DISKS_MAX);
	if (!str_eq(n->text, "none") && !(path = node_file(n, err)))
		return -1;
	d->disks[d->disk_count++] = (struct disk_def){.source = DISK_PATH,
		.path = path,
		.format = FORMAT_RAW,
		.bus = BUS_SATA,
		.readonly = true,
		.cdrom = true};
	return 0;
}

/* ---- cloud-init, ready ----------------------------------------------------------------------- */

static const struct key key_item = {
	.type = KEY_TEXT, .flags = KEY_LINES, .check = check_key_or_file};
static const struct key probe_item = {.type = KEY_TEXT, .flags = KEY_LINES};

#define AT(member) .offset = offsetof(struct cloud_init_def, member)
static const struct key cloud_init_rows[] = {
	{"user", KEY_TEXT, AT(user), .check = check_user, .doc = "who is made in the guest"},
	{"hostname", KEY_TEXT, AT(hostname), .check = check_hostname,
		.doc = "default: the guest's name"},
	{"keys", KEY_LIST, KEY_SPARSE, AT(keys), .aux = offsetof(struct cloud_init_def, key_count),
		.max = KEYS_MAX, .item = &key_item, .size = sizeof(char *),
		.doc = "public keys that may log in, as text or files"},
	{"image_user_keys", KEY_LIST, KEY_SPARSE, AT(image_user_keys),
		.aux = offsetof(struct cloud_init_def, image_user_key_count), .max = KEYS_MAX,
		.item = &key_item, .size = sizeof(char *),
		.doc = "the same for the user whom the image has itself, beside ours"},
	{"once", KEY_BOOL, KEY_SPARSE, AT(once),
		.doc = "cloud-init is switched off in the guest when it has run"},
	{"password_hash", KEY_TEXT, AT(password_hash), .check = check_password_hash,
		.doc = "the user's password, for the console, as `openssl passwd -6` makes it"},
	{"password_file", KEY_FILE, KEY_PEOPLE, AT(password_file),
		.doc = "the same, of the one line in that file: it is hashed at once"},
	{"user_data", KEY_FILE, AT(user_data), .doc = "a file taken as written, instead of ours"},
	{"meta_data", KEY_FILE, AT(meta_data), .doc = "a file taken as written, instead of ours"},
	{"vendor_data", KEY_FILE, AT(vendor_data),
		.doc = "a file taken as written, which user-data overrides"},
	{"network_config", KEY_FILE, AT(network_config),
		.doc = "a file taken as written: the network's configuration"},
	{"host_key", KEY_TEXT, AT(host_key), .check = check_public_key,
		.doc = "public, the one that `user_data` installs; found by itself in a #cloud-config"},
};
#undef AT
static const struct keys cloud_init_keys = {
	cloud_init_rows, ARRAY_SIZE(cloud_init_rows), NULL, NULL};

int check_rung(const char *text, const struct node *n, struct err *err)
{
	unsigned ignored;
	(void)text;
	return node_word(n, &rung_words, &ignored, err);
}

static int read_deadlines(const struct node *n, void *base, struct err *err)
{
	struct ready_def *r = base;
	_cleanup_json_ json_t *o = json_object();
	if (n->kind != NODE_MAP)
		return node_wrong(n, "a mapping", err);
	for (size_t i = 0; i < n->count; i++) {
		struct node word = {.kind = NODE_TEXT,
			.origin = n->origin,
			.parent = n,
			.line = n->children[i]->line,
			.key = n->children[i]->key,
			.text = n->children[i]->key};
		unsigned rung;
		int64_t ms;
		if (node_word(&word, &rung_words, &rung, err) < 0 ||
			node_duration(n->children[i], &ms, err) < 0)
			return -1;
		json_object_set_new(o, rung_names[rung], json_integer(ms));
	}
	r->deadlines_ms = TAKE(o);
	return 0;
}

static json_t *write_deadlines(const void *base)
{
	return json_copy(((const struct ready_def *)base)->deadlines_ms);
}

static json_t *dump_deadlines(const void *base)
{
	const char *rung;
	json_t *ms, *deadlines = ((const struct ready_def *)base)->deadlines_ms,
		    *o = deadlines ? json_object() : NULL;
	json_object_foreach (deadlines, rung, ms)
		json_object_set_new(o, rung, duration_text(json_integer_value(ms)));
	return o;
}

static void drop_deadlines(void *base)
{
	json_decref(TAKE(((struct ready_def *)base)->deadlines_ms));
}

#define AT(member) .offset = offsetof(struct ready_def, member)
static const struct key ready_rows[] = {
	{"rung", KEY_TEXT, AT(rung), .check = check_rung,
		.doc = "what `run` waits for; default: the best that the definition allows"},
	{"timeout", KEY_DURATION, KEY_SPARSE, AT(timeout_ms), .doc = "for all rungs together"},
	{"deadlines", KEY_OWN, .read = read_deadlines, .write = write_deadlines,
		.dump = dump_deadlines, .drop = drop_deadlines,
		.doc = "for single rungs, such as `{console: 30s, banner: 120s}`"},
	{"probes", KEY_LIST, KEY_SPARSE, AT(probes), .aux = offsetof(struct ready_def, probe_count),
		.max = PROBES_MAX, .item = &probe_item, .size = sizeof(char *),
		.doc = "commands in the guest that must succeed"},
	{"user", KEY_TEXT, AT(user), .check = check_user,
		.doc = "who logs in; default: cloud_init's user"},
	{"identity", KEY_FILE, AT(identity), .doc = "the private key to log in with"},
};
#undef AT
static const struct keys ready_keys = {ready_rows, ARRAY_SIZE(ready_rows), NULL, NULL};

static bool is_ordered(const void *base)
{
	return ((const struct autostart_def *)base)->order != AUTOSTART_ORDER;
}

#define AT(member) .offset = offsetof(struct autostart_def, member)
static const struct key autostart_rows[] = {
	{"order", KEY_NUMBER, AT(order), .max = AUTOSTART_ORDER_MAX, .there = is_ordered,
		.doc = "lower ones start first"},
	{"delay", KEY_DURATION, KEY_SPARSE, AT(delay_ms),
		.doc = "waited after its start, before the next guest's"},
};
#undef AT
static const struct keys autostart_keys = {autostart_rows, ARRAY_SIZE(autostart_rows), NULL, NULL};

/* ---- the definition -------------------------------------------------------------------------- */

#define AT(member) .offset = offsetof(struct identity, member)
static const struct key issued_rows[] = {
	{"id", KEY_CHARS, KEY_REQUIRED, AT(id), .max = 12, .check = check_id},
	{"keeper_uid", KEY_NUMBER, AT(keeper_uid), .max = UINT32_MAX - 1},
	{"qemu_uid", KEY_NUMBER, AT(qemu_uid), .max = UINT32_MAX - 1},
	{"host_key", KEY_TEXT, AT(host_key), .check = check_public_key},
	{"template", KEY_BOOL, KEY_SPARSE, AT(template)},
	{"renew", KEY_CHARS, KEY_SPARSE, AT(renew), .max = DISKS_MAX * 8 - 1},
};
#undef AT
static const struct keys issued_keys = {issued_rows, ARRAY_SIZE(issued_rows), NULL, NULL};

#define AT(member) .offset = offsetof(struct install_def, member)
static const struct key install_rows[] = {
	{"drive", KEY_CHARS, AT(drive), .max = 7},
	{"kernel", KEY_BOOL, AT(kernel)},
	{"noreboot", KEY_BOOL, AT(noreboot)},
};
#undef AT
static const struct keys install_keys = {install_rows, ARRAY_SIZE(install_rows), NULL, NULL};

static bool is_issued(const void *base)
{
	return ((const struct definition *)base)->issued.id[0];
}

static const char *const fallback_names[] = {"none", "tcg"};
static const struct words fallback_words = WORDS(fallback_names);

static bool lacks_rng(const void *base)
{
	return !((const struct definition *)base)->rng;
}

static int read_fallback(const struct node *n, void *base, struct err *err)
{
	unsigned word = 0;
	if (node_word(n, &fallback_words, &word, err) < 0)
		return -1;
	((struct definition *)base)->accel_fallback_tcg = word;
	return 0;
}

static json_t *write_fallback(const void *base)
{
	return ((const struct definition *)base)->accel_fallback_tcg ? json_string("tcg") : NULL;
}

static const struct key disk_item = {.type = KEY_MAP, .keys = &disk_keys};
static const struct key nic_item = {.type = KEY_MAP, .keys = &nic_keys};
static const struct key boot_item = {.type = KEY_WORD, .words = &boot_words};
static const struct key arg_item = {.type = KEY_TEXT, .check = check_qemu_arg};

#define AT(member) .offset = offsetof(struct definition, member)
static const struct key definition_rows[] = {
	{"name", KEY_TEXT, KEY_REQUIRED, AT(name), .check = check_name,
		.doc = "letters, digits, '.', '_' and '-'; at most 63, not all digits"},
	{"title", KEY_TEXT, AT(title), .check = check_title, .doc = "one line about it"},
	{"description", KEY_TEXT, KEY_LINES, AT(description), .check = check_description,
		.doc = "what else people should know; it may have several lines"},
	{"uuid", KEY_CHARS, AT(uuid), .max = 36, .check = check_uuid, .doc = "default: a new one"},
	{"memory", KEY_SIZE, AT(memory), .min = 1 << 20, .max = (uint64_t)1 << 44,
		.doc = "the guest's RAM, such as 512M"},
	{"max_memory", KEY_SIZE, AT(max_memory), .min = 1 << 20, .max = (uint64_t)1 << 44,
		.doc = "what it may grow to while it runs"},
	{"vcpus", KEY_NUMBER, AT(vcpus), .min = 1, .max = VCPUS_MAX, .doc = "CPUs at the start"},
	{"max_vcpus", KEY_NUMBER, AT(max_vcpus), .min = 1, .max = VCPUS_MAX,
		.doc = "what they may grow to; default: the host's, or vcpus if that is more"},
	{"accel", KEY_WORD, AT(accel), .words = &accel_words,
		.doc = "auto takes KVM if it is proven to work, else TCG"},
	{"accel_fallback", KEY_OWN, .words = &fallback_words, .read = read_fallback,
		.write = write_fallback, .doc = "with `accel: kvm`: `tcg` where KVM does not work"},
	{"accel_unproven", KEY_BOOL, AT(accel_unproven), .doc = "KVM although it is not proven"},
	{"machine", KEY_TEXT, AT(machine), .check = check_machine,
		.doc = "QEMU's machine type; default: the newest q35 there is"},
	{"cpu", KEY_TEXT, AT(cpu), .check = check_cpu,
		.doc = "QEMU's CPU model; default: the host's under KVM, max under TCG"},
	{"firmware", KEY_WORD, AT(firmware), .words = &firmware_words,
		.doc = "what boots the guest"},
	{"secure_boot", KEY_BOOL, KEY_SPARSE, AT(secure_boot),
		.doc = "UEFI runs nothing but what is signed by keys that it knows"},
	{"kernel", KEY_FILE, AT(kernel), .doc = "a kernel to boot without a boot loader"},
	{"initrd", KEY_FILE, AT(initrd), .doc = "its initial RAM disk"},
	{"cmdline", KEY_TEXT, AT(cmdline), .doc = "its command line"},
	{"disks", KEY_LIST, AT(disks), .aux = offsetof(struct definition, disk_count),
		.max = DISKS_MAX, .item = &disk_item, .size = sizeof(struct disk_def),
		.doc = "overlays of images, files of yours, blank ones"},
	{"cdrom", KEY_OWN, KEY_PEOPLE, .read = read_cdrom, .doc = "an ISO image in a CD-ROM drive"},
	{"boot", KEY_LIST, KEY_SPARSE, AT(boot), .aux = offsetof(struct definition, boot_count),
		.max = BOOT_MAX, .item = &boot_item, .size = sizeof(enum boot_device),
		.doc = "in which order; default: disk, cdrom"},
	{"interfaces", KEY_LIST, AT(nics), .aux = offsetof(struct definition, nic_count),
		.max = NICS_MAX, .item = &nic_item, .size = sizeof(struct nic_def),
		.doc = "default: one `user` interface with a free port forwarded to 22; []: none"},
	{"boot_menu", KEY_MAP, KEY_SWITCH | KEY_BARE, AT(boot_menu),
		.aux = offsetof(struct definition, boot_menu.enabled), .keys = &boot_menu_keys,
		.doc = "the firmware offers its menu; on the console where there is no display"},
	{"console", KEY_OWN, .read = console_read, .write = console_write, .dump = console_dump,
		.doc = "true: a serial one, kept in console.log; a list of serial and virtio: more"},
	{"display", KEY_WORD, AT(display), .words = &display_words, .doc = "a graphics card"},
	{"vnc", KEY_MAP, KEY_SWITCH | KEY_PLAIN | KEY_BARE, AT(vnc),
		.aux = offsetof(struct definition, vnc.enabled), .keys = &vnc_keys,
		.doc = "VNC, on a unix socket"},
	{"rng", KEY_BOOL, AT(rng), .there = lacks_rng,
		.doc = "a virtio source of random numbers, fed from the host's; default true"},
	{"watchdog", KEY_MAP, KEY_SWITCH | KEY_BARE, AT(watchdog),
		.aux = offsetof(struct definition, watchdog.enabled), .keys = &watchdog_keys,
		.doc = "a watchdog, which a guest that has hung does not feed"},
	{"tpm", KEY_MAP, KEY_SWITCH | KEY_BARE, AT(tpm),
		.aux = offsetof(struct definition, tpm.enabled), .keys = &tpm_keys,
		.doc = "a TPM 2.0, which swtpm emulates"},
	{"agent", KEY_BOOL, AT(agent), .doc = "a port for the guest agent"},
	{"autostart", KEY_MAP, KEY_SWITCH | KEY_PLAIN, AT(autostart_how),
		.aux = offsetof(struct definition, autostart), .keys = &autostart_keys,
		.doc = "started when the host boots: true, or in which order and with what delay"},
	{"on_crash", KEY_WORD, AT(on_crash), .words = &on_crash_words,
		.doc = "what follows when the guest's kernel panics"},
	{"on_reboot", KEY_WORD, AT(on_reboot), .words = &on_reboot_words,
		.doc = "what follows when the guest reboots"},
	{"cloud_init", KEY_MAP, KEY_SWITCH | KEY_BARE, AT(cloud_init),
		.aux = offsetof(struct definition, cloud_init.enabled), .keys = &cloud_init_keys,
		.doc = "a NoCloud seed with a user, keys and the host's key is made and attached"},
	{"ready", KEY_MAP, KEY_SPARSE, AT(ready), .keys = &ready_keys,
		.doc = "when the guest counts as ready"},
	{"qemu_args", KEY_LIST, KEY_SPARSE, AT(qemu_args),
		.aux = offsetof(struct definition, qemu_arg_count), .max = QEMU_ARGS_MAX,
		.item = &arg_item, .size = sizeof(char *),
		.doc = "further arguments of QEMU, as they are"},
	{"install", KEY_MAP, KEY_RECORD | KEY_SWITCH | KEY_BARE, AT(install),
		.aux = offsetof(struct definition, install.enabled), .keys = &install_keys,
		.doc = "an installer is at work in this run"},
	{"runner", KEY_CHARS, KEY_RECORD, AT(runner), .max = 79, .doc = "whose test it is"},
	{"issued", KEY_MAP, KEY_RECORD, AT(issued), .keys = &issued_keys, .there = is_issued,
		.doc = "what roost issued when it was defined"},
};
#undef AT

static void definition_defaults(void *thing)
{
	struct definition *d = thing;
	d->memory = (uint64_t)1 << 30;
	d->vcpus = 1;
	d->console_count = 1;
	d->agent = d->rng = true;
	d->autostart_how.order = AUTOSTART_ORDER;
}

const struct keys definition_keys = {
	definition_rows, ARRAY_SIZE(definition_rows), definition_defaults, check_definition};

/* ---- to JSON and back ------------------------------------------------------------------------ */

json_t *definition_to_json(const struct definition *d)
{
	return keys_write(&definition_keys, d);
}

struct definition *definition_from_node(const struct node *root, struct err *err)
{
	_cleanup_definition_ struct definition *d = xcalloc(1, sizeof(*d));
	if (root->kind != NODE_MAP) {
		node_wrong(root, "a mapping", err);
		return NULL;
	}
	return keys_read(&definition_keys, root, d, err) < 0 ? NULL : TAKE(d);
}

static const struct origin record = {0};

struct definition *definition_from_json(const json_t *json, struct err *err)
{
	if (!json) {
		err_set(err, ERR_USAGE, "there is no definition");
		return NULL;
	}
	_cleanup_node_ struct node *root = node_from_json(json, &record, err);
	return root ? definition_from_node(root, err) : NULL;
}

void definition_free(struct definition *d)
{
	if (d)
		keys_drop(&definition_keys, d);
	free(d);
}

int definition_read_part(const struct keys *keys, const json_t *json, void *out, struct err *err)
{
	_cleanup_node_ struct node *n = json ? node_from_json(json, &record, err) : NULL;
	if (!json)
		return err_set(err, ERR_USAGE, "there is no mapping to read");
	if (!n)
		return -1;
	return n->kind == NODE_MAP ? keys_read(keys, n, out, err) : node_wrong(n, "a mapping", err);
}

int disk_from_json(const json_t *json, struct disk_def *out, struct err *err)
{
	struct disk_def disk = {0};
	if (definition_read_part(&disk_keys, json, &disk, err) < 0) {
		disk_free(&disk);
		return err_prefix(err, "disk");
	}
	*out = disk;
	return 0;
}

json_t *disk_to_json(const struct disk_def *d)
{
	return keys_write(&disk_keys, d);
}

void disk_free(struct disk_def *d)
{
	keys_drop(&disk_keys, d);
}

struct disk_def *definition_disk(struct definition *d, const char *target_or_path)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].target, target_or_path) ||
			str_eq(d->disks[i].path, target_or_path))
			return &d->disks[i];
	return NULL;
}

void definition_drop_disk(struct definition *d, struct disk_def *disk)
{
	if (!disk)
		return;
	disk_free(disk);
	size_t left = (size_t)(&d->disks[--d->disk_count] - disk);
	memmove(disk, disk + 1, left * sizeof(*disk));
	d->disks[d->disk_count] = (struct disk_def){0};
}
