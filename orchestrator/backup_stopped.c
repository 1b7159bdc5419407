/*
 * A backup of a guest that does not run: qemu-img copies each disk, in its confined child. It is handed the
 * graph that the record tells, which disk_open() has compared with the files, not what headers name. The
 * image locks keep a start from writing meanwhile.
 */
#include "orchestrator/backup_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "images/tool.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/disk_size.h"
#include "orchestrator/firmware.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

struct copying {
	const struct definition *def;
	char *folder; /* the guest's */
	char *part;   /* absolute: no name in it is a protocol's */
	int dir;      /* the guest's folder, opened */
	bool compress, terminal, told;
};

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	struct copying *c = about;
	(void)step;
	if (!c->terminal)
		return;
	fprintf(stderr, "\rcopying: %lld %%\033[K", (long long)(total ? done * 100 / total : 0));
	c->told = true;
}

static int convert(struct copying *c, const char *node, const char *file, struct err *err)
{
	_cleanup_free_ char *to = str_fmt("%s/%s", c->part, file);
	const char *argv[8] = {"convert", "-p", "-O", "qcow2"};
	size_t n = 4;
	if (c->compress)
		argv[n++] = "-c";
	argv[n++] = node;
	argv[n] = to;
	struct tool_run run = {.argv = argv, .told = tell, .about = c};
	return tool_run(&run, NULL, err);
}

/* The recorded chain as paths; a link in the guest's folder is told by its name there. */
static char *chain_node(const struct copying *c, const struct disk_def *d, struct err *err)
{
	struct chain chain = {.count = 1};
	char *node = NULL;
	chain.links[0].path = disk_size_path(c->def->name, d, err);
	chain.links[0].qcow2 = d->source != DISK_PATH || d->format == FORMAT_QCOW2;
	for (size_t i = 0; i < d->lineage_count && chain.count < CHAIN_MAX; i++) {
		const char *path = d->lineage[i].path;
		chain.links[chain.count++] = (struct chain_link){
			.path = path[0] == '/' ? xstrdup(path) : str_fmt("%s/%s", c->folder, path),
			.qcow2 = d->lineage[i].format == FORMAT_QCOW2};
	}
	if (chain.links[0].path)
		node = tool_chain_node(&chain, 0, err);
	chain_free(&chain);
	return node;
}

static int copy_disk(struct copying *c, const struct disk_def *d, const char *file, struct err *err)
{
	_cleanup_disk_files_ struct disk_files files = {0};
	if (disk_open(d, c->dir, &files, err) < 0)
		return -1;
	disk_files_close(&files);
	_cleanup_free_ char *node = chain_node(c, d, err);
	return node ? convert(c, node, file, err) : -1;
}

static int copy_vars(struct copying *c, struct err *err)
{
	const char *name = firmware_vars_name(c->def->secure_boot);
	bool qcow2 = faccessat(c->dir, name, F_OK, 0) == 0;
	_cleanup_free_ char *path = str_fmt("%s/%s", c->folder, qcow2 ? name : FIRMWARE_VARS_RAW);
	_cleanup_free_ char *node = tool_node(path, qcow2, err);
	return node ? convert(c, node, BACKUP_VARS, err) : -1;
}

/* Layers of snapshots are no part of what the definition tells; QEMU knows them while it runs. */
static int check_no_snapshots(const struct copying *c, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(c->dir, err);
	if (!record)
		return -1;
	if (!json_object_size(json_object_get(record, "layers")))
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' has snapshots: it can be backed up while it runs",
		c->def->name);
	return err_hint(err, "`roost start %s --paused` first", c->def->name);
}

static int copy_all(struct copying *c, const json_t *disks, struct err *err)
{
	size_t i;
	json_t *row;
	json_array_foreach (disks, i, row) {
		const char *target = json_get_str(row, "target", "");
		for (size_t j = 0; j < c->def->disk_count; j++)
			if (str_eq(c->def->disks[j].target, target) &&
				copy_disk(c, &c->def->disks[j], json_get_str(row, "file", ""),
					err) < 0)
				return err_prefix(err, "disk '%s'", target);
	}
	return c->def->firmware == FIRMWARE_UEFI ? copy_vars(c, err) : 0;
}

int backup_copy_stopped(const struct definition *def, const json_t *disks, const char *part,
	bool compress, bool quiet, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(def->name, err);
	_cleanup_free_ char *folder = str_fmt("%s/guests/%s", paths_state(err), def->name);
	_cleanup_free_ char *absolute = realpath(part, NULL);
	struct copying c = {.def = def,
		.folder = folder,
		.part = absolute,
		.dir = dir,
		.compress = compress,
		.terminal = !quiet && isatty(STDERR_FILENO)};
	if (dir < 0)
		return -1;
	if (!absolute)
		return err_errno(err, "cannot find '%s'", part);
	if (check_no_snapshots(&c, err) < 0)
		return -1;
	int result = copy_all(&c, disks, err);
	if (c.told)
		fputs("\r\033[K", stderr);
	return result;
}
