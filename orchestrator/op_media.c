/*
 * The medium of a CD-ROM drive: put in, taken out, exchanged for another, while the guest runs.
 *
 * The file comes open from the caller, as with attach-disk. Its nodes are there before the tray moves,
 * so that only what the guest itself refuses, a tray that it holds locked, can fail once it has. The
 * drive's old nodes go last. A keeper that finds the journal asks QEMU which of the two is in the drive:
 * the new one, then the rest is done; else the old one goes in again, and the new one's nodes go.
 */
#include "orchestrator/attached.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/journal.h"

enum { UNLOCK_MS = 5000 }; /* for a guest that is asked to let the tray go */

/* What is at stake; all of it is in the journal. Texts are borrowed; NULL: no medium. */
struct change {
	const char *drive, *medium; /* the target; the path of the new one */
	const char *old_node, *new_node;
};

static char *device_of(const char *drive)
{
	return str_fmt("disk-%s", drive);
}

static char *file_node_of(const char *node)
{
	return str_fmt("%s-file", node);
}

/* ---- what QEMU says ---------------------------------------------------------------------------------- */

/* The node in the drive, or NULL (freed by the caller), and whether its tray is open. */
static int look_into(struct guest *g, const char *drive, char **node, bool *open, struct err *err)
{
	_cleanup_json_ json_t *all = NULL;
	_cleanup_free_ char *device = device_of(drive);
	size_t i;
	json_t *b;
	if (guest_qmp(g, "query-block", NULL, QMP_BLOCK_MS, &all, err) < 0)
		return -1;
	json_array_foreach (all, i, b) {
		if (!str_eq(json_get_str(b, "qdev", ""), device))
			continue;
		const char *name = json_get_str(json_object_get(b, "inserted"), "node-name", NULL);
		*node = name ? xstrdup(name) : NULL;
		*open = json_get_bool(b, "tray_open", false);
		return 0;
	}
	return err_set(err, ERR_QEMU, "guest '%s': QEMU knows no drive '%s'", g->def->name, drive);
}

/* Or -1: the first set that QEMU makes has the number 0. */
static int64_t set_of(struct guest *g, const char *file_node)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *all = NULL;
	json_t *set, *fd;
	size_t i, j;
	int64_t found = -1;
	guest_qmp(g, "query-fdsets", NULL, QMP_BLOCK_MS, &all, &ignored);
	json_array_foreach (all, i, set)
		json_array_foreach (json_object_get(set, "fds"), j, fd)
			if (str_eq(json_get_str(fd, "opaque", ""), file_node))
				found = json_get_int(set, "fdset-id", -1);
	return found;
}

/* ---- nodes -------------------------------------------------------------------------------------------- */

static int add_nodes(struct guest *g, const char *node, int fd, struct err *err)
{
	_cleanup_free_ char *file = file_node_of(node);
	_cleanup_json_ json_t *added = NULL;
	if (guest_qmp_fds(g, "add-fd", json_pack("{s:s}", "opaque", file), &fd, 1, QMP_BLOCK_MS,
		    &added, err) < 0)
		return -1;
	failpoint("media-after-fd");
	_cleanup_free_ char *path =
		str_fmt("/dev/fdset/%lld", (long long)json_get_int(added, "fdset-id", 0));
	if (guest_qmp(g, "blockdev-add",
		    json_pack("{s:s, s:s, s:s, s:b, s:b}", "driver", "file", "node-name", file,
			    "filename", path, "read-only", 1, "auto-read-only", 0),
		    QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	return guest_qmp(g, "blockdev-add",
		json_pack("{s:s, s:s, s:s, s:b}", "driver", "raw", "node-name", node, "file", file,
			"read-only", 1),
		QMP_BLOCK_MS, NULL, err);
}

static void remove_nodes(struct guest *g, const char *node)
{
	struct err ignored = ERR_INIT;
	if (!node)
		return;
	_cleanup_free_ char *file = file_node_of(node);
	int64_t set = set_of(g, file);
	guest_qmp(g, "blockdev-del", json_pack("{s:s}", "node-name", node), QMP_BLOCK_MS, NULL,
		&ignored);
	guest_qmp(g, "blockdev-del", json_pack("{s:s}", "node-name", file), QMP_BLOCK_MS, NULL,
		&ignored);
	if (set >= 0)
		guest_qmp(g, "remove-fd", json_pack("{s:I}", "fdset-id", (json_int_t)set),
			QMP_BLOCK_MS, NULL, &ignored);
}

/* ---- the tray ----------------------------------------------------------------------------------------- */

static int drive_command(struct guest *g, const char *command, const char *drive, struct err *err)
{
	_cleanup_free_ char *device = device_of(drive);
	return guest_qmp(g, command, json_pack("{s:s}", "id", device), QMP_BLOCK_MS, NULL, err);
}

static int insert(struct guest *g, const char *drive, const char *node, struct err *err)
{
	_cleanup_free_ char *device = device_of(drive);
	return guest_qmp(g, "blockdev-insert-medium",
		json_pack("{s:s, s:s}", "id", device, "node-name", node), QMP_BLOCK_MS, NULL, err);
}

static bool tray_opens(const json_t *event, const void *device)
{
	const json_t *data = json_object_get(event, "data");
	return str_eq(json_get_str(event, "event", ""), "DEVICE_TRAY_MOVED") &&
	       str_eq(json_get_str(data, "id", ""), device) &&
	       json_get_bool(data, "tray-open", false);
}

/*
 * Of a locked tray QEMU presses the button, says that all is well, and leaves it to the guest: a willing
 * one opens it then.
 */
static int open_tray(struct guest *g, const char *drive, bool force, struct err *err)
{
	_cleanup_free_ char *device = device_of(drive), *in = NULL;
	bool open = false;
	if (guest_qmp(g, "blockdev-open-tray",
		    json_pack("{s:s, s:b}", "id", device, "force", force), QMP_BLOCK_MS, NULL,
		    err) < 0 ||
		look_into(g, drive, &in, &open, err) < 0)
		return -1;
	if (open)
		return 0;
	struct wait w =
		WAIT_FOR(.deadline = deadline_in(UNLOCK_MS), .wants = tray_opens, .about = device);
	enum wake wake = guest_wait(g, &w);
	json_decref(w.event);
	if (wake == WAKE_EVENT)
		return 0;
	if (wake == WAKE_CANCEL)
		return guest_cancelled(g, err);
	if (wake == WAKE_GONE)
		return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
	err_set(err, ERR_QEMU, "guest '%s' holds the tray of '%s' locked", g->def->name, drive);
	return err_hint(err, "unmount it in the guest, or take it away with --force");
}

/* ---- the change --------------------------------------------------------------------------------------- */

static int record(struct guest *g, const struct change *c, struct err *err)
{
	json_t *entry = json_pack("{s:s, s:s}", "kind", "medium", "drive", c->drive);
	json_t *former = attached_find(g, "drive", c->drive);
	if (c->medium)
		json_object_set_new(entry, "medium", json_string(c->medium));
	if (former)
		attached_remove(g, former);
	return attached_add(g, entry, err);
}

static int finish(struct guest *g, const struct change *c, struct err *err)
{
	int result = drive_command(g, "blockdev-close-tray", c->drive, err);
	failpoint("media-closed");
	if (result == 0)
		result = record(g, c, err);
	remove_nodes(g, c->old_node);
	return result;
}

static void go_back(struct guest *g, const struct change *c)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *in = NULL;
	bool open;
	if (look_into(g, c->drive, &in, &open, &ignored) == 0 && c->old_node && !in)
		insert(g, c->drive, c->old_node, &ignored);
	drive_command(g, "blockdev-close-tray", c->drive, &ignored);
	remove_nodes(g, c->new_node);
}

static int exchange(struct guest *g, const struct change *c, int fd, bool force, struct err *err)
{
	if (c->new_node && add_nodes(g, c->new_node, fd, err) < 0)
		return -1;
	failpoint("media-after-node");
	if (open_tray(g, c->drive, force, err) < 0)
		return -1;
	failpoint("media-tray-open");
	if (c->old_node && drive_command(g, "blockdev-remove-medium", c->drive, err) < 0)
		return -1;
	failpoint("media-removed");
	if (c->new_node && insert(g, c->drive, c->new_node, err) < 0)
		return -1;
	failpoint("media-inserted");
	return 0;
}

/* Does the drive have what `mode` wants it to have? "update" takes it as it is. */
static int check_mode(
	struct guest *g, const char *drive, const char *mode, bool has, struct err *err)
{
	if (str_eq(mode, "insert") && has)
		return err_set(err, ERR_REFUSED,
			       "the drive '%s' of guest '%s' has a medium already", drive,
			       g->def->name),
		       err_hint(err, "--update exchanges it");
	if (str_eq(mode, "eject") && !has)
		return err_set(err, ERR_REFUSED, "the drive '%s' of guest '%s' has no medium",
			drive, g->def->name);
	return 0;
}

static int find_drive(struct guest *g, const char *word, const char **drive, struct err *err)
{
	const struct disk_def *d = definition_disk(g->def, word);
	if (!d)
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no drive '%s'", g->def->name,
			       word),
		       err_hint(err, "add `cdrom: none` to its definition, for its next start");
	if (!d->cdrom)
		return err_set(err, ERR_REFUSED, "'%s' of guest '%s' is no CD-ROM drive", word,
			g->def->name);
	*drive = d->target;
	return 0;
}

int op_change_media(struct guest *g, const char *word, const char *mode, const char *medium,
	bool force, struct request *files, struct err *err)
{
	struct change c = {.medium = medium};
	_cleanup_close_ int fd = request_take_fd(files);
	_cleanup_free_ char *old = NULL, *new = NULL;
	bool open;
	if (find_drive(g, word, &c.drive, err) < 0 || look_into(g, c.drive, &old, &open, err) < 0 ||
		check_mode(g, c.drive, mode, old, err) < 0)
		return -1;
	if ((fd >= 0) != (medium != NULL))
		return err_set(err, ERR_USAGE, "a medium's path and its open file come together");
	if (!medium && !old)
		return 0;
	/* one of two names: the other may be in the drive */
	_cleanup_free_ char *first = str_fmt("%s-medium0", c.drive);
	if (medium)
		new = str_fmt("%s-medium%d", c.drive, str_eq(old, first));
	c.old_node = old;
	c.new_node = new;
	if (journal_begin(g, "change-media",
		    json_pack("{s:s, s:s?, s:s?, s:s?}", "drive", c.drive, "medium", medium, "old",
			    old, "new", new),
		    err) < 0)
		return -1;
	failpoint("media-begin");
	int result = exchange(g, &c, fd, force, err);
	if (result == 0)
		result = finish(g, &c, err);
	else if (!g->qemu_ended)
		go_back(g, &c);
	failpoint("media-before-end");
	journal_end(g);
	return result;
}

int media_take_out(struct guest *g, const char *drive, struct err *err)
{
	_cleanup_free_ char *in = NULL;
	bool open;
	if (look_into(g, drive, &in, &open, err) < 0)
		return -1;
	/* its nodes may be left of one who had begun */
	const struct change c = {.drive = drive, .old_node = in ? in : drive};
	if (in && (open_tray(g, drive, true, err) < 0 ||
			  drive_command(g, "blockdev-remove-medium", drive, err) < 0))
		return -1;
	return finish(g, &c, err);
}

int recover_change_media(struct guest *g, const json_t *journal, struct err *err)
{
	const struct change c = {.drive = json_get_str(journal, "drive", ""),
		.medium = json_get_str(journal, "medium", NULL),
		.old_node = json_get_str(journal, "old", NULL),
		.new_node = json_get_str(journal, "new", NULL)};
	_cleanup_free_ char *in = NULL;
	bool open;
	if (look_into(g, c.drive, &in, &open, err) < 0)
		return -1;
	if (str_eq(in, c.new_node))
		return finish(g, &c, err);
	go_back(g, &c);
	return 0;
}
