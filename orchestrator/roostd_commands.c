/* What roostd's socket understands: one row each. */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/claim.h"
#include "orchestrator/committed.h"
#include "orchestrator/event_log.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

static const char *name_of_network(const json_t *args)
{
	const char *name = json_get_str(args, "network", NULL);
	return name ? name : json_get_str(json_object_get(args, "definition"), "name", "");
}

void supervisor_tell(struct supervisor *s, const struct request *r)
{
	struct err ignored = ERR_INIT;
	const struct command *c = command_find(supervisor_commands, r->command);
	if (!c || !(c->flags & CMD_CHANGING) || may_change(s, r, &ignored) < 0)
		return;
	_cleanup_close_ int state = dir_open(AT_FDCWD, paths_state(&ignored), &ignored);
	const char *name = json_get_str(r->args, "name", NULL);
	if (!name)
		name = json_get_str(json_object_get(r->args, "definition"), "name", "");
	json_t *who = event_who(&r->peer);
	json_t *data = str_starts(c->name, "roost-image-")
			       ? event_image(json_get_str(r->args, "image", NULL), c->name, who)
		       : str_starts(c->name, "roost-net-")
			       ? event_network(name_of_network(r->args), c->name, who)
			       : event_command(name, c->name, who);
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND", data);
	event_log_append(state, event);
}

/* One changing operation per guest: what is being made or taken apart is neither started nor changed. */
static int check_stays(const struct supervisor *s, const char *name, struct err *err)
{
	struct err none = ERR_INIT;
	const char *what = worker_changes(s, name);
	_cleanup_close_ int dir = what ? -1 : guest_dir_open(name, &none);
	if (!what) /* nor by who outlives a former roostd */
		return dir < 0 ? 0 : claim_check(dir, name, err);
	err_set(err, ERR_BUSY, "guest '%s' is busy: it is being %s", name, what);
	return err_hint(err, "try again when it is done");
}

static int look_commands(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)self, (void)args, (void)r, (void)err;
	*ret = command_list(supervisor_commands);
	return 0;
}

static int define(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *name = json_get_str(json_object_get(args, "definition"), "name", "");
	(void)ret;
	if (may_change(self, r, err) < 0 || check_stays(self, name, err) < 0)
		return -1;
	json_object_set_new(r->args, "by", event_who(&r->peer));
	return worker_start(self, op_define, r, err) < 0 ? -1 : 1;
}

static int look_capabilities(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)ret;
	return worker_start(self, op_capabilities, r, err) < 0 ? -1 : 1;
}

/* For what is done to guests that do not run; one that has just ended is waited for. */
static int work_when_off(
	struct supervisor *s, const char *name, worker_fn *work, struct request *r, struct err *err)
{
	struct keeper *k = keeper_find(s, name);
	if (k && keeper_follow(k, r))
		return 1;
	if (k) {
		err_set(err, ERR_REFUSED, "guest '%s' is running", name);
		return err_hint(err, "`roost destroy %s` or `roost shutdown %s` first", name, name);
	}
	json_object_set_new(r->args, "by", event_who(&r->peer));
	return worker_start(s, work, r, err) < 0 ? -1 : 1;
}

/* doctor, gc: the one looks, the other removes, too */
static int look_round(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	json_object_set_new(r->args, "remove", json_boolean(str_eq(r->command, "roost-gc")));
	return worker_start(self, op_doctor, r, err) < 0 ? -1 : 1;
}

static int undefine(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	if (may_change(self, r, err) < 0 || check_stays(self, name, err) < 0)
		return -1;
	struct keeper *k = json_get_bool(args, "running", false) ? keeper_find(self, name) : NULL;
	if (!k)
		return work_when_off(self, name, op_undefine, r, err);
	if (keeper_follow(k, r))
		return 1;
	if (undefine_mark(args, ret, err) < 0)
		return -1;
	server_event(((struct supervisor *)self)->server,
		event_new("ROOST_UNDEFINED",
			json_pack("{s:s, s:s}", "guest", name, "how", "removed")));
	return 0;
}

/* What makes a guest of another name out of one: it gets that name, or a clone has it. */
static int to_new_name(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	worker_fn *work = str_eq(r->command, "roost-clone") ? op_clone : op_rename;
	(void)ret;
	if (may_change(self, r, err) < 0 || check_stays(self, name, err) < 0 ||
		check_stays(self, json_get_str(args, "new-name", ""), err) < 0)
		return -1;
	if (json_object_get(args, "layers")) { /* its keeper has seen to that */
		json_object_set_new(r->args, "by", event_who(&r->peer));
		return worker_start(self, work, r, err) < 0 ? -1 : 1;
	}
	return work_when_off(self, name, work, r, err);
}

static int cancel(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *image = json_get_str(args, "image", NULL),
		   *name = image ? image : json_get_str(args, "name", NULL),
		   *kind = image ? "image" : "guest";
	if (may_change(self, r, err) < 0)
		return -1;
	if (!name)
		return err_set(err, ERR_USAGE, "nothing is named");
	const char *what = worker_cancel(self, kind, name);
	if (!what)
		return err_set(err, ERR_REFUSED,
			"nothing is at work on %s '%s' that could be cancelled", kind, name);
	*ret = json_pack("{s:s}", "operation", what);
	return 0;
}

static int change_image(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	json_object_set_new(r->args, "command", json_string(r->command));
	return worker_start(self, op_image_change, r, err) < 0 ? -1 : 1;
}

/* What needs nothing but a worker. */
static int plain_work(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	static const struct {
		const char *command;
		worker_fn *work;
	} works[] = {
		{"roost-net-define", op_network_define},
		{"roost-net-undefine", op_network_undefine},
		{"roost-net-start", op_network_start},
		{"roost-net-destroy", op_network_destroy},
		{"roost-net-autostart", op_network_autostart},
		{"roost-net-host", op_network_host},
		{"roost-net-publish", op_network_publish},
		{"roost-df", op_df},
		{"roost-disk-size", op_disk_size},
		{"roost-file-look", op_file_look},
		{"roost-image-unrecorded", op_image_unrecorded},
		{"roost-nic-issue", op_nic_issue},
		{"roost-nic-release", op_nic_release},
		{"roost-host-key", op_host_key},
	};
	size_t i = 0;
	(void)args, (void)ret;
	while (!str_eq(works[i].command, r->command))
		i++;
	if (may_change(self, r, err) < 0)
		return -1;
	json_object_set_new(r->args, "by", event_who(&r->peer));
	return worker_start(self, works[i].work, r, err) < 0 ? -1 : 1;
}

/* What is done to a guest, or to its disks, while it does not run. */
static int work_off(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	static const struct {
		const char *command;
		worker_fn *work;
	} works[] = {
		{"roost-template", op_template},
		{"roost-sysprep", op_sysprep},
		{"roost-blockpull", op_blockpull_off},
		{"roost-blockcommit", op_blockcommit_off},
		{"roost-snapshot-create", op_snapshot_create},
		{"roost-snapshot-revert", op_snapshot_revert},
		{"roost-snapshot-tidy", op_snapshot_tidy},
		{"roost-snapshot-delete", op_snapshot_delete},
	};
	const char *name = json_get_str(args, "name", "");
	size_t i = 0;
	(void)ret;
	while (!str_eq(works[i].command, r->command))
		i++;
	if (may_change(self, r, err) < 0 || check_stays(self, name, err) < 0)
		return -1;
	return work_when_off(self, name, works[i].work, r, err);
}

/* The guest may run, or have ended just now. */
static int commit_record(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	if (may_change(self, r, err) < 0 ||
		check_stays(self, json_get_str(args, "name", ""), err) < 0)
		return -1;
	return worker_start(self, op_commit_record, r, err) < 0 ? -1 : 1;
}

/* What a member of the group may not do himself. Another worker may be at the guest: keepers and roostd see to that. */
static int managed(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	static const struct {
		const char *command;
		worker_fn *work;
	} works[] = {
		{"roost-managed-save", op_managed_save},
		{"roost-managed-snapshot", op_managed_snapshot},
		{"roost-managed-check", op_managed_check},
		{"roost-managed-start", op_managed_start},
		{"roost-managed-remove", op_managed_remove},
	};
	size_t i = 0;
	while (!str_eq(works[i].command, r->command))
		i++;
	(void)args, (void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	json_object_set_new(r->args, "by", event_who(&r->peer));
	return worker_start(self, works[i].work, r, err) < 0 ? -1 : 1;
}

/* Of one that was committed when it ran: nobody is at it any more, and its record is put right. */
static void settle_commit(struct supervisor *s, struct definition *d)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = keeper_find(s, d->name) ? -1 : guest_dir_open(d->name, &ignored);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : record_look(dir, &ignored);
	if (!committed_is_open(record))
		return;
	committed_unmark(d);
	record_write(dir, d, &ignored);
}

static int start(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	(void)ret;
	if (may_change(self, r, err) < 0 || check_stays(self, name, err) < 0)
		return -1;
	struct definition *d = record_read(name, err);
	if (!d)
		return -1;
	settle_commit(self, d);
	if (d->issued.template) {
		definition_free(d);
		err_set(err, ERR_REFUSED, "guest '%s' is a template, which never runs", name);
		return err_hint(err,
			"`roost clone %s NAME` makes a guest of it; `roost template --undo %s` makes it one again",
			name, name);
	}
	/* a clone's first: run again when that is done, with what is to be said of it */
	bool renew = d->issued.renew[0] && !json_object_get(args, "restore") &&
		     !json_object_get(args, "identity-said") && !keeper_find(self, name);
	int result =
		renew ? worker_start(self, op_renew, r, err) : keeper_start(self, d, args, r, err);
	definition_free(d);
	return result < 0 ? -1 : 1;
}

/* The answer comes when a keeper serves the guest; `again` replaces one that does not answer. */
static int attend(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", ""), *id = json_get_str(args, "id", "");
	(void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	if (name_check(name, "guest", err) < 0 || name_check(id, "id", err) < 0)
		return err_set(err, ERR_USAGE, "no such guest");
	struct keeper *k = keeper_adopt(self, name, id, err);
	if (!k)
		return -1;
	if (json_get_bool(args, "again", false)) {
		if (keeper_kill(k, err) < 0)
			return -1;
		k->served = false;
		k->failures = 0;
		k->retry_at = 0;
	} else if (keeper_serves(k)) {
		return 0;
	} else if (keeper_want(k, err) < 0) {
		return -1;
	}
	struct waiting *w = xcalloc(1, sizeof(*w));
	*w = (struct waiting){.next = k->attenders, .request = r};
	k->attenders = w;
	return 1;
}

static int stay(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct supervisor *s = self;
	(void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	s->stays = json_get_bool(args, "stay", true);
	return 0;
}

/* A keeper answers before it has ended; what it leaves in $RUN goes after that. */
static int settle(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	(void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	struct keeper *k = keeper_find(self, name);
	return k && keeper_follow(k, r) ? 1 : 0;
}

static int changing(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)err;
	*ret = workers_guests(self);
	return 0;
}

static int quit(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct supervisor *s = self;
	(void)args, (void)ret;
	if (may_change(self, r, err) < 0)
		return -1;
	s->quit = true;
	return 0;
}

#define NETWORK                                                                                    \
	{                                                                                          \
		"network", ARG_STR, false, "its name"                                              \
	}

const struct command supervisor_commands[] = {
	{"query-commands", "Lists what this socket understands.", NULL, CMD_QUICK, look_commands},
	{"roost-define", "Makes or changes a guest; it need not run.",
		ARGS({"definition", ARG_OBJECT, false, "as guest.json holds it"},
			{"change", ARG_BOOL, true, "only of one that is there"},
			{"rebased", ARG_BOOL, true,
				"record anew what its disks stand on, whatever was recorded"},
			{"new", ARG_BOOL, true, "not if a guest of that name is there"},
			{"files", ARG_ARRAY, true,
				"what a new one begins with, in open files that come along: a blank disk's target, 'vars', 'host_key' or 'tpm' for each of them, or for a part of one 'what', 'file' (its number), 'offset' and 'size'"}),
		CMD_CHANGING, define},
	{"roost-undefine", "Forgets a guest that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"remove-storage", ARG_BOOL, true,
				"delete the disks that roost made for it"},
			{"remove-nvram", ARG_BOOL, true,
				"delete its variables of UEFI; default: as its disks"},
			{"remove-tpm", ARG_BOOL, true,
				"delete the state of its TPM; default: as its disks"},
			{"managed-save", ARG_BOOL, true, "give up what managedsave has saved"},
			{"snapshots-metadata", ARG_BOOL, true, "forget its snapshots"},
			{"running", ARG_BOOL, true,
				"one that runs, too: it goes on, and is forgotten when it ends"}),
		CMD_CHANGING, undefine},
	{"roost-rename", "Gives another name to a guest that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"new-name", ARG_STR, false, "which no other guest has"}),
		CMD_CHANGING, to_new_name},
	{"roost-snapshot-create", "Makes a snapshot of a guest that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"snapshot", ARG_STR, false, "what it is called"},
			{"description", ARG_STR, true, "for people"}),
		CMD_CHANGING, work_off},
	{"roost-snapshot-revert", "Brings back the disks of a guest that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"snapshot", ARG_STR, false, "which one"}),
		CMD_CHANGING, work_off},
	{"roost-snapshot-tidy",
		"Merges and removes what no snapshot needs, of a guest that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"target", ARG_STR, true, "of this disk alone"}),
		CMD_CHANGING, work_off},
	{"roost-snapshot-delete", "Removes snapshots of a guest that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"snapshot", ARG_STR, false, "which one"},
			{"children", ARG_STR, true, "'too', or 'only': those that stand on it"}),
		CMD_CHANGING, work_off},
	{"roost-clone", "Makes another guest of one.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"new-name", ARG_STR, false, "which no guest has"},
			{"layers", ARG_OBJECT, true,
				"of a guest that runs: what roost-freeze-disks has told"},
			{"full", ARG_BOOL, true, "copy all disks; the two share nothing"},
			{"files", ARG_ARRAY, true,
				"the same, into these new files, which come opened, one for each disk"},
			{"as-is", ARG_BOOL, true, "the files are there, and its disks as they are"},
			{"reflink", ARG_BOOL, true, "the files share the original's blocks"},
			{"preallocate", ARG_BOOL, true, "the files get all their room at once"},
			{"shared", ARG_ARRAY, true,
				"targets of disks of the user's own that both have"},
			{"uuid", ARG_STR, true, "the clone's"},
			{"macs", ARG_ARRAY, true, "of its interfaces, in their order"},
			{"keep-identity", ARG_BOOL, true,
				"its system keeps the original's machine-id and host keys"}),
		CMD_CHANGING, to_new_name},
	{"roost-cancel",
		"Cancels the making of a clone, or of a guest from a backup, the import of an image, a disk's being made to stand alone, or the merging of its layers.",
		ARGS({"name", ARG_STR, true, "what the guest is, or was to be, called"},
			{"image", ARG_STR, true, "what the image was to be called"}),
		CMD_QUICK, cancel},
	{"roost-sysprep", "Removes from the disks of a guest that does not run what makes it one.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"operations", ARG_ARRAY, false, "what is done, by name"},
			{"boot", ARG_BOOL, true, "by booting it, not offline"},
			{"scripts", ARG_ARRAY, true,
				"to be run before, which boots it: {\"name\", \"text\"}, in this order"},
			{"copy-in", ARG_ARRAY, true,
				"folders in it, for files whose stream (sysprep_stream.h) comes along"},
			{"delete", ARG_ARRAY, true, "patterns of files that are removed, too"},
			{"dry-run", ARG_BOOL, true, "tell what would be done, and change nothing"}),
		CMD_CHANGING, work_off},
	{"roost-blockpull", "Makes a disk of a guest that does not run stand alone.",
		ARGS({"name", ARG_STR, false, "the guest"}, {"target", ARG_STR, false, "the disk"}),
		CMD_CHANGING, work_off},
	{"roost-blockcommit",
		"Commits a disk of a guest that does not run, a chain of files, into one of those, which comes along.",
		ARGS({"name", ARG_STR, false, "the guest"}, {"target", ARG_STR, false, "the disk"},
			{"base", ARG_STR, false, "that file"},
			{"from", ARG_STR, true, "the uppermost; what is above comes along"}),
		CMD_CHANGING, work_off},
	{"roost-commit-record",
		"Records that a running guest's disk is to be committed into a file below, or that none is.",
		ARGS({"name", ARG_STR, false, "the guest"}, {"target", ARG_STR, true, "the disk"},
			{"base", ARG_STR, true, "that file; without: the records are put right"},
			{"above", ARG_INT, true, "how many files stay above those"}),
		CMD_CHANGING, commit_record},
	{"roost-host-key", "Records the SSH host key that a guest is known by from now on.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"key", ARG_STR, false, "public: TYPE BASE64"},
			{"instead", ARG_STR, true, "what it is known by; default: none"}),
		CMD_CHANGING, plain_work},
	{"roost-template",
		"Makes a template of a guest that does not run, or a guest of a template.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"undo", ARG_BOOL, true, "it may run again"}),
		CMD_CHANGING, work_off},
	{"roost-image-import", "Takes an image, whose open file comes along, into the store.",
		ARGS({"image", ARG_STR, false, "its name there"},
			{"file", ARG_STR, true, "what errors call that file"},
			{"format", ARG_STR, true, "qcow2 or raw; default: by its content"},
			{"convert", ARG_BOOL, true, "from VMDK, VHD, VHDX or VDI"},
			{"digest", ARG_STR, true, "that it must have"},
			{"facts", ARG_OBJECT, true, "what else image.json is to hold of it"}),
		CMD_CHANGING, change_image},
	{"roost-image-rm", "Removes an image that nothing stands on from the store.",
		ARGS({"image", ARG_STR, false, "its name"}), CMD_CHANGING, change_image},
	{"roost-image-tag", "Gives an image of the store a second name.",
		ARGS({"image", ARG_STR, false, "its name"},
			{"tag", ARG_STR, false, "the second one"},
			{"remove", ARG_BOOL, true, "takes it away"}),
		CMD_CHANGING, change_image},
	{"roost-image-gc", "Removes from the store what nobody stands on.", NULL, CMD_CHANGING,
		change_image},
	{"roost-image-verify", "Looks whether an image of the store still has its digest.",
		ARGS({"image", ARG_STR, false, "its name"}), CMD_QUICK, change_image},
	{"roost-image-unrecorded",
		"Lists the disks of guests that no record tells, and what they stand on.", NULL,
		CMD_QUICK, plain_work},
	{"roost-net-define", "Makes or changes a network.",
		ARGS({"definition", ARG_OBJECT, false,
			     "as its record holds it; what may be left out is chosen"},
			{"new", ARG_BOOL, true, "not if a network of that name is there"}),
		CMD_CHANGING, plain_work},
	{"roost-net-undefine", "Forgets a network that is not active and that no guest uses.",
		ARGS(NETWORK), CMD_CHANGING, plain_work},
	{"roost-net-start", "Starts a network; the answer comes when guests may join it.",
		ARGS(NETWORK), CMD_CHANGING, plain_work},
	{"roost-net-destroy", "Ends a network; guests that run lose it.", ARGS(NETWORK),
		CMD_CHANGING, plain_work},
	{"roost-net-autostart", "Has a network started when the host boots, or no longer.",
		ARGS(NETWORK, {"autostart", ARG_BOOL, true, "default true"}), CMD_CHANGING,
		plain_work},
	{"roost-net-host", "Gives a name and an address to a host on a network that is no guest.",
		ARGS(NETWORK, {"mac", ARG_STR, true, "its MAC address"},
			{"name", ARG_STR, true, "its name; default: made of the MAC address"},
			{"address", ARG_STR, true, "the address; default: a free one"},
			{"remove", ARG_BOOL, true, "takes both away; mac or name tell which"}),
		CMD_CHANGING, plain_work},
	{"roost-net-publish", "Leads a port of the host to a guest that runs, until it ends.",
		ARGS(NETWORK, {"guest", ARG_STR, false, "which one"},
			{"port", ARG_STR, false, "[ADDRESS:][PORT:]GUEST_PORT[/tcp|/udp]"},
			{"remove", ARG_BOOL, true, "no longer"}),
		CMD_CHANGING, plain_work},
	{"roost-managed-save", "Saves a guest into its folder and ends it, as `roost managedsave`.",
		ARGS({"name", ARG_STR, false, "the guest"}), CMD_CHANGING, managed},
	{"roost-managed-snapshot", "Makes a snapshot of a guest, with its RAM in its folder.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"snapshot", ARG_STR, false, "what it is called"},
			{"description", ARG_STR, true, "for people"},
			{"plugged", ARG_ARRAY, true,
				"targets of disks that were plugged, and are in its definition"}),
		CMD_CHANGING, managed},
	{"roost-managed-check", "Looks whether the RAM of a guest's snapshot is there, and sound.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"file", ARG_STR, false, "where it is"}),
		CMD_QUICK, managed},
	{"roost-managed-start", "Starts a guest from what was saved in its folder.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"paused", ARG_BOOL, true, "leave the CPUs stopped"},
			{"fallback-tcg", ARG_BOOL, true, "TCG where KVM is asked for in vain"}),
		CMD_CHANGING, managed},
	{"roost-managed-remove", "Gives up what was saved in a guest's folder.",
		ARGS({"name", ARG_STR, false, "the guest"}), CMD_CHANGING, managed},
	{"roost-start", "Starts a guest; the answer comes when its CPUs run.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"paused", ARG_BOOL, true, "leave the CPUs stopped"},
			{"fallback-tcg", ARG_BOOL, true, "TCG where KVM is asked for in vain"},
			{"restore", ARG_OBJECT, true,
				"go on from what was saved: the file's facts; the file and plugged disks come along"},
			{"install", ARG_OBJECT, true,
				"this time with an installer: {\"medium\": PATH, \"kernel\", \"initrd\": BOOL, \"cmdline\": TEXT, \"noreboot\": BOOL}; the files come along"},
			{"force-boot", ARG_BOOL, true, "what was saved is given up"},
			{"identity-said", ARG_STR, true, "for roostd itself"}),
		CMD_CHANGING, start},
	{"roost-attend", "Makes sure that a keeper serves a running guest.",
		ARGS({"name", ARG_STR, false, "the guest"}, {"id", ARG_STR, false, "its id"},
			{"again", ARG_BOOL, true, "replace a keeper that does not answer"}),
		CMD_QUICK, attend},
	{"roost-capabilities", "Tells what the installed QEMU can do.", NULL, CMD_QUICK,
		look_capabilities},
	{"roost-disk-size", "Tells how large a disk of a guest is that does not run.",
		ARGS({"name", ARG_STR, false, "the guest"}, {"target", ARG_STR, false, "the disk"}),
		CMD_QUICK, plain_work},
	{"roost-file-look", "Tells what a disk's file is that a member may not read himself.",
		ARGS({"path", ARG_STR, false, "the file"},
			{"format", ARG_STR, true, "qcow2 or raw; default: by its content"}),
		CMD_QUICK, plain_work},
	{"roost-df", "Tells how full the file systems of a guest are, by its disks.",
		ARGS({"name", ARG_STR, false, "the guest"}), CMD_QUICK, plain_work},
	{"roost-nic-issue",
		"Issues an address to an interface that is about to be plugged, and starts its network.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"interface", ARG_OBJECT, false, "as in guest.json"},
			{"index", ARG_INT, true, "which one it will be"}),
		CMD_CHANGING, plain_work},
	{"roost-nic-release",
		"Gives back the addresses of interfaces that were plugged, and are no longer.",
		ARGS({"name", ARG_STR, false, "the guest"},
			{"interfaces", ARG_ARRAY, false, "of each \"network\" and \"mac\""}),
		CMD_CHANGING, plain_work},
	{"roost-doctor", "Compares what the records tell with what is there.", NULL, CMD_QUICK,
		look_round},
	{"roost-gc", "Removes what nobody owns any more.", NULL, CMD_CHANGING, look_round},
	{"roost-stay",
		"Says that the supervisor does not end when it is idle, or that it does again.",
		ARGS({"stay", ARG_BOOL, true, "default true"}), CMD_QUICK, stay},
	{"roost-settle", "Answers when nothing is left in $RUN of a guest that has ended.",
		ARGS({"name", ARG_STR, false, "the guest"}), CMD_QUICK, settle},
	{"roost-changing", "Names the guests that are just being made or changed.", NULL, CMD_QUICK,
		changing},
	{"roost-quit", "Ends the supervisor; guests and their keepers go on.", NULL, CMD_QUICK,
		quit},
	{0},
};
