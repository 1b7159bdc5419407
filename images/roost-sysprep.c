/*
 * roost-sysprep: makes the system on a guest's disks fit to be copied (sysprep_ops.h); with libext2fs, as a
 * program of its own so that nobody else links it and what a guest wrote is read where it can do no harm.
 *
 *	roost-sysprep PLAN	{"disks": [{"fd": 3, "name": "vda"}], "operations": ["logfiles", ...],
 *				 "delete": ["/etc/x*"],
 *				 "files": 4,	a stream to be copied in: sysprep_stream.h
 *				 "identity": 5}	new host keys come here: sysprep_identity.h
 *
 * The fds of disks are connections to an NBD server that has an export of that name. A line of JSON on
 * standard output is the answer, the last one: {"return": {...}}, or {"error": {...}}: then nothing on the disks counts. With
 * "system": false in it there is no ext2, ext3 or ext4 with a system, and nothing was written.
 * Who started it gives it a uid and walls; it shuts itself off from all but its open files (seccomp).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "images/ext_tree.h"
#include "images/partition.h"
#include "images/sysprep_files.h"
#include "images/sysprep_identity.h"
#include "images/sysprep_jail.h"

enum { DISKS = 16, VOLUMES = 64, FSTAB_MAX = 1 << 20 };

struct job {
	const json_t *plan;
	struct cached_disk *disks[DISKS];
	const char *names[DISKS];
	size_t disk_count;
	struct ext_volume volumes[VOLUMES];
	size_t count;
	json_t *report;
};

/* ---- what is on the disks ------------------------------------------------------------------------------ */

static int add_volume(struct job *j, struct cached_disk *d, const char *name, uint64_t at,
	uint64_t size, struct err *err)
{
	int there = ext_probe(d, at, size, err);
	if (there <= 0)
		return there;
	if (j->count == VOLUMES)
		return err_set(err, ERR_REFUSED, "there are more than %d file systems", VOLUMES);
	struct ext_volume *v = &j->volumes[j->count];
	*v = (struct ext_volume){.disk = d, .at = at, .size = size};
	snprintf(v->name, sizeof(v->name), "%s", name);
	if (ext_open(v, err) < 0)
		return -1;
	j->count++;
	return 0;
}

static int read_disk(void *about, void *data, uint64_t at, size_t len, struct err *err)
{
	return disk_read(about, data, at, len, err);
}

/* "vda1", or the whole disk if it has no partitions. */
static int add_partitions(struct job *j, struct cached_disk *d, const char *name, struct err *err)
{
	struct partitions p;
	if (partitions_read(read_disk, d, d->nbd.size, &p, err) < 0)
		return -1;
	if (!p.count)
		return add_volume(j, d, name, 0, d->nbd.size, err);
	for (size_t i = 0; i < p.count; i++) {
		_cleanup_free_ char *part = str_fmt("%s%u", name, p.all[i].number);
		if (add_volume(j, d, part, p.all[i].at, p.all[i].size, err) < 0)
			return -1;
	}
	return 0;
}

static int open_disk(struct job *j, const json_t *about, struct err *err)
{
	const char *name = json_get_str(about, "name", "");
	if (j->disk_count == DISKS)
		return err_set(err, ERR_USAGE, "too many disks");
	j->names[j->disk_count] = name;
	struct cached_disk *d = j->disks[j->disk_count++] = xcalloc(1, sizeof(*d));
	if (nbd_open(&d->nbd, (int)json_get_int(about, "fd", -1), name, err) < 0)
		return -1;
	return add_partitions(j, d, name, err);
}

static int open_all(struct job *j, struct err *err)
{
	size_t i;
	json_t *disk;
	json_array_foreach (json_object_get(j->plan, "disks"), i, disk)
		if (open_disk(j, disk, err) < 0)
			return err_prefix(err, "disk '%s'", json_get_str(disk, "name", ""));
	return 0;
}

/* ---- where it is mounted ------------------------------------------------------------------------------- */

static bool is_root(struct ext_volume *v)
{
	struct ext_tree alone = {v, 1, 0, 0, 0, 0};
	struct ext_volume *on;
	v->mounted = true;
	bool root = tree_find(&alone, "/etc", &on) &&
		    (tree_find(&alone, "/usr", &on) || tree_find(&alone, "/bin", &on));
	v->mounted = false;
	return root;
}

static void uuid_text(const struct ext_volume *v, char out[37])
{
	const unsigned char *u = v->fs->super->s_uuid;
	char *p = out;
	for (int i = 0; i < 16; i++)
		p += snprintf(
			p, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}

static bool is_device(const struct ext_volume *v, const char *device)
{
	char uuid[37], label[sizeof(v->fs->super->s_volume_name) + 1] = "";
	uuid_text(v, uuid);
	memcpy(label, v->fs->super->s_volume_name, sizeof(label) - 1);
	if (str_starts(device, "UUID="))
		return strcasecmp(device + strlen("UUID="), uuid) == 0;
	if (str_starts(device, "LABEL="))
		return label[0] && str_eq(device + strlen("LABEL="), label);
	return str_starts(device, "/dev/") && str_eq(device + strlen("/dev/"), v->name);
}

/* "UUID=... /var ext4 defaults 0 2": the volume of that line, if we have it, is mounted there. */
static void mount_line(struct job *j, const char *line)
{
	char device[256], place[256];
	if (sscanf(line, "%255s %255s", device, place) != 2 || device[0] == '#' ||
		place[0] != '/' || !place[1])
		return;
	size_t len = strlen(place);
	if (place[len - 1] == '/')
		place[len - 1] = '\0';
	for (size_t i = 0; i < j->count; i++)
		if (!j->volumes[i].mounted && is_device(&j->volumes[i], device)) {
			j->volumes[i].mounted = true;
			snprintf(j->volumes[i].root, sizeof(j->volumes[i].root), "%s", place);
			return;
		}
}

/* What has none is cleaned another way: then nothing is written. */
static bool has_system(struct job *j)
{
	bool has = false;
	for (size_t i = 0; i < j->count && !has; i++)
		has = is_root(&j->volumes[i]);
	json_object_set_new(j->report, "system", json_boolean(has));
	return has;
}

static int begin_all(struct job *j, struct err *err)
{
	for (size_t i = 0; i < j->count; i++)
		if (ext_begin(&j->volumes[i], err) < 0)
			return -1;
	return 0;
}

static int mount_all(struct job *j, struct err *err)
{
	struct ext_tree tree = {j->volumes, j->count, 0, 0, 0, 0};
	_cleanup_buf_ struct buf fstab = {0};
	size_t roots = 0;
	for (size_t i = 0; i < j->count; i++)
		if (is_root(&j->volumes[i])) {
			j->volumes[i].mounted = !roots++;
			j->volumes[i].root[0] = '\0';
		}
	if (roots != 1) {
		err_set(err, ERR_REFUSED, "there are %zu systems on its disks", roots);
		return err_hint(err, "with --boot the one is cleaned that it boots");
	}
	int there = tree_read(&tree, "/etc/fstab", FSTAB_MAX, &fstab, err);
	if (there <= 0)
		return there;
	char *rest = fstab.data, *line;
	while ((line = strsep(&rest, "\n")))
		mount_line(j, line);
	return 0;
}

/* ---- the work ------------------------------------------------------------------------------------------ */

static const struct sysprep_op *op_named(const char *name)
{
	const struct sysprep_op *op = sysprep_ops;
	while (op->name && !str_eq(op->name, name))
		op++;
	return op->name ? op : NULL;
}

static int do_rows(struct ext_tree *t, const char *name, const struct sysprep_row *row,
	json_t *done, struct err *err)
{
	t->files = t->folders = t->bytes = 0;
	for (; row->pattern; row++)
		if (tree_do(t, row, err) < 0)
			return err_prefix(err, "%s", name);
	json_array_append_new(
		done, json_pack("{s:s, s:I, s:I, s:I}", "name", name, "files", (json_int_t)t->files,
			      "folders", (json_int_t)t->folders, "bytes", (json_int_t)t->bytes));
	return 0;
}

static int do_op(struct ext_tree *t, const char *name, json_t *done, struct err *err)
{
	const struct sysprep_op *op = op_named(name);
	return op ? do_rows(t, name, op->rows, done, err)
		  : err_set(err, ERR_USAGE, "there is no operation '%s'", name);
}

static int do_all(struct job *j, struct err *err)
{
	struct ext_tree tree = {j->volumes, j->count, 0, 0, 0, 0};
	json_t *done = json_array(), *name;
	size_t i;
	json_object_set_new(j->report, "operations", done);
	json_array_foreach (json_object_get(j->plan, "operations"), i, name)
		if (do_op(&tree, json_string_value(name), done, err) < 0)
			return -1;
	json_array_foreach (json_object_get(j->plan, "delete"), i, name) {
		const struct sysprep_row rows[] = {
			{ACT_REMOVE, json_string_value(name), NULL}, {0}};
		if (do_rows(&tree, rows[0].pattern, rows, done, err) < 0)
			return -1;
	}
	return 0;
}

static int copy_in(struct job *j, struct err *err)
{
	int64_t files = json_get_int(j->plan, "files", -1);
	struct ext_tree tree = {j->volumes, j->count, 0, 0, 0, 0};
	uint64_t count = 0;
	if (files < 0)
		return 0;
	if (sysprep_files_put(&tree, (int)files, &count, err) < 0)
		return -1;
	json_object_set_new(j->report, "copied", json_integer((json_int_t)count));
	return 0;
}

static int renew_identity(struct job *j, struct err *err)
{
	int64_t keys = json_get_int(j->plan, "identity", -1);
	struct ext_tree tree = {j->volumes, j->count, 0, 0, 0, 0};
	return keys < 0 ? 0 : sysprep_identity(&tree, (int)keys, j->report, err);
}

static int close_all(struct job *j, struct err *err)
{
	json_t *list = json_array();
	json_object_set_new(j->report, "filesystems", list);
	for (size_t i = 0; i < j->count; i++) {
		struct ext_volume *v = &j->volumes[i];
		json_t *one = json_pack("{s:s, s:s, s:s*}", "device", v->name, "type", ext_type(v),
			"mounted", v->mounted ? v->root[0] ? v->root : "/" : NULL);
		if (v->recovered)
			json_object_set_new(one, "recovered",
				json_pack("{s:I, s:I}", "blocks", (json_int_t)v->replayed,
					"orphans", (json_int_t)v->orphans));
		json_array_append_new(list, one);
		if (ext_close(v, v->mounted || v->recovered, err) < 0)
			return -1;
	}
	return 0;
}

static int sync_all(struct job *j, struct err *err)
{
	json_t *changed = json_array();
	json_object_set_new(j->report, "changed", changed);
	for (size_t i = 0; i < j->disk_count; i++) {
		if (disk_sync(j->disks[i], err) < 0)
			return -1;
		if (j->disks[i]->changed)
			json_array_append_new(changed, json_string(j->names[i]));
	}
	return 0;
}

static int work(struct job *j, struct err *err)
{
	if (open_all(j, err) < 0)
		return -1;
	if (!has_system(j))
		return 0;
	if (begin_all(j, err) < 0 || mount_all(j, err) < 0 || do_all(j, err) < 0 ||
		copy_in(j, err) < 0 || renew_identity(j, err) < 0)
		return -1;
	return close_all(j, err) < 0 ? -1 : sync_all(j, err);
}

/* libext2fs tells on standard error what a hostile file system makes it stumble over: nobody reads that. */
static void say_nothing(const char *whoami, long code, const char *fmt, va_list args)
{
	(void)whoami, (void)code, (void)fmt, (void)args;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct job j = {.report = json_object()};
	_cleanup_json_ json_t *plan =
		argc == 2 ? json_text_parse(argv[1], strlen(argv[1]), &err) : NULL;
	if (argc != 2)
		err_set(&err, ERR_USAGE, "usage: roost-sysprep PLAN");
	set_com_err_hook(say_nothing);
	initialize_ext2_error_table();
	j.plan = plan;
	int result = plan && sysprep_jail(&err) == 0 ? work(&j, &err) : -1;
	_cleanup_json_ json_t *answer = json_object();
	json_object_set_new(answer, result < 0 ? "error" : "return",
		result < 0 ? json_from_err(&err) : json_incref(j.report));
	json_decref(j.report);
	_cleanup_free_ char *line = json_line(answer);
	dprintf(STDOUT_FILENO, "%s\n", line);
	return result < 0 ? err_exit_code(err.kind) : 0;
}
