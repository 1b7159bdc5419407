/*
 * A backup of a guest that does not run: qemu-img copies each disk, in its confined child. It is handed the
 * files that the record tells, layers of snapshots included, as disk_open() has opened and compared them, not
 * what headers name. The image locks keep a start from writing meanwhile.
 */
#include "orchestrator/backup_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/disk_tool.h"
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

static int copy_disk(struct copying *c, const struct disk_def *d, const char *file, struct err *err)
{
	_cleanup_disk_files_ struct disk_files files = {0};
	int fds[CHAIN_MAX];
	if (disk_open(d, c->dir, &files, err) < 0)
		return -1;
	_cleanup_free_ char *node = disk_tool_node(&files, fds, err);
	_cleanup_free_ char *to = str_fmt("%s/%s", c->part, file);
	const char *argv[8] = {"convert", "-p", "-O", "qcow2"};
	size_t n = 4;
	if (c->compress)
		argv[n++] = "-c";
	argv[n++] = node;
	argv[n] = to;
	struct tool_run run = {
		.argv = argv, .told = tell, .about = c, .fds = fds, .fd_count = files.count};
	return node ? tool_run(&run, NULL, err) : -1;
}

/* With layers of snapshots they are a chain as a disk is. */
static int copy_vars(struct copying *c, struct err *err)
{
	struct disk_def disks[SNAPSHOT_DISKS_MAX];
	size_t count = snapshot_disks(c->dir, c->def, disks);
	_cleanup_free_ char *raw = str_fmt("%s/" FIRMWARE_VARS_RAW, c->folder);
	const struct disk_def old = {.source = DISK_PATH, .path = raw, .format = FORMAT_RAW};
	bool qcow2 = count && str_eq(disks[count - 1].target, SNAPSHOT_VARS);
	return copy_disk(c, qcow2 ? &disks[count - 1] : &old, BACKUP_VARS, err);
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
	int result = copy_all(&c, disks, err);
	if (c.told)
		fputs("\r\033[K", stderr);
	return result;
}
