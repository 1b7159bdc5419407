/* attach-disk, detach-disk, blockresize, attach-interface, detach-interface, domblklist, domiflist. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "orchestrator/change.h"
#include "orchestrator/connect.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/disk_size.h"
#include "orchestrator/lineage.h"
#include "orchestrator/look_block.h"
#include "orchestrator/look_net.h"
#include "orchestrator/nic_config.h"
#include "orchestrator/paths.h"
#include "orchestrator/plug_nic.h"
#include "orchestrator/record.h"
#include "orchestrator/store_open.h"
#include "orchestrator/table.h"

/* ---- disks ---------------------------------------------------------------------------------------- */

static void set_text(json_t *o, const struct cli *cli, const char *option, const char *key)
{
	const char *value = cli_value(cli, option, NULL);
	if (value)
		json_object_set_new(o, key, json_string(value));
}

/* The disk as a definition would name it; the path made absolute by what it is, not by its name. */
static json_t *disk_asked_for(const struct cli *cli, struct err *err)
{
	char *path = realpath(cli->operands[1], NULL);
	const char *format = cli_value(cli, "format", NULL);
	if (!path) {
		err_errno(err, "cannot find the disk '%s'", cli->operands[1]);
		return NULL;
	}
	json_t *o = json_pack("{s:s}", "path", path);
	free(path);
	if (!format) {
		json_decref(o);
		err_set(err, ERR_USAGE, "attach-disk: the format of '%s' is not said",
			cli->operands[1]);
		err_hint(err,
			"add --format qcow2 or --format raw; it is never guessed, for a guest may have written a header into a raw disk");
		return NULL;
	}
	set_text(o, cli, "format", "format");
	set_text(o, cli, "target", "target");
	set_text(o, cli, "bus", "bus");
	set_text(o, cli, "cache", "cache");
	set_text(o, cli, "serial", "serial");
	if (cli_flag(cli, "readonly"))
		json_object_set_new(o, "readonly", json_true());
	return o;
}

/* Opens the files with our own rights and hands them over: the keeper opens nothing for us. */
static int send_disk(const struct found *f, json_t *disk, json_t **reply, struct err *err)
{
	struct disk_def d = {0};
	_cleanup_disk_files_ struct disk_files files = {0};
	_cleanup_json_ json_t *layers = json_array();
	int fds[SOCK_FDS_MAX];
	if (disk_from_json(disk, &d, err) < 0)
		return -1;
	int result = disk_open(&d, AT_FDCWD, &files, err);
	/* until the keeper has written down that it stands on them */
	_cleanup_image_holds_ struct image_holds held = {0};
	if (result == 0)
		result = lineage_record(&d, err) < 0 ? -1 : lineage_hold(&d, &held, err);
	disk_free(&d);
	if (result < 0)
		return -1;
	if (files.count > SOCK_FDS_MAX)
		return err_set(err, ERR_REFUSED,
			"its backing chain has %zu files, %d can be plugged", files.count,
			SOCK_FDS_MAX);
	for (size_t i = 0; i < files.count; i++) {
		fds[i] = files.layers[i].fd;
		json_array_append_new(
			layers, json_pack("{s:b, s:b}", "qcow2", files.layers[i].qcow2, "writable",
					files.layers[i].writable));
	}
	_cleanup_qmp_ struct qmp *q = guest_connect(f, err);
	if (!q)
		return -1;
	return qmp_call_fds(q, "roost-attach-disk",
		json_pack("{s:O, s:O}", "disk", disk, "layers", layers), fds, files.count,
		deadline_in(OPERATION_MS), reply, err);
}

struct added_disk {
	const json_t *json;
	struct err *err;
	int result;
};

static void add_disk(struct definition *d, const void *how)
{
	struct added_disk *added = *(struct added_disk *const *)how;
	if (d->disk_count == DISKS_MAX) {
		added->result = err_set(added->err, ERR_REFUSED, "guest '%s' has %d disks already",
			d->name, DISKS_MAX);
		return;
	}
	struct disk_def *disk = &d->disks[d->disk_count];
	added->result = disk_from_json(added->json, disk, added->err);
	if (added->result == 0 && !disk->target[0])
		added->result = disk_free_target(d, disk->bus, disk->target, added->err);
	if (added->result == 0)
		d->disk_count++;
}

/*
 * A disk that shall be there now and at the next start: its target is free for both before anything
 * is plugged. `disk` gets it.
 */
static int settle_target(const struct found *f, json_t *disk, struct err *err)
{
	struct disk_def asked = {0};
	char target[8];
	size_t i;
	json_t *entry;
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d || disk_from_json(disk, &asked, err) < 0)
		return -1;
	enum disk_bus bus = asked.bus;
	bool taken = asked.target[0] && definition_disk(d, asked.target), named = asked.target[0];
	disk_free(&asked);
	if (taken)
		return err_set(err, ERR_REFUSED, "guest '%s' has a disk '%s' at its next start",
			f->name, json_get_str(disk, "target", ""));
	if (d->disk_count == DISKS_MAX)
		return err_set(
			err, ERR_REFUSED, "guest '%s' has %d disks already", d->name, DISKS_MAX);
	if (named)
		return 0;
	_cleanup_json_ json_t *live = look_plugged(f);
	json_array_foreach (live, i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "disk") && d->disk_count < DISKS_MAX)
			snprintf(d->disks[d->disk_count++].target, sizeof(target), "%s",
				json_get_str(entry, "target", ""));
	if (disk_free_target(d, bus, target, err) < 0)
		return -1;
	json_object_set_new(disk, "target", json_string(target));
	return 0;
}

static int run_attach_disk(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_status_ struct status s = {0};
	_cleanup_json_ json_t *disk = disk_asked_for(cli, err);
	json_t *reply = NULL;
	if (!disk || guest_find(cli->operands[0], &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return -1;
	bool config = cli_flag(cli, "config") || cli_flag(cli, "persistent"),
	     live = !cli_flag(cli, "config");
	if (!s.number && cli_flag(cli, "persistent"))
		live = false;
	if (live && config && settle_target(&f, disk, err) < 0)
		return -1;
	if (live && send_disk(&f, disk, &reply, err) < 0)
		return -1;
	if (config) {
		struct added_disk added = {.json = disk, .err = err}, *how = &added;
		if (reply)
			json_object_set(disk, "target", json_object_get(reply, "target"));
		if (guest_change(&f, add_disk, &how, err) < 0 || added.result < 0)
			return -1;
	}
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Disk '%s' attached%s%s\n", cli->operands[1], reply ? " as " : "",
		json_get_str(reply, "target", ""));
	json_decref(reply);
	return 0;
}

static int timeout_ms(const struct cli *cli, json_t *args, struct err *err)
{
	const char *text = cli_value(cli, "timeout", NULL);
	int64_t ms;
	if (!text)
		return 0;
	if (str_parse_duration(text, "--timeout", &ms, err) < 0)
		return -1;
	json_object_set_new(args, "timeout-ms", json_integer(ms));
	return 0;
}

static int call_done(const struct cli *cli, const char *command, json_t *args, const char *fmt,
	const char *what, struct err *err)
{
	json_t *reply = NULL;
	if (timeout_ms(cli, args, err) < 0) {
		json_decref(args);
		return -1;
	}
	if (guest_call(cli->operands[0], command, args, &reply, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(reply);
	else {
		printf(fmt, what);
		json_decref(reply);
	}
	return 0;
}

/* A disk of the user's own, by its target or path; what roost made goes with the guest. */
static struct disk_def *find_own_disk(struct definition *d, const char *word, struct err *err)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		struct disk_def *disk = &d->disks[i];
		if (!str_eq(disk->target, word) && !str_eq(disk->path, word))
			continue;
		if (disk->source == DISK_PATH)
			return disk;
		err_set(err, ERR_REFUSED,
			"disk '%s' of guest '%s' was made by roost, in its folder", disk->target,
			d->name);
		err_hint(err, "`roost edit %s` changes which disks it has", d->name);
		return NULL;
	}
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no disk '%s' at its next start", d->name, word);
	return NULL;
}

static void remove_disk(struct definition *d, const void *word)
{
	struct err ignored = ERR_INIT;
	definition_drop_disk(d, find_own_disk(d, word, &ignored));
}

/* Is there one to take out of the definition? Asked before anything is unplugged. */
static int check_removable(const struct found *f, const char *word, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	return d && find_own_disk(d, word, err) ? 0 : -1;
}

static int run_detach_disk(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_status_ struct status s = {0};
	const char *disk = cli->operands[1];
	if (guest_find(cli->operands[0], &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return -1;
	bool persistent = cli_flag(cli, "persistent"),
	     config = cli_flag(cli, "config") || persistent,
	     live = !cli_flag(cli, "config") && (s.number || !persistent);
	if (config && check_removable(&f, disk, err) < 0)
		return -1;
	if (live && call_done(cli, "roost-detach-disk", json_pack("{s:s}", "target", disk),
			    "Disk '%s' detached\n", disk, err) < 0)
		return -1;
	if (config && guest_change(&f, remove_disk, disk, err) < 0)
		return -1;
	if (!live && cli->json)
		cli_print_json(NULL);
	else if (!live)
		printf("Disk '%s' detached from the next start on\n", disk);
	return 0;
}

static int run_blockresize(const struct cli *cli, struct err *err)
{
	uint64_t bytes;
	if (str_parse_size(cli->operands[2], 0, "blockresize", &bytes, err) < 0)
		return -1;
	return call_done(cli, "roost-blockresize",
		json_pack("{s:s, s:I}", "target", cli->operands[1], "bytes", (json_int_t)bytes),
		"Disk '%s' resized\n", cli->operands[1], err);
}

/* ---- interfaces ----------------------------------------------------------------------------------- */

static int set_number(json_t *o, const struct cli *cli, const char *key, struct err *err)
{
	uint64_t number;
	const char *text = cli_value(cli, key, NULL);
	if (!text)
		return 0;
	_cleanup_free_ char *option = str_fmt("--%s", key);
	if (str_parse_u64(text, 1, UINT32_MAX, option, &number, err) < 0)
		return -1;
	json_object_set_new(o, key, json_integer((json_int_t)number));
	return 0;
}

/* virsh's words: TYPE and SOURCE; user networking has no source. */
static json_t *nic_asked_for(const struct cli *cli, struct err *err)
{
	const char *type = cli->operands[1], *source = cli->count > 2 ? cli->operands[2] : NULL;
	const char *forward = cli_value(cli, "forward", NULL),
		   *publish = cli_value(cli, "publish", NULL),
		   *address = cli_value(cli, "address", NULL);
	bool user = str_eq(type, "user");
	if (!user && !str_eq(type, "network") && !str_eq(type, "bridge"))
		return err_set(err, ERR_USAGE, "interface type '%s' is not known", type),
		       err_hint(err, "it is one of network, bridge, user"), NULL;
	if (user ? source != NULL : !source)
		return err_set(err, ERR_USAGE,
			       user ? "interface type 'user' has no source" : "which %s?", type),
		       err_hint(err, "such as `roost attach-interface %s network default`",
			       cli->operands[0]),
		       NULL;
	json_t *nic = json_object();
	if (user)
		json_object_set_new(
			nic, "user", json_pack("{s:b}", "restrict", cli_flag(cli, "restrict")));
	else
		json_object_set_new(nic, type, json_string(source));
	if (user && forward)
		json_object_set_new(
			json_object_get(nic, "user"), "hostfwd", json_pack("[s]", forward));
	if (publish)
		json_object_set_new(nic, "publish", json_pack("[s]", publish));
	if (address) {
		json_object_set_new(nic, "address", json_string(address));
		json_object_set_new(nic, "address_fixed", json_true());
	}
	set_text(nic, cli, "mac", "mac");
	set_text(nic, cli, "model", "model");
	if (cli_flag(cli, "isolated"))
		json_object_set_new(nic, "isolated", json_true());
	if (cli_flag(cli, "strict-ipv6"))
		json_object_set_new(nic, "strict_ipv6", json_true());
	if (set_number(nic, cli, "queues", err) < 0 || set_number(nic, cli, "mtu", err) < 0) {
		json_decref(nic);
		return NULL;
	}
	return nic;
}

/* virsh's words: plugged, in the definition, or both. */
static void when(const struct cli *cli, bool runs, bool *live, bool *config)
{
	bool persistent = cli_flag(cli, "persistent");
	*config = cli_flag(cli, "config") || persistent;
	*live = !cli_flag(cli, "config") && (runs || !persistent);
}

static int run_attach_interface(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *nic = nic_asked_for(cli, err), *reply = NULL;
	struct found f;
	bool live, config;
	if (!nic || guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	when(cli, guest_runs(&f), &live, &config);
	if ((config && nic_config_room(&f, err) < 0) ||
		(live && plug_nic(&f, nic, &reply, err) < 0))
		return -1;
	if (live) /* it is the same at its next start */
		json_object_set(nic, "mac", json_object_get(reply, "mac"));
	if (config && nic_config_add(&f, nic, err) < 0)
		return live ? err_prefix(err, "plugged now, but not for its next starts") : -1;
	const char *address = json_get_str(reply, "address", "");
	if (cli->json)
		cli_print_json(json_incref(reply));
	else if (live)
		printf("Interface %s attached%s%s\n", json_get_str(reply, "mac", ""),
			address[0] ? ", its address is " : "", address);
	else
		printf("Interface attached from the next start on\n");
	return 0;
}

static int run_detach_interface(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	const char *word = cli->operands[1];
	json_t *reply = NULL;
	bool live, config;
	_cleanup_json_ json_t *args = json_object();
	_cleanup_json_ json_t *nics =
		look_at(&l, cli->operands[0], err) < 0 ? NULL : look_nics(&l, err);
	if (!nics)
		return -1;
	when(cli, look_runs(&l), &live, &config);
	bool of_config = config && nic_config_has(&l.f, word); /* of the next start only */
	const json_t *nic = live || !of_config ? look_nic(&l, nics, word, err) : NULL;
	if ((!nic && !of_config) || timeout_ms(cli, args, err) < 0)
		return -1;
	_cleanup_free_ char *mac = xstrdup(nic ? json_get_str(nic, "mac", word) : word);
	if (live && unplug_nic(&l.f, nic, json_incref(args), &reply, err) < 0)
		return -1;
	if (config && nic_config_remove(&l.f, mac, err) < 0) {
		json_decref(reply);
		return live ? err_prefix(err, "unplugged now, but not for its next starts") : -1;
	}
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Interface %s detached%s\n", word, live ? "" : " from the next start on");
	json_decref(reply);
	return 0;
}

/* ---- lists ---------------------------------------------------------------------------------------- */

static int run_domblklist(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	_cleanup_json_ json_t *rows = json_array(), *list = NULL;
	json_t *disk;
	size_t i;
	if (look_at(&l, cli->operands[0], err) < 0 || !(list = look_disks(&l, err)))
		return -1;
	table_row(rows, "Target", "Source");
	json_array_foreach (list, i, disk)
		table_row(
			rows, json_get_str(disk, "target", "?"), json_get_str(disk, "source", "-"));
	if (cli->json)
		cli_print_json(json_incref(list));
	else
		table_print(rows);
	return 0;
}

static int run_domiflist(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *nics = look_nics(&l, err), *rows = json_array();
	size_t i;
	json_t *nic;
	table_row(rows, "Interface", "Type", "Source", "Model", "MAC", "Tap");
	json_array_foreach (nics, i, nic)
		table_row(rows, json_get_str(nic, "interface", "?"), json_get_str(nic, "type", "?"),
			json_get_str(nic, "source", "-"), json_get_str(nic, "model", "?"),
			json_get_str(nic, "mac", "?"), json_get_str(nic, "tap", "-"));
	if (!nics)
		return -1;
	if (cli->json)
		cli_print_json(json_incref(nics));
	else
		table_print(rows);
	return 0;
}

#define TIMEOUT                                                                                    \
	{                                                                                          \
		"timeout", "TIME", 0, "how long the guest may take to let go, such as 60s"         \
	}

const struct verb verb_attach_disk = {"attach-disk", "NAME FILE", "Plugs a disk into a guest.", 2,
	2, false,
	{{"format", "qcow2|raw", 0, "demanded; it is never guessed"},
		{"target", "TARGET", 0, "such as vdb; default the next free"},
		{"bus", "virtio|scsi", 0, "default virtio"},
		{"readonly", NULL, 0, "the guest may not write"},
		{"cache", "none|writeback|writethrough|unsafe", 0, "how the host caches it"},
		{"serial", "TEXT", 0, "what the guest sees as its serial number"},
		{"persistent", NULL, 0, "also at its next start"},
		{"config", NULL, 0, "only at its next start"}},
	run_attach_disk, "roost attach-disk web1 data.qcow2 --format qcow2", GROUP_DEVICES,
	GUESTS_ALL};
const struct verb verb_detach_disk = {"detach-disk", "NAME TARGET",
	"Unplugs a disk that was plugged.", 2, 2, false,
	{TIMEOUT, {"persistent", NULL, 0, "also from its next start on"},
		{"config", NULL, 0, "only from its next start on"}},
	run_detach_disk, "roost detach-disk web1 vdc", GROUP_DEVICES, GUESTS_RUNNING};
const struct verb verb_blockresize = {"blockresize", "NAME TARGET SIZE",
	"Makes a disk of a running guest larger.", 3, 3, false, {{0}}, run_blockresize,
	"roost blockresize web1 vda 12G", GROUP_DEVICES, GUESTS_RUNNING};
const struct verb verb_attach_interface = {"attach-interface", "NAME network|bridge|user [NETWORK]",
	"Plugs an interface into a guest: `network NAME`, `bridge NAME`, or `user`.", 2, 3, false,
	{{"mac", "MAC", 0, "its address; default a new one"},
		{"model", "virtio|e1000e|e1000", 0, "default virtio"},
		{"forward", "FORWARD", 0, "[tcp|udp:][HOSTADDR:][HOSTPORT]-GUESTPORT"},
		{"restrict", NULL, 0, "no way out but the forward"},
		{"address", "ADDRESS", 0, "on a network; default: one is issued"},
		{"publish", "PORTS", 0, "on a network: [ADDRESS:][PORT:]GUEST_PORT[/tcp|/udp]"},
		{"isolated", NULL, 0, "no way to other guests of the network"},
		{"strict-ipv6", NULL, 0, "no IPv6 address but the issued one"},
		{"queues", "N", 0, "how many vCPUs may send at the same time"},
		{"mtu", "BYTES", 0, "default the network's"},
		{"config", NULL, 0, "from its next start on"},
		{"persistent", NULL, 0, "now and at its next start"}},
	run_attach_interface, "roost attach-interface web1 user --forward -80", GROUP_DEVICES,
	GUESTS_ALL};
const struct verb verb_detach_interface = {"detach-interface", "NAME INTERFACE",
	"Unplugs an interface that was plugged.", 2, 2, false,
	{TIMEOUT, {"config", NULL, 0, "from its next start on, one of its definition"},
		{"persistent", NULL, 0, "now and at its next start"}},
	run_detach_interface, "roost detach-interface web1 52:54:00:12:34:56", GROUP_DEVICES,
	GUESTS_RUNNING};
const struct verb verb_domblklist = {"domblklist", "NAME", "Lists a guest's disks.", 1, 1, false,
	{{0}}, run_domblklist, "roost domblklist web1", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_domiflist = {"domiflist", "NAME",
	"Lists a guest's interfaces, and what each is called inside its network while it runs.", 1,
	1, false, {{0}}, run_domiflist, "roost domiflist web1", GROUP_LOOK, GUESTS_ALL};
