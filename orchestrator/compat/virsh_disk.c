/* virsh's commands on a guest's disks and media. */
#include "orchestrator/compat/virsh.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KIB = 1024 };

/* A disk by its target or by the path that it has; NULL if there is none. */
static const json_t *disk_of(const json_t *list, const char *word)
{
	size_t i;
	json_t *d;
	json_array_foreach (list, i, d)
		if (str_eq(json_get_str(d, "target", NULL), word) ||
			str_eq(json_get_str(d, "source", NULL), word))
			return d;
	return NULL;
}

/* ---- looking ----------------------------------------------------------------------------------------------- */

/* Of its next start. A disk that is in use now is told by its newest layer, as the list of those is. */
static int disks_of_next_start(const struct found *f, json_t **list)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *now = NULL, *info = NULL;
	size_t i;
	json_t *d;
	if (virsh_disks_of(f, &now) < 0)
		return -1;
	if (compat_ask("dominfo", f->name, &info, &err) < 0)
		return virsh_reason(&err);
	*list = json_array();
	json_array_foreach (json_object_get(info, "disks"), i, d) {
		const char *target = json_get_str(d, "target", ""),
			   *path = json_get_str(d, "path", NULL);
		const json_t *used = disk_of(now, target);
		bool drive = json_get_bool(d, "cdrom", false); /* without a path it is empty */
		bool same = used &&
			    ((!path && !drive) || str_eq(json_get_str(used, "source", ""), path) ||
				    str_eq(json_get_str(used, "below", ""), path));
		json_array_append_new(*list,
			same ? json_deep_copy(used)
			     : json_pack("{s:s, s:s, s:s}", "target", target, "source",
				       path ? path : "-", "device", drive ? "cdrom" : "disk"));
	}
	return 0;
}

static int run_domblklist(struct virsh *v)
{
	struct found f;
	_cleanup_json_ json_t *list = NULL, *rows = json_array();
	bool details = virsh_flag(v, "details");
	size_t i;
	json_t *d;
	if (virsh_domain(v, &f) < 0 ||
		(virsh_flag(v, "inactive") ? disks_of_next_start : virsh_disks_of)(&f, &list) < 0)
		return -1;
	json_array_append_new(
		rows, details ? json_pack("[s, s, s, s]", "Type", "Device", "Target", "Source")
			      : json_pack("[s, s]", "Target", "Source"));
	json_array_foreach (list, i, d) {
		const char *target = json_get_str(d, "target", ""),
			   *source = json_get_str(d, "source", "-");
		const char *device = json_get_str(d, "device", "disk");
		json_array_append_new(
			rows, details ? json_pack("[s, s, s, s]", "file", device, target, source)
				      : json_pack("[s, s]", target, source));
	}
	virsh_table(v, rows);
	return 0;
}

static void size_text(char out[48], int64_t bytes, bool human)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes;
	size_t unit = 0;
	if (!human) {
		snprintf(out, 48, "%" PRId64, bytes);
		return;
	}
	for (; value >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1024;
	snprintf(out, 48, "%.3f %s", value, units[unit]);
}

/* Of a disk in use libvirt tells how far it was written, and as physical what it takes on the host. */
static void measure_as_libvirt(json_t *disk)
{
	int64_t highest = json_get_int(disk, "highest", -1);
	if (highest < 0)
		return;
	json_object_set(disk, "physical", json_object_get(disk, "allocation"));
	if (highest > 0)
		json_object_set_new(disk, "allocation", json_integer(highest));
}

static int info_of_all(const struct virsh *v, const json_t *list, bool human)
{
	_cleanup_json_ json_t *rows = json_array();
	size_t i;
	json_t *d;
	json_array_append_new(
		rows, json_pack("[s, s, s, s]", "Target", "Capacity", "Allocation", "Physical"));
	json_array_foreach (list, i, d) {
		static const char *const keys[] = {"capacity", "allocation", "physical"};
		char cells[3][48];
		measure_as_libvirt(d);
		for (size_t j = 0; j < ARRAY_SIZE(keys); j++)
			if (json_object_get(d, keys[j]))
				size_text(cells[j], json_get_int(d, keys[j], 0), human);
			else
				snprintf(cells[j], sizeof(cells[j]), "-");
		json_array_append_new(rows, json_pack("[s, s, s, s]", json_get_str(d, "target", ""),
						    cells[0], cells[1], cells[2]));
	}
	virsh_table(v, rows);
	return 0;
}

static int run_domblkinfo(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL, *info = NULL;
	const char *device = virsh_text(v, "device");
	bool all = virsh_flag(v, "all"), human = virsh_flag(v, "human");
	char text[48];
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (all == (device != NULL))
		return virsh_error(all ? "Options --all and --device are mutually exclusive"
				       : "command 'domblkinfo' requires <device> option");
	if (virsh_disks_of(&f, &list) < 0)
		return -1;
	const json_t *disk = device ? disk_of(list, device) : NULL;
	if (device && !disk)
		return virsh_error(
			"invalid argument: invalid path %s not assigned to domain", device);
	words_add(&w, f.name);
	words_add(&w, all ? "--all" : json_get_str(disk, "target", ""));
	if (virsh_ask(v, NULL, &w, "domblkinfo", &info) < 0)
		return -1;
	if (all)
		return info_of_all(v, info, human);
	measure_as_libvirt(info);
	size_text(text, json_get_int(info, "capacity", 0), human);
	virsh_fact(16, "Capacity:", "%s", text);
	size_text(text, json_get_int(info, "allocation", 0), human);
	virsh_fact(16, "Allocation:", "%s", text);
	size_text(text, json_get_int(info, "physical", 0), human);
	virsh_fact(16, "Physical:", "%s", text);
	return 0;
}

static int run_domblkstat(struct virsh *v)
{
	static const char *const keys[] = {"rd_req", "rd_bytes", "wr_req", "wr_bytes",
		"flush_operations", "rd_total_times", "wr_total_times", "flush_total_times"};
	static const char *const for_people[] = {"number of read operations:",
		"number of bytes read:", "number of write operations:", "number of bytes written:",
		"number of flush operations:", "total duration of reads (ns):",
		"total duration of writes (ns):", "total duration of flushes (ns):"};
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *stats = NULL, *list = NULL;
	const char *device = virsh_text(v, "device") ? virsh_text(v, "device") : "";
	if (virsh_running(v, &f) < 0 || virsh_disks_of(&f, &list) < 0)
		return -1;
	words_add(&w, f.name);
	if (device[0] && !disk_of(list, device))
		return virsh_error("invalid argument: invalid path: %s", device);
	if (device[0])
		words_add(&w, device);
	if (virsh_ask(v, NULL, &w, "domblkstat", &stats) < 0)
		return -1;
	if (virsh_flag(v, "human"))
		printf("Device: %s\n", device);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		long long count = (long long)json_get_int(stats, keys[i], 0);
		if (virsh_flag(v, "human"))
			printf(" %-31s %lld\n", for_people[i], count);
		else
			printf("%s %s %lld\n", device, keys[i], count);
	}
	return 0;
}

/* ---- attach, detach ------------------------------------------------------------------------------------------ */

static bool attaches(const struct virsh *v)
{
	return str_eq(v->command->name, "attach-disk");
}

/* Those that the command is about: with --config alone the ones of the next start. */
static int disks_meant(const struct virsh *v, const struct found *f, json_t **list)
{
	bool next = virsh_flag(v, "config") && !virsh_flag(v, "live") && guest_runs(f);
	return next ? disks_of_next_start(f, list) : virsh_disks_of(f, list);
}

/* --persistent, --config, --live, --current as roost has them: now, at the next start, or both. */
static int take_when(const struct virsh *v, const struct found *f, struct words *w)
{
	bool runs = guest_runs(f), live = virsh_flag(v, "live"), config = virsh_flag(v, "config");
	bool persistent = virsh_flag(v, "persistent"), current = virsh_flag(v, "current");
	if (!runs && (live || !(config || persistent || current)))
		return virsh_error("Failed to %s disk", attaches(v) ? "attach" : "detach"),
		       virsh_error("Requested operation is not valid: domain is not running");
	if (persistent || (live && config))
		words_add(w, runs ? "--persistent" : "--config");
	else if (config || !runs)
		words_add(w, "--config");
	return 0;
}

/* libvirt takes raw where nothing is said; of a qcow2 file that would be a wrong guess. */
static int format_of(const struct virsh *v, const char *path, const char **format)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *info = NULL;
	*format = virsh_text(v, "subdriver");
	if (*format)
		return 0;
	*format = "raw";
	if (compat_ask("image info", path, &info, &ignored) == 0 &&
		!str_eq(json_get_str(info, "format", "raw"), "raw"))
		return virsh_error("Failed to attach disk"),
		       virsh_error(
			       "'%s' looks like %s, and no format is said: add --subdriver %s (or "
			       "--subdriver raw)",
			       path, json_get_str(info, "format", "?"),
			       json_get_str(info, "format", "?"));
	return 0;
}

/* The bus that a disk is on whose target says it; NULL: roost's own choice. */
static const char *bus_of(const struct virsh *v)
{
	const char *target = virsh_text(v, "target"), *bus = virsh_text(v, "targetbus");
	return bus                        ? bus
	       : str_starts(target, "sd") ? "scsi"
	       : str_starts(target, "hd") ? "ide"
					  : NULL;
}

/* A file or a block device that is there. */
static int check_source(const char *source)
{
	struct stat st;
	if (stat(source, &st) < 0)
		return virsh_error("Failed to attach disk"),
		       virsh_error("Cannot access storage file '%s': %m", source);
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	virsh_error("Failed to attach disk");
	return virsh_error("'%s' is neither a file nor a block device", source);
}

static int run_attach_disk(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	const char *source = virsh_text(v, "source"), *target = virsh_text(v, "target"), *format;
	const char *type = virsh_text(v, "type"), *mode = virsh_text(v, "mode");
	const char *driver = virsh_text(v, "driver");
	if (virsh_domain(v, &f) < 0 || disks_meant(v, &f, &list) < 0)
		return -1;
	words_add(&w, f.name);
	if (driver && !str_eq(driver, "qemu"))
		return virsh_error("--driver %s is not there: QEMU reads the disks", driver);
	if (type && !str_eq(type, "disk"))
		return virsh_error(
			"--type %s is not there: a drive is made at define, change-media changes its "
			"medium",
			type);
	if (mode && !str_eq(mode, "readonly"))
		return virsh_error(
			"--mode %s is not there: a disk is of one guest, or readonly", mode);
	if (take_when(v, &f, &w) < 0)
		return -1;
	const json_t *taken = disk_of(list, target);
	if (taken) {
		virsh_error("Failed to attach disk");
		return virsh_error(
			"XML error: target '%s' duplicated for disk sources '%s' and '%s'", target,
			json_get_str(taken, "source", ""), source);
	}
	if (check_source(source) < 0 || format_of(v, source, &format) < 0)
		return -1;
	words_text(&w, source);
	words_option(&w, "format", format);
	words_option(&w, "target", target);
	words_option(&w, "bus", bus_of(v));
	words_option(&w, "cache", virsh_text(v, "cache"));
	words_option(&w, "serial", virsh_text(v, "serial"));
	if (mode)
		words_add(&w, "--readonly");
	if (words_ask(&w, "attach-disk", NULL, &err) < 0)
		return virsh_error("Failed to attach disk"), virsh_reason(&err);
	virsh_say(v, "Disk attached successfully");
	return 0;
}

static int run_detach_disk(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	const char *target = virsh_text(v, "target");
	if (virsh_domain(v, &f) < 0 || disks_meant(v, &f, &list) < 0)
		return -1;
	const json_t *disk = disk_of(list, target);
	if (!disk)
		return virsh_error("No disk found whose source path or target is %s", target);
	words_add(&w, f.name);
	words_add(&w, json_get_str(disk, "target", ""));
	if (take_when(v, &f, &w) < 0)
		return -1;
	if (words_ask(&w, "detach-disk", NULL, &err) < 0)
		return virsh_error("Failed to detach disk"), virsh_reason(&err);
	virsh_say(v, "Disk detached successfully");
	return 0;
}

static int run_change_media(struct virsh *v)
{
	static const char *const same[] = {"eject", "insert", "update", "force", "live", "config"};
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	const char *path = virsh_text(v, "path"), *source = virsh_text(v, "source");
	bool eject = virsh_flag(v, "eject"), insert = virsh_flag(v, "insert");
	if (virsh_domain(v, &f) < 0 || disks_meant(v, &f, &list) < 0)
		return -1;
	const json_t *disk = disk_of(list, path);
	if (!disk || str_eq(json_get_str(disk, "device", "disk"), "disk"))
		return virsh_error("No disk found whose source path or target is %s", path);
	if (!eject && !source)
		return virsh_error("New disk media source was not specified");
	words_add(&w, f.name);
	words_add(&w, json_get_str(disk, "target", ""));
	if (source)
		words_text(&w, source);
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (virsh_flag(v, same[i]))
			words_fmt(&w, "--%s", same[i]);
	const char *doing = eject ? "eject" : insert ? "insert" : "update";
	struct err err = ERR_INIT;
	if (words_ask(&w, "change-media", NULL, &err) < 0)
		return virsh_error("Failed to complete action %s on media", doing),
		       virsh_reason(&err);
	virsh_say_last(v, "Successfully %s media.",
		eject    ? "ejected"
		: insert ? "inserted"
			 : "updated");
	return 0;
}

/* ---- size, layers ---------------------------------------------------------------------------------------------- */

static int run_blockresize(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	uint64_t bytes = 0;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	const char *path = virsh_text(v, "path");
	_cleanup_free_ char *failed = str_fmt("Failed to resize block device '%s'", path);
	if (virsh_scaled(v, "size", KIB, &bytes) < 0 || virsh_awake(v, &f, failed) < 0 ||
		virsh_disks_of(&f, &list) < 0)
		return -1;
	if (!disk_of(list, path))
		return virsh_error("%s", failed),
		       virsh_error("invalid argument: disk '%s' was not found in the domain config",
			       path);
	words_add(&w, f.name);
	words_add(&w, path);
	words_fmt(&w, "%" PRIu64 "K", (bytes + KIB - 1) / KIB);
	if (words_ask(&w, "blockresize", NULL, &err) < 0)
		return virsh_error("%s", failed), virsh_reason(&err);
	virsh_say_last(v, "Block device '%s' is resized", path);
	return 0;
}

/* MiB/s as virsh has it, with a suffix bytes/s. */
static int take_bandwidth(const struct virsh *v, struct words *w)
{
	uint64_t bytes = 0;
	if (virsh_scaled(v, "bandwidth", virsh_flag(v, "bytes") ? 1 : 1 << 20, &bytes) < 0)
		return -1;
	if (bytes)
		words_fmt(w, "--bandwidth=%" PRIu64 "K", (bytes + KIB - 1) / KIB);
	return 0;
}

static int run_block_job(struct virsh *v)
{
	static const char *const same[] = {"base", "delete", "shallow", "active", "pivot", "wait"};
	bool commit = str_eq(v->command->name, "blockcommit");
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (virsh_domain(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	words_add(&w, virsh_text(v, "path"));
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		const char *value = commit ? virsh_text(v, same[i]) : NULL;
		if (value && value[0])
			words_option(&w, same[i], value);
		else if (value)
			words_fmt(&w, "--%s", same[i]);
	}
	if (!commit && virsh_text(v, "base"))
		return virsh_error("--base is not there: blockpull makes a disk stand alone");
	if (take_bandwidth(v, &w) < 0 || virsh_ask(v, NULL, &w, v->command->name, NULL) < 0)
		return -1;
	if (!commit)
		virsh_say(
			v, "Block Pull started\nPull complete"); /* it was waited for in any case */
	else
		virsh_say(v, "Block commit started\nSuccessfully pivoted");
	return 0;
}

const struct virsh_command virsh_disks[] = {
	{"domblklist", {V_DOMAIN, {"inactive", V_FLAG}, {"details", V_FLAG}}, run_domblklist,
		"list all domain blocks", NULL, false},
	{"domblkinfo", {V_DOMAIN, {"device", V_TEXT}, {"human", V_FLAG}, {"all", V_FLAG}},
		run_domblkinfo, "domain block device size information", NULL, false},
	{"domblkstat", {V_DOMAIN, {"device", V_TEXT}, {"human", V_FLAG}}, run_domblkstat,
		"get device block stats for a domain", NULL, false},
	{"attach-disk",
		{V_DOMAIN, {"source", V_NEED}, {"target", V_NEED}, {"targetbus", V_NAMED},
			{"driver", V_NAMED}, {"subdriver", V_NAMED}, {"cache", V_NAMED},
			{"type", V_NAMED}, {"mode", V_NAMED}, {"serial", V_NAMED},
			{"persistent", V_FLAG}, V_CURRENT},
		run_attach_disk, "attach disk device", NULL, true},
	{"detach-disk", {V_DOMAIN, {"target", V_NEED}, {"persistent", V_FLAG}, V_CURRENT},
		run_detach_disk, "detach disk device", NULL, true},
	{"change-media",
		{V_DOMAIN, {"path", V_NEED}, {"source", V_TEXT}, {"eject", V_FLAG},
			{"insert", V_FLAG}, {"update", V_FLAG}, V_CURRENT, {"force", V_FLAG}},
		run_change_media, "Change media of CD or floppy drive", NULL, true},
	{"blockresize", {V_DOMAIN, {"path", V_NEED}, {"size", V_NEED_INT}}, run_blockresize,
		"Resize block device of domain.", NULL, true},
	{"blockpull",
		{V_DOMAIN, {"path", V_NEED}, {"bandwidth", V_INT}, {"base", V_TEXT},
			{"wait", V_FLAG}, {"verbose", V_FLAG}, {"bytes", V_FLAG}},
		run_block_job, "Populate a disk from its backing image.", NULL, true},
	{"blockcommit",
		{V_DOMAIN, {"path", V_NEED}, {"bandwidth", V_INT}, {"base", V_TEXT},
			{"shallow", V_FLAG}, {"active", V_FLAG}, {"delete", V_FLAG},
			{"wait", V_FLAG}, {"verbose", V_FLAG}, {"pivot", V_FLAG},
			{"bytes", V_FLAG}},
		run_block_job, "Start a block commit operation.", NULL, true},
	{0},
};
