/*
 * A backup of a guest that does not run: qemu-img copies each disk, in its confined child. It is handed the
 * files that the record tells, layers of snapshots included, as disk_open() has opened and compared them, not
 * what headers name. The image locks keep a start from writing meanwhile. It writes into the room of each in the
 * backup's file, whose empty image is there (backup_file.h).
 */
#include "orchestrator/backup_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/disk_tool.h"
#include "orchestrator/firmware.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

struct copying {
	const struct definition *def;
	const struct backup_writer *to;
	char *folder; /* the guest's */
	int dir;      /* the same, opened */
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

/* The image that begins there in the file that is its fd `number`. */
static char *target_node(uint64_t at, size_t number)
{
	_cleanup_free_ char *path = str_fmt("/proc/self/fd/%zu", number);
	_cleanup_json_ json_t *node = json_pack("{s:s, s:n, s:{s:s, s:I, s:{s:s, s:s, s:s}}}",
		"driver", "qcow2", "backing", "file", "driver", "raw", "offset", (json_int_t)at,
		"file", "driver", "file", "filename", path, "locking", "off");
	_cleanup_free_ char *line = json_line(node);
	return str_fmt("json:%s", line);
}

static const struct backup_member *member(const struct backup_writer *b, const char *name)
{
	for (size_t i = 0; i < b->count; i++)
		if (str_eq(b->members[i].name, name))
			return &b->members[i];
	return NULL;
}

static int copy_disk(struct copying *c, const struct disk_def *d, const char *name, struct err *err)
{
	_cleanup_disk_files_ struct disk_files files = {0};
	int fds[CHAIN_MAX + 1];
	const struct backup_member *m = member(c->to, name);
	if (!m)
		return err_set(err, ERR_SYSTEM, "there is no room for '%s'", name);
	if (disk_open(d, c->dir, &files, err) < 0)
		return -1;
	_cleanup_free_ char *node = disk_tool_node(&files, fds, err);
	_cleanup_free_ char *to = target_node(m->at, TOOL_FD_FIRST + files.count);
	const char *argv[10] = {"convert", "-p", "-n", "--target-is-zero", "-O", "qcow2"};
	size_t n = 6;
	fds[files.count] = c->to->file.fd;
	if (c->compress)
		argv[n++] = "-c";
	argv[n++] = node;
	argv[n] = to;
	struct tool_run run = {
		.argv = argv, .told = tell, .about = c, .fds = fds, .fd_count = files.count + 1};
	return node ? tool_run(&run, NULL, err) : -1;
}

/* With layers of snapshots they are a chain as a disk is. Freed by the caller: its `path`. */
static struct disk_def vars_of(const struct definition *def, int dir, const char *folder)
{
	struct disk_def disks[SNAPSHOT_DISKS_MAX];
	size_t count = snapshot_disks(dir, def, disks);
	if (count && str_eq(disks[count - 1].target, SNAPSHOT_VARS))
		return disks[count - 1];
	return (struct disk_def){.source = DISK_PATH,
		.path = str_fmt("%s/" FIRMWARE_VARS_RAW, folder),
		.format = FORMAT_RAW};
}

static int copy_vars(struct copying *c, struct err *err)
{
	struct disk_def vars = vars_of(c->def, c->dir, c->folder);
	_cleanup_free_ char *path = vars.path;
	return copy_disk(c, &vars, BACKUP_VARS, err);
}

int64_t backup_vars_size(const struct definition *def, struct err *err)
{
	struct qcow2_info info;
	struct stat st;
	_cleanup_disk_files_ struct disk_files files = {0};
	_cleanup_close_ int dir = guest_dir_open(def->name, err);
	_cleanup_free_ char *folder = str_fmt("%s/guests/%s", paths_state(err), def->name);
	if (dir < 0)
		return -1;
	struct disk_def vars = vars_of(def, dir, folder);
	_cleanup_free_ char *path = vars.path;
	if (disk_open(&vars, dir, &files, err) < 0)
		return err_prefix(err, "the UEFI variables");
	if (!files.layers[0].qcow2)
		return fstat(files.layers[0].fd, &st) < 0
			       ? err_errno(err, "cannot look at the UEFI variables")
			       : st.st_size;
	return qcow2_read(files.layers[0].fd, &info, err) < 0
		       ? err_prefix(err, "the UEFI variables")
		       : (int64_t)info.virtual_size;
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

int backup_copy_stopped(const struct definition *def, const struct backup_writer *b,
	const json_t *disks, bool compress, bool quiet, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(def->name, err);
	_cleanup_free_ char *folder = str_fmt("%s/guests/%s", paths_state(err), def->name);
	struct copying c = {.def = def,
		.to = b,
		.folder = folder,
		.dir = dir,
		.compress = compress,
		.terminal = !quiet && isatty(STDERR_FILENO)};
	if (dir < 0)
		return -1;
	int result = copy_all(&c, disks, err);
	if (c.told)
		fputs("\r\033[K", stderr);
	return result;
}
