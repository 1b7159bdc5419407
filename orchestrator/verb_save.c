/* save, managedsave, managedsave-remove, restore. */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/backup_file.h"
#include "orchestrator/connect.h"
#include "orchestrator/logout.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/saved.h"
#include "orchestrator/saving.h"
#include "orchestrator/snapshots.h"
#include "orchestrator/uplinks.h"

/* `path`: NULL for a managed save. */
static void tell_saved(const struct found *f, const char *path)
{
	printf("Guest '%s' saved%s%s\n", f->name, path ? " to " : " by roost",
		path ? path : "; its next start goes on from there");
}

static int run(const struct cli *cli, const char *path, const struct found *f, struct err *err)
{
	uint64_t size = 0;
	bool managed = cli->count == 1;
	if (saving_run(f, "roost-save", json_pack("{s:b}", "managed", managed), path, cli->json,
		    &size, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:I}", "file", path, "size", (json_int_t)size));
	else
		tell_saved(f, managed ? NULL : path);
	return 0;
}

static int run_save(const struct cli *cli, struct err *err)
{
	struct found f;
	return guest_find(cli->operands[0], &f, err) < 0 ? -1 : run(cli, cli->operands[1], &f, err);
}

/* Where it lies a member of the group may not write: roostd does it for him. */
static int run_managedsave(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	if (!saved_is_for_root()) {
		_cleanup_free_ char *path = saved_managed_path(f.name, err);
		return path ? run(cli, path, &f, err) : -1;
	}
	if (supervisor_call("roost-managed-save", json_pack("{s:s}", "name", f.name), &reply, err) <
		0)
		return -1;
	if (cli->json)
		cli_print_json(reply);
	else
		tell_saved(&f, NULL), json_decref(reply);
	return 0;
}

static int remove_managed(const char *name, bool *was, struct err *err)
{
	json_t *reply = NULL;
	if (!saved_is_for_root())
		return saved_remove(name, was, err);
	if (supervisor_call("roost-managed-remove", json_pack("{s:s}", "name", name), &reply, err) <
		0)
		return -1;
	*was = json_get_bool(reply, "removed", false);
	json_decref(reply);
	return 0;
}

static int run_managedsave_remove(const struct cli *cli, struct err *err)
{
	struct found f;
	bool was;
	if (guest_find(cli->operands[0], &f, err) < 0 || remove_managed(f.name, &was, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:b}", "removed", was));
	else if (was)
		printf("Removed the managed save of guest '%s'\n", f.name);
	else
		printf("Guest '%s' has no managed save\n", f.name);
	return 0;
}

/* ---- restore ----------------------------------------------------------------------------------------- */

static int check_guest(const struct saved *s, struct found *f, struct err *err)
{
	const char *name = json_get_str(s->facts, "name", "");
	if (guest_find(name, f, err) < 0)
		return err->kind == ERR_NOT_FOUND
			       ? err_hint(err,
					 "define the guest '%s' first: the file holds its RAM, not its disks",
					 name)
			       : -1;
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d)
		return -1;
	if (str_eq(d->uuid, json_get_str(s->facts, "uuid", "")))
		return 0;
	return err_set(err, ERR_REFUSED,
		"the guest '%s' that is defined now is another one than was saved", name);
}

static int run_restore(const struct cli *cli, struct err *err)
{
	_cleanup_saved_ struct saved s = {0};
	struct found f;
	json_t *reply = NULL;
	const char *path = cli->operands[0];
	if (cli_flag(cli, "running") && cli_flag(cli, "paused"))
		return err_set(err, ERR_USAGE, "restore: --running or --paused, not both");
	if (backup_is(path))
		return restore_backup(cli, err);
	if (cli_flag(cli, "name"))
		return err_set(
			err, ERR_USAGE, "restore: --name is for a backup, and '%s' is none", path);
	if (saved_open(path, NULL, &s, err) < 0)
		return err->kind != ERR_USAGE
			       ? -1
			       : err_hint(err,
					 "it is neither that nor what `roost backup` has made");
	if (check_guest(&s, &f, err) < 0)
		return -1;
	bool paused = cli_flag(cli, "paused") ||
		      (json_get_bool(s.facts, "paused", false) && !cli_flag(cli, "running"));
	if (supervisor_start_from(f.name, paused ? START_PAUSED : 0, &s, &reply, err) < 0)
		return -1;
	logout_tell(&f);
	int64_t saved = json_get_int(s.facts, "saved", 0);
	if (!cli->json) {
		uplinks_tell(&f);
		json_decref(reply);
		return tell_restored(f.name, path, saved);
	}
	json_object_set_new(reply, "saved", json_integer(saved));
	cli_print_json(reply);
	return 0;
}

const struct verb verb_save = {"save", "NAME FILE",
	"Writes a guest's RAM and devices into a file, and ends it.", 2, 2, false, {{0}}, run_save,
	"roost save web1 web1.save", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_restore = {"restore", "FILE",
	"Lets a saved guest go on where it stood, or defines a guest from a backup.", 1, 1, false,
	{{"name", "NAME", 0,
		 "of a backup: the new guest's name; it is another one, with a new UUID"},
		{"running", NULL, 0, "let its CPUs go even if they stood still when it was saved"},
		{"paused", NULL, 0, "leave its CPUs stopped; `roost resume` lets them go"}},
	run_restore, "roost restore web1.save", GROUP_LIFE, GUESTS_STOPPED};
const struct verb verb_managedsave = {"managedsave", "NAME",
	"Saves a guest and ends it; its next start goes on from there.", 1, 1, false, {{0}},
	run_managedsave, "roost managedsave web1", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_managedsave_remove = {"managedsave-remove", "NAME",
	"Discards what managedsave has saved of a guest.", 1, 1, false, {{0}},
	run_managedsave_remove, "roost managedsave-remove web1", GROUP_LIFE, GUESTS_STOPPED};
