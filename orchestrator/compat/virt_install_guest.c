/* What is made of all of virt-install's options together: the guest's definition, and its installer. */
#include "orchestrator/compat/virt_install.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/run_options.h"

enum { MEMORY_LOW = 17 /* MiB */ };

/* ---- its name ------------------------------------------------------------------------------------------ */

bool guest_is_there(const char *name)
{
	struct found f;
	struct err ignored = ERR_INIT;
	return guest_find(name, &f, &ignored) == 0;
}

static int settle_name(struct install_ask *a, const struct command *c, struct err *err)
{
	static char usual[16];
	const char *told = c->texts[TEXT_NAME] ? c->texts[TEXT_NAME] : a->name;
	for (unsigned n = 1; !told && (n == 1 || guest_is_there(usual)); n++)
		snprintf(usual, sizeof(usual), "vm%u", n);
	if (!told)
		tell(a, "Using default --name %s\n", usual);
	a->name = told ? told : usual;
	if (strchr(a->name, ' '))
		return err_set(
			err, ERR_USAGE, "Guest name '%s' can not contain ' ' character.", a->name);
	if (strchr(a->name, '/'))
		return err_set(err, ERR_USAGE, "XML error: name %s cannot contain '/'", a->name);
	return name_check(a->name, "guest", err);
}

/* ---- how it is installed --------------------------------------------------------------------------------- */

static bool was_used(const struct command *c, ask_fn *ask)
{
	for (size_t i = 0; i < c->used_count; i++)
		if (c->used[i].ask == ask)
			return true;
	return false;
}

static int check_methods(struct install_ask *a, const struct command *c, struct err *err)
{
	const char *const *t = c->texts;
	int count = !!t[TEXT_CDROM] + !!t[TEXT_LOCATION] + !!t[TEXT_IMPORT] + !!t[TEXT_PXE];
	bool other = was_used(c, ask_boot) || was_used(c, ask_cloud_init) || t[TEXT_PRINT_XML];
	if (count > 1)
		return err_set(err, ERR_USAGE, "Only one install method can be used");
	if ((t[TEXT_EXTRA] || c->inject_count) && !t[TEXT_LOCATION])
		return err_set(err, ERR_USAGE, "%s",
			c->inject_count
				? "Install method does not support initrd injections."
				: "Kernel arguments are only supported with location or kernel installs.");
	if (t[TEXT_LIVECD] && !t[TEXT_CDROM])
		return err_set(err, ERR_USAGE, "--livecd is for a system on --cdrom");
	a->import = t[TEXT_IMPORT] || t[TEXT_PXE] || t[TEXT_LIVECD] || (!count && other);
	return 0;
}

/* What virtinst finds missing it tells all at once, each on a line of its own, which no message of ours has. */
static int check_missing(const struct install_ask *a, const struct command *c)
{
	_cleanup_buf_ struct buf missing = {0};
	bool installs = c->texts[TEXT_CDROM] || c->texts[TEXT_LOCATION] || a->import;
	if (!a->reinstall && !json_object_get(a->definition, "memory"))
		buf_str(&missing, "\n--memory amount in MiB is required");
	if (!a->reinstall && !a->no_disk && !json_array_size(a->disks))
		buf_str(&missing, "\n--disk storage must be specified (override with --disk none)");
	if (!installs)
		buf_str(&missing,
			"\nAn install method must be specified\n(--location URL, --cdrom CD/ISO, --pxe, --import, --boot hd|cdrom|...)");
	if (missing.len)
		install_complain(missing.data);
	return missing.len ? -1 : 0;
}

/* Up to the options of --location. */
static int check_media(const char *where, struct err *err)
{
	_cleanup_free_ char *path = where ? strndup(where, strcspn(where, ",")) : NULL;
	if (!path || strstr(path, "://") || access(path, F_OK) == 0 || access(where, F_OK) == 0)
		return 0;
	return err_set(err, ERR_NOT_FOUND,
		"Validating install media '%s' failed: Must specify storage creation parameters for non-existent path '%s'.",
		path, path);
}

static int open_installer(struct install_ask *a, const struct command *c, struct err *err)
{
	const char *cdrom = c->texts[TEXT_LIVECD] ? NULL : c->texts[TEXT_CDROM],
		   *location = c->texts[TEXT_LOCATION];
	if (c->texts[TEXT_CDROM] && str_starts(c->texts[TEXT_CDROM], "qemu:"))
		return err_set(err, ERR_USAGE,
			"-c specified with what looks like a libvirt URI. Did you mean to use --connect? If not, use --cdrom instead");
	if (check_media(c->texts[TEXT_CDROM], err) < 0 ||
		(location && check_media(location, err) < 0))
		return -1;
	if (cdrom && installer_from_medium(cdrom, &a->how, err) < 0)
		return -1;
	if (location && installer_from_location(location, c->extra.len ? c->extra.data : NULL,
				c->inject, c->inject_count, &a->how, err) < 0)
		return -1;
	if (a->how.facts && (c->texts[TEXT_NOREBOOT] || a->transient))
		json_object_set_new(a->how.facts, "noreboot", json_true());
	a->define_only = c->texts[TEXT_NOREBOOT] && !a->how.facts && !was_used(c, ask_cloud_init) &&
			 !a->transient;
	return 0;
}

static int set_boot(struct install_ask *a, const char *first, const char *second)
{
	json_t *order = json_pack("[s, s]", first, second);
	return json_object_set_new(a->definition, "boot", order);
}

/* A disk that is new has nothing to boot from, so the network comes next, until it has. */
static int set_pxe(struct install_ask *a, struct err *err)
{
	size_t disks = json_array_size(a->disks);
	if (disks && a->made_count < disks) {
		err_set(err, ERR_USAGE, "--pxe wants a new disk: one that there is boots itself");
		return err_hint(err, "--boot network,hd boots from the network at each start");
	}
	return disks ? set_boot(a, "disk", "network")
		     : json_object_set_new(a->definition, "boot", json_pack("[s]", "network"));
}

static int set_livecd(struct install_ask *a, const char *path, struct err *err)
{
	char real[PATH_MAX];
	if (!realpath(path, real))
		return err_errno(err, "cannot find the medium '%s'", path);
	json_array_insert_new(a->disks, 0,
		json_pack("{s:s, s:s, s:s, s:s, s:s}", "path", real, "format", "raw", "bus", "sata",
			"cdrom", "true", "readonly", "true"));
	return json_object_get(a->definition, "boot") ? 0 : set_boot(a, "cdrom", "disk");
}

/* ---- the definition --------------------------------------------------------------------------------------- */

static int ask_old_disks(struct install_ask *a, struct err *err)
{
	size_t count = a->file_count > a->size_count ? a->file_count : a->size_count;
	for (size_t i = 0; i < count; i++) {
		const char *size = i < a->size_count ? a->sizes[i] : NULL,
			   *file = i < a->file_count ? a->files[i] : NULL;
		_cleanup_free_ char *text = str_fmt("%s%s%s%s%s", file ? "path=\"" : "",
			file ? file : "", file ? "\"" : "", size ? ",size=" : "", size ? size : "");
		if (ask_disk(a, text, err) < 0)
			return -1;
	}
	return 0;
}

/* New disks are called after the guest, and --check says what is looked at. */
static bool comes_first(const struct used *u)
{
	return u->ask == ask_metadata || u->ask == ask_check;
}

static int ask_all(struct install_ask *a, const struct command *c, struct err *err)
{
	const char *os = "detect=on"; /* or the last one that was said */
	for (size_t i = 0; i < c->used_count; i++) {
		const struct used *u = &c->used[i];
		if (u->ask == ask_osinfo)
			os = u->value;
		else if (!comes_first(u) && u->ask(a, u->value, err) < 0)
			return -1;
	}
	if (ask_old_disks(a, err) < 0)
		return -1;
	if (a->no_disk && json_array_size(a->disks))
		return err_set(err, ERR_USAGE, "Cannot specify storage and use --nodisks");
	/* what is known of the system fills what was not said */
	if (ask_osinfo(a, os, err) < 0)
		return -1;
	unsigned long long memory = strtoull(json_get_str(a->definition, "memory", ""), NULL, 10);
	if (memory && memory < MEMORY_LOW && !a->os_memory)
		warn(a, "Requested memory %llu MiB is abnormally low. Were you trying to specify GiB?",
			memory);
	return was_used(c, ask_network) || was_used(c, ask_bridge)
		       ? 0
		       : ask_network(a, a->session ? "user" : "network=default", err);
}

static bool has_mac(const char *guest, const char *mac)
{
	struct err ignored = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(guest, &ignored);
	for (size_t i = 0; d && i < d->nic_count; i++)
		if (strcasecmp(d->nics[i].mac, mac) == 0)
			return true;
	return false;
}

static int check_mac(
	const struct install_ask *a, const char *mac, char *const guests[], struct err *err)
{
	for (; *guests; guests++) {
		if (!has_mac(*guests, mac))
			continue;
		if (a->check_mac)
			return err_set(err, ERR_BUSY,
				"The MAC address '%s' is in use by another virtual machine. (Use --check mac_in_use=off or --check all=off to override)",
				mac);
		warn(a, "The MAC address '%s' is in use by another virtual machine.", mac);
		return 0;
	}
	return 0;
}

static int check_macs(const struct install_ask *a, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **guests = NULL;
	size_t i;
	json_t *nic;
	if (guests_names(&guests, NULL, &ignored) < 0)
		return 0;
	json_array_foreach (a->nics, i, nic) {
		const char *mac = json_get_str(nic, "mac", NULL);
		if (mac && check_mac(a, mac, guests, err) < 0)
			return -1;
	}
	return 0;
}

/* The guest's lines: without a word about them one, which is its console too. */
static void set_consoles(struct install_ask *a)
{
	json_t *lines = json_array();
	bool serial = a->serials || (!a->no_console && !a->virtio_consoles);
	for (unsigned i = 0; i < a->serials || (i == 0 && (serial || a->virtio_consoles)); i++)
		json_array_append_new(lines, json_string("serial"));
	for (unsigned i = 0; i < a->virtio_consoles; i++)
		json_array_append_new(lines, json_string("virtio"));
	if (!json_array_size(lines))
		json_set_text(a->definition, "console", "false");
	else if (json_array_size(lines) > 1)
		json_object_set(a->definition, "console", lines);
	json_decref(lines);
}

/* Of a system without drivers for virtio: what it can install to. */
static void set_old_hardware(struct install_ask *a)
{
	size_t i;
	json_t *item;
	json_array_foreach (a->disks, i, item)
		if (!json_object_get(item, "bus"))
			json_set_text(item, "bus", "sata");
	json_array_foreach (a->nics, i, item)
		if (!json_object_get(item, "model"))
			json_set_text(item, "model", "e1000e");
}

/* As far as it is not said by single options. */
static void complete(struct install_ask *a, const struct command *c)
{
	json_t *o = a->definition;
	json_set_text(o, "name", a->name);
	json_set_text(o, "uuid", c->texts[TEXT_UUID]);
	if (a->vnc_password)
		json_object_set_new(o, "vnc", json_pack("{s:s}", "password", "true"));
	else
		json_set_text(o, "vnc", a->vnc ? "true" : "false");
	json_set_text(o, "display", a->vnc || a->vga ? "vga" : NULL);
	json_set_text(o, "autostart", c->texts[TEXT_AUTOSTART] ? "true" : NULL);
	json_set_text(o, "cdrom", installer_has_medium(&a->how) ? "none" : NULL);
	set_consoles(a);
	if (a->windows)
		set_old_hardware(a);
	if (!a->no_disk || json_array_size(a->disks))
		json_object_set(o, "disks", a->disks);
	json_object_set(o, "interfaces", a->nics);
}

static int find_reinstalled(struct install_ask *a, struct err *err)
{
	static struct found f;
	if (guest_find(a->reinstall, &f, err) < 0)
		return err_set(err, ERR_NOT_FOUND,
			"Could not find domain '%s': Domain not found: no domain with matching name '%s'",
			a->reinstall, a->reinstall);
	a->name = a->reinstall = f.name;
	return 0;
}

int guest_of_command(struct install_ask *a, const struct command *c, struct err *err)
{
	a->reinstall = c->texts[TEXT_REINSTALL];
	a->transient = c->texts[TEXT_TRANSIENT];
	if (a->transient && (a->reinstall || c->texts[TEXT_AUTOSTART]))
		return err_set(err, ERR_USAGE,
			"Requested operation is not valid: --transient is for a guest that is gone when it ends");
	for (size_t i = 0; i < c->used_count; i++)
		if (comes_first(&c->used[i]) && c->used[i].ask(a, c->used[i].value, err) < 0)
			return -1;
	if (!a->reinstall && settle_name(a, c, err) < 0)
		return -1;
	if (check_methods(a, c, err) < 0 || open_installer(a, c, err) < 0 ||
		(!a->reinstall && ask_all(a, c, err) < 0) || check_missing(a, c) < 0 ||
		check_macs(a, err) < 0)
		return -1;
	if (a->reinstall)
		return find_reinstalled(a, err);
	if ((c->texts[TEXT_PXE] && set_pxe(a, err) < 0) ||
		(c->texts[TEXT_LIVECD] && set_livecd(a, c->texts[TEXT_CDROM], err) < 0))
		return -1;
	complete(a, c);
	return 0;
}

struct definition *ask_definition(const struct install_ask *a, bool files, struct err *err)
{
	return files ? definition_of_words(a->definition, err)
		     : definition_of_words_alone(a->definition, err);
}

static bool is_planned(const struct install_ask *a, const json_t *disk)
{
	for (size_t i = 0; i < a->made_count; i++)
		if (str_eq(json_get_str(disk, "path", NULL), a->made[i].path))
			return true;
	return false;
}

int guest_check_files(const struct install_ask *a, struct err *err)
{
	_cleanup_json_ json_t *there = json_copy(a->definition), *disks = json_array();
	size_t i;
	json_t *disk;
	json_array_foreach (json_object_get(there, "disks"), i, disk)
		if (!is_planned(a, disk))
			json_array_append(disks, disk);
	json_object_set(there, "disks", disks);
	_cleanup_definition_ struct definition *d = definition_of_words(there, err);
	return d ? 0 : -1;
}
