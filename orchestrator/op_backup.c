/*
 * A backup of a running guest: all its disks as they are at one instant, while it goes on writing.
 *
 * The file is the caller's, who has made and opened it: at the offset that is named for each disk there is an empty
 * qcow2 image of the right size, with room behind it (backup_file.h). Each gets an fdset and two nodes,
 * "backup-vda-file", which is all of the file, and "backup-vda", over the part of it; one transaction starts a job for
 * each, "backup-vda", so that they share one
 * instant, and ends them together (completion-mode grouped). Around the transaction the guest's agent, if
 * there is one, holds its file systems still; they are thawed whatever happens.
 *
 * Whatever ends it, what was added goes again, found by those names: a keeper that finds the journal
 * does just that, for who asked has gone with the former one, and his file is worth nothing.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/block_job.h"
#include "orchestrator/block_node.h"
#include "orchestrator/journal.h"
#include "orchestrator/quiesce.h"

#define PREFIX "backup-"

/* ---- the targets --------------------------------------------------------------------------------- */

/* Without image locks, which are the file's: all targets lie in it, and nobody else can name it yet. */
static int add_file_node(struct guest *g, const char *node, int *fd, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (guest_qmp_fds(g, "add-fd", json_pack("{s:s}", "opaque", node), fd, 1, QMP_BLOCK_MS,
		    &reply, err) < 0)
		return -1;
	cleanup_close(fd);
	_cleanup_free_ char *path =
		str_fmt("/dev/fdset/%lld", (long long)json_get_int(reply, "fdset-id", 0));
	failpoint("backup-after-fd");
	return guest_qmp(g, "blockdev-add",
		json_pack("{s:s, s:s, s:s, s:b, s:s}", "driver", "file", "node-name", node,
			"filename", path, "auto-read-only", 0, "locking", "off"),
		QMP_BLOCK_MS, NULL, err);
}

static int add_target(struct guest *g, const json_t *disk, int *fd, struct err *err)
{
	_cleanup_free_ char *node = str_fmt(PREFIX "%s", json_get_str(disk, "target", ""));
	_cleanup_free_ char *file = str_fmt("%s-file", node);
	if (add_file_node(g, file, fd, err) < 0)
		return -1;
	json_t *part = json_pack("{s:s, s:I, s:I, s:s}", "driver", "raw", "offset",
		(json_int_t)json_get_int(disk, "offset", 0), "size",
		(json_int_t)json_get_int(disk, "size", 0), "file", file);
	return guest_qmp(g, "blockdev-add",
		json_pack("{s:s, s:s, s:o, s:n}", "driver", "qcow2", "node-name", node, "file",
			part, "backing"),
		QMP_BLOCK_MS, NULL, err);
}

static int check_targets(const json_t *disks, struct err *err)
{
	size_t i;
	json_t *disk;
	if (!json_array_size(disks))
		return err_set(err, ERR_USAGE, "no disk is named");
	json_array_foreach (disks, i, disk)
		if (!json_get_str(disk, "target", "")[0] || json_get_int(disk, "offset", -1) < 0 ||
			json_get_int(disk, "size", 0) <= 0)
			return err_set(err, ERR_USAGE,
				"a disk needs 'target', and 'offset' and 'size' in the file");
	return 0;
}

static int add_targets(struct guest *g, const json_t *disks, int file, struct err *err)
{
	size_t i;
	json_t *disk;
	if (file < 0)
		return err_set(err, ERR_USAGE, "no file came along");
	json_array_foreach (disks, i, disk) {
		_cleanup_close_ int fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return err_errno(err, "cannot hand on the file");
		if (add_target(g, disk, &fd, err) < 0)
			return err_prefix(err, "room in the file for disk '%s'",
				json_get_str(disk, "target", ""));
	}
	return 0;
}

/* ---- the instant --------------------------------------------------------------------------------- */

static json_t *actions(struct guest *g, const json_t *disks, const json_t *args, struct err *err)
{
	json_t *list = json_array(), *disk;
	size_t i;
	bool compress = json_get_bool(args, "compress", false);
	int64_t speed = json_get_int(args, "bytes-per-second", 0);
	json_array_foreach (disks, i, disk) {
		const char *target = json_get_str(disk, "target", "");
		_cleanup_free_ char *id = str_fmt(PREFIX "%s", target);
		_cleanup_free_ char *node = block_top_node(g, target, err);
		if (!node) {
			json_decref(list);
			return NULL;
		}
		json_t *job = block_job_args(id,
			json_pack("{s:s, s:s, s:s, s:b, s:I}", "device", node, "target", id, "sync",
				"full", "compress", compress, "speed", (json_int_t)speed));
		json_array_append_new(
			list, json_pack("{s:s, s:o}", "type", "blockdev-backup", "data", job));
	}
	return list;
}

/* 1: they stand still; 0: they do not, and *why says so; -1: that was demanded, or is not wanted any more. */
static int freeze(struct guest *g, bool demanded, struct err *why, struct err *err)
{
	if (quiesce_freeze(g, why) == 0)
		return 1;
	if (g->cancelled)
		return guest_cancelled(g, err);
	if (!demanded)
		return 0;
	*err = *why;
	return err_prefix(err, "guest '%s' was not quiesced", g->def->name);
}

static int begin_jobs(
	struct guest *g, const json_t *disks, const json_t *args, json_t *told, struct err *err)
{
	const char *how = json_get_str(args, "quiesce", "try");
	struct err why = ERR_INIT;
	json_t *list = actions(g, disks, args, err);
	if (!list)
		return -1;
	int frozen = str_eq(how, "no") ? 0 : freeze(g, str_eq(how, "demand"), &why, err);
	if (frozen < 0) {
		json_decref(list);
		return -1;
	}
	failpoint("backup-frozen");
	json_object_set_new(told, "taken", json_integer((json_int_t)time(NULL)));
	int result = guest_qmp(g, "transaction",
		json_pack("{s:o, s:{s:s}}", "actions", list, "properties", "completion-mode",
			"grouped"),
		QMP_HEAVY_MS, NULL, err);
	failpoint("backup-began");
	struct err stuck = ERR_INIT;
	if (frozen && quiesce_thaw(g, &stuck) < 0 && result == 0)
		result = (*err = stuck,
			err_prefix(err, "the file systems of guest '%s' may still be frozen",
				g->def->name));
	json_object_set_new(told, "quiesced", json_boolean(frozen));
	json_object_set_new(told, "said", json_string(why.kind ? why.message : ""));
	return result;
}

/* ---- the operation ------------------------------------------------------------------------------- */

int op_backup(
	struct guest *g, const json_t *args, struct request *files, json_t **ret, struct err *err)
{
	const json_t *disks = json_object_get(args, "disks");
	_cleanup_json_ json_t *told = json_object();
	_cleanup_close_ int file = request_take_fd(files);
	if (check_targets(disks, err) < 0)
		return -1;
	if (g->status.state != GUEST_RUNNING && g->status.state != GUEST_PAUSED)
		return err_set(err, ERR_REFUSED, "guest '%s' cannot be backed up: it is %s",
			g->def->name, guest_state_name(g->status.state));
	if (journal_begin(g, "backup", NULL, err) < 0)
		return -1;
	failpoint("backup-begin");
	int result = add_targets(g, disks, file, err);
	if (result == 0)
		result = begin_jobs(g, disks, args, told, err);
	if (result == 0)
		result = block_jobs_await(g, "copying", PREFIX, err);
	else
		block_jobs_undo(g, PREFIX);
	failpoint("backup-copied");
	if (!g->qemu_ended)
		block_remove_nodes(g, PREFIX);
	if (result < 0 && file >= 0) /* a QEMU whose CPUs stand still has it open until they run */
		(void)!ftruncate(file, 0);
	failpoint("backup-before-end");
	journal_end(g);
	if (result == 0)
		*ret = TAKE(told);
	return result;
}

int recover_backup(struct guest *g, const json_t *journal, struct err *err)
{
	(void)err;
	quiesce_recover(g, journal);
	block_jobs_undo(g, PREFIX);
	block_remove_nodes(g, PREFIX);
	return 0;
}
