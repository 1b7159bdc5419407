#include "orchestrator/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/connect.h"
#include "orchestrator/firmware.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/lineage.h"
#include "orchestrator/network_address.h"
#include "orchestrator/network_users.h"
#include "orchestrator/paths.h"
#include "orchestrator/pci_place.h"
#include "orchestrator/record.h"

void adopt_tell(struct adopted *a, const char *path, const char *fmt, ...)
{
	char what[400];
	va_list list;
	va_start(list, fmt);
	vsnprintf(what, sizeof(what), fmt, list);
	va_end(list);
	json_array_append_new(
		json_object_get(a->answer, "notes"), json_pack("{s:s, s:i, s:s, s:b}", "path", path,
							     "line", 0, "what", what, "stops", 0));
}

/* libvirt marks what is started with the host by a link of the same name in a folder beside. */
static bool is_autostarted(const char *file)
{
	_cleanup_free_ char *one = xstrdup(file), *two = xstrdup(file);
	_cleanup_free_ char *link = str_fmt("%s/autostart/%s", dirname(one), basename(two));
	return access(link, F_OK) == 0 || faccessat(AT_FDCWD, link, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- networks ------------------------------------------------------------------------------------------ */

static int check_network_uuid(const struct network *n, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	struct network other;
	struct err ignored = ERR_INIT;
	if (network_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++)
		if (!str_eq(*name, n->name) && n->uuid[0] &&
			network_load_recorded(*name, &other, &ignored) == 0 &&
			str_eq(other.uuid, n->uuid))
			return err_set(err, ERR_REFUSED, "network '%s' has the UUID %s", other.name,
				n->uuid);
	return 0;
}

/* `default` is always there; as long as nobody is on it, it may become libvirt's. */
static int check_network_free(const struct network *n, struct err *err)
{
	struct network there;
	int none = network_load_recorded(n->name, &there, err);
	if (none)
		return none < 0 ? -1 : 0;
	_cleanup_json_ json_t *users = network_users(&there, err);
	if (!users)
		return -1;
	if (str_eq(n->name, NETWORK_DEFAULT) && !network_active(&there) && !json_array_size(users))
		return 0;
	err_set(err, ERR_REFUSED, "network '%s' exists already", n->name);
	return err_hint(
		err, "leave it out: guests with <source network='%s'> go onto that one", n->name);
}

/* The address of a guest among these is asked for with its interface. */
static void give_host(struct adopting *all, const struct network *n, const json_t *host)
{
	for (size_t i = 0; i < all->count; i++) {
		json_t *nic;
		size_t k;
		json_array_foreach (
			json_object_get(
				json_object_get(all->all[i].answer, "definition"), "interfaces"),
			k, nic) {
			if (!str_eq(json_get_str(nic, "mac", NULL),
				    json_get_str(host, "mac", "")) ||
				!str_eq(json_get_str(nic, "network", NULL), n->name))
				continue;
			json_object_set(nic, "address", json_object_get(host, "address"));
			json_object_set_new(nic, "address_fixed", json_true());
		}
	}
}

/* What has its subnet may be libvirt's own bridge for it. */
static int hint_bridge(const struct adopted *a, struct err *err)
{
	const char *bridge = json_get_str(a->answer, "bridge", "");
	if (err->kind != ERR_REFUSED || !if_nametoindex(bridge))
		return -1;
	return err_hint(err, "`virsh net-destroy %s` first, which takes '%s' away", a->network.name,
		bridge);
}

int adopt_check_network(struct adopting *all, struct adopted *a, struct err *err)
{
	struct network *n = &a->network;
	size_t i;
	json_t *host;
	if (libvirt_network(a->answer, a->file, n, err) < 0)
		return -1;
	n->autostart = is_autostarted(a->file);
	if (check_network_free(n, err) < 0 || check_network_uuid(n, err) < 0 ||
		(n->address[0] && network_check_subnet(n, err) < 0))
		return hint_bridge(a, err);
	json_array_foreach (json_object_get(a->answer, "hosts"), i, host)
		give_host(all, n, host);
	return 0;
}

/* ---- what guests are known by -------------------------------------------------------------------------- */

static int taken(const char *what, const char *value, const char *by, struct err *err)
{
	return err_set(
		err, ERR_REFUSED, "guest '%s' exists already, and has the %s %s", by, what, value);
}

static int check_against(
	const struct definition *d, const struct definition *other, struct err *err)
{
	if (strcasecmp(d->name, other->name) == 0)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", other->name);
	if (d->uuid[0] && str_eq(d->uuid, other->uuid))
		return taken("UUID", d->uuid, other->name, err);
	for (size_t i = 0; i < d->nic_count; i++)
		for (size_t k = 0; k < other->nic_count; k++)
			if (d->nics[i].mac[0] && str_eq(d->nics[i].mac, other->nics[k].mac))
				return taken("MAC address", d->nics[i].mac, other->name, err);
	return 0;
}

/* libvirt lets two have the same disk, as long as one of them is off; so it is here. */
static void tell_shared(struct adopted *a, const struct definition *other)
{
	for (size_t i = 0; i < a->guest->disk_count; i++)
		for (size_t k = 0; k < other->disk_count; k++) {
			const struct disk_def *mine = &a->guest->disks[i], *its = &other->disks[k];
			if (mine->path && str_eq(mine->path, its->path) &&
				!(mine->readonly && its->readonly))
				adopt_tell(a, "devices/disk",
					"'%.200s' is a disk of guest '%s', too: one of them runs at a time",
					mine->path, other->name);
		}
}

/* Neither a guest that is there nor one of these that comes before. */
static int check_free(const struct adopting *all, struct adopted *a, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct err broken = ERR_INIT;
		_cleanup_definition_ struct definition *other = record_read(*name, &broken);
		if (other ? check_against(a->guest, other, err) < 0
			  : strcasecmp(*name, a->guest->name) == 0 &&
					err_set(err, ERR_REFUSED, "guest '%s' exists already",
						*name))
			return -1;
		if (other)
			tell_shared(a, other);
	}
	for (size_t i = 0; i < all->count; i++) {
		const struct adopted *before = &all->all[i];
		if (before == a || !before->may || before->taken || !before->guest)
			continue;
		if (check_against(a->guest, before->guest, err) < 0)
			return -1;
		tell_shared(a, before->guest);
	}
	return 0;
}

/* ---- what libvirt is at -------------------------------------------------------------------------------- */

static bool there(const char *folder, const char *below, const char *name, const char *suffix)
{
	_cleanup_free_ char *path =
		folder ? str_fmt("%s/%s/%s%s", folder, below, name, suffix) : NULL;
	return path && access(path, F_OK) == 0;
}

/* Where the system's libvirtd and a user's have what runs, and what they have saved. */
static int check_libvirt(struct adopted *a, struct err *err)
{
	const char *name = a->guest->name, *runtime = getenv("XDG_RUNTIME_DIR"),
		   *home = getenv("HOME");
	if (there("/run/libvirt", "qemu", name, ".xml") ||
		there(runtime, "libvirt/qemu/run", name, ".xml")) {
		err_set(err, ERR_REFUSED, "guest '%s' runs under libvirt", name);
		return err_hint(err, "`virsh shutdown %s` first", name);
	}
	if (there("/var/lib/libvirt", "qemu/save", name, ".save") ||
		there(home, ".config/libvirt/qemu/save", name, ".save")) {
		err_set(err, ERR_REFUSED,
			"guest '%s' was saved by libvirt, and what is in its RAM is not on its disks",
			name);
		return err_hint(err, "`virsh start %s` and `virsh shutdown %s` first", name, name);
	}
	if (there("/var/lib/libvirt", "qemu/snapshot", name, "") ||
		there(home, ".config/libvirt/qemu/snapshot", name, ""))
		adopt_tell(a, "",
			"libvirt's snapshots of it are not taken: those inside its disks stay there, `qemu-img snapshot -l` lists them");
	return 0;
}

/* ---- what this host has -------------------------------------------------------------------------------- */

static bool knows_machine(const json_t *machines, const char *name)
{
	size_t i;
	json_t *m;
	json_array_foreach (machines, i, m)
		if (str_eq(json_get_str(m, "name", NULL), name) ||
			str_eq(json_get_str(m, "alias", NULL), name))
			return true;
	return false;
}

/* A version that is not there any more, or not yet: the newest of the same kind takes its place. */
static int settle_machine(struct adopting *all, struct adopted *a, struct err *err)
{
	struct definition *d = a->guest;
	json_t *reply = NULL;
	if (!all->machines && supervisor_call("roost-capabilities", NULL, &reply, err) < 0)
		return -1;
	if (!all->machines)
		all->machines = json_incref(json_object_get(reply, "machines"));
	json_decref(reply);
	if (!d->machine || knows_machine(all->machines, d->machine))
		return 0;
	const char *newest = pci_old(d->machine) ? "pc" : "q35";
	adopt_tell(a, "os/type/@machine",
		"this QEMU has no '%s': the guest gets the newest '%s', and so sees slightly other hardware",
		d->machine, newest);
	free(d->machine);
	d->machine = xstrdup(newest);
	return 0;
}

static bool comes(const struct adopting *all, const char *network)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->all[i].is_network && all->all[i].may &&
			str_eq(all->all[i].network.name, network))
			return true;
	return false;
}

static int check_networks(const struct adopting *all, const struct definition *d, struct err *err)
{
	struct network n;
	for (size_t i = 0; i < d->nic_count; i++) {
		if (d->nics[i].kind != NIC_NETWORK || comes(all, d->nics[i].network) ||
			network_load(d->nics[i].network, &n, err) == 0)
			continue;
		if (err->kind == ERR_NOT_FOUND)
			err_hint(err, "name its file, too: /etc/libvirt/qemu/networks/%s.xml",
				d->nics[i].network);
		return -1;
	}
	return 0;
}

/* How many bytes of variables are in the file, raw or qcow2. */
static int vars_size(int fd, const char *path, uint64_t *out, struct err *err)
{
	struct qcow2_info info = {0};
	struct err raw = ERR_INIT;
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "'%s' is not a regular file", path);
	*out = qcow2_read(fd, &info, &raw) == 0 ? info.virtual_size : (uint64_t)st.st_size;
	return 0;
}

static void add_file(struct adopted *a, const char *what, int fd)
{
	a->file_names[a->file_count] = what;
	a->files[a->file_count++] = fd;
}

static int open_vars(struct adopted *a, struct err *err)
{
	const struct definition *d = a->guest;
	const char *path = json_get_str(a->answer, "nvram", NULL);
	struct firmware_want want = {.secure_boot = d->secure_boot, .machine = d->machine};
	struct firmware_files ignored;
	if (d->firmware != FIRMWARE_UEFI)
		return 0;
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	if (fd < 0 && path && errno != ENOENT)
		return err_errno(err, "cannot open the UEFI variables '%s'", path);
	if (fd >= 0)
		add_file(a, "vars", fd);
	else if (path)
		adopt_tell(a, "os/nvram", "'%s' is not there: the guest gets new UEFI variables",
			path);
	if (fd >= 0 && vars_size(fd, path, &want.vars_size, err) < 0)
		return -1;
	if (firmware_find(&want, &ignored, err) == 0)
		return 0;
	return fd < 0 ? err_prefix(err, "firmware")
		      : err_prefix(
				err, "firmware for UEFI variables of %s", str_size(want.vars_size));
}

/* Where the system's libvirtd and a user's have swtpm's state; the path by itself if there is none. */
static char *tpm_state(const struct definition *d)
{
	const char *home = getenv("HOME");
	static const char file[] = "tpm2/tpm2-00.permall";
	_cleanup_free_ char *own =
		str_fmt("%s/.config/libvirt/qemu/swtpm/%s/%s", home ? home : "", d->uuid, file);
	return access(own, F_OK) == 0 ? TAKE(own)
				      : str_fmt("/var/lib/libvirt/swtpm/%s/%s", d->uuid, file);
}

/* A TPM that begins anew would not open what its old state has sealed: the key of the guest's disk, say. */
static int open_tpm(struct adopted *a, struct err *err)
{
	const struct definition *d = a->guest;
	if (!d->tpm.enabled)
		return 0;
	_cleanup_free_ char *path = tpm_state(d);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	if (fd >= 0)
		add_file(a, "tpm", fd);
	else if (errno == ENOENT)
		adopt_tell(a, "devices/tpm", "'%s' is not there: the TPM begins anew", path);
	else
		return err_errno(err, "cannot open the TPM's state '%s'", path);
	return 0;
}

/* A host of a network that was taken before, by the guest's MAC: the address becomes the guest's. */
static void take_reserved(struct definition *d)
{
	for (size_t i = 0; i < d->nic_count; i++) {
		struct network n;
		struct err ignored = ERR_INIT;
		struct nic_def *nic = &d->nics[i];
		if (nic->kind != NIC_NETWORK || network_load(nic->network, &n, &ignored) < 0)
			continue;
		_cleanup_json_ json_t *file = network_address_of(&n, nic->mac);
		if (!file || !json_get_bool(file, "host", false))
			continue;
		snprintf(nic->address, sizeof(nic->address), "%s",
			json_get_str(file, "address", ""));
		nic->address_fixed = true;
	}
}

/* What its disks stand on, looked at as roostd will: in a copy, for that is recorded by roostd alone. */
static int check_disks(const struct definition *d, struct err *err)
{
	_cleanup_json_ json_t *json = definition_to_json(d);
	_cleanup_definition_ struct definition *copy = definition_from_json(json, err);
	for (size_t i = 0; copy && i < copy->disk_count; i++)
		if (copy->disks[i].path && lineage_record(&copy->disks[i], err) < 0)
			return -1;
	return copy ? 0 : -1;
}

/* The installer's ISO is gone, as they go: libvirt would start the guest without only if told so. */
static void drop_media(struct adopted *a)
{
	size_t i;
	json_t *disk;
	json_array_foreach (
		json_object_get(json_object_get(a->answer, "definition"), "disks"), i, disk) {
		const char *path = json_get_str(disk, "path", NULL);
		if (!json_get_bool(disk, "cdrom", false) || !path || access(path, F_OK) == 0 ||
			errno != ENOENT)
			continue;
		adopt_tell(a, "devices/disk", "'%s' is not there: the drive is empty", path);
		json_object_del(disk, "path");
	}
}

int adopt_check_guest(struct adopting *all, struct adopted *a, struct err *err)
{
	drop_media(a);
	a->guest = libvirt_definition(a->answer, a->file, NULL, err);
	if (!a->guest)
		return -1;
	a->guest->autostart = is_autostarted(a->file);
	take_reserved(a->guest);
	return check_free(all, a, err) < 0 || check_libvirt(a, err) < 0 ||
			       check_networks(all, a->guest, err) < 0 ||
			       settle_machine(all, a, err) < 0 || check_disks(a->guest, err) < 0 ||
			       open_vars(a, err) < 0
		       ? -1
		       : open_tpm(a, err);
}
