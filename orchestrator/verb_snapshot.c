/* snapshot-create-as, snapshot-list, snapshot-info, snapshot-current, snapshot-revert, snapshot-delete. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/connect.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/long_call.h"
#include "orchestrator/look.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/save_file.h"
#include "orchestrator/saved.h"
#include "orchestrator/saving.h"
#include "orchestrator/guest_text.h"
#include "orchestrator/snapshots.h"
#include "orchestrator/table.h"
#include "orchestrator/uplinks.h"

/* The guest of the first operand, and the record of its snapshots. */
static json_t *look(const struct cli *cli, struct found *f, struct err *err)
{
	if (guest_find(cli->operands[0], f, err) < 0)
		return NULL;
	_cleanup_close_ int dir = guest_dir_open(f->name, err);
	json_t *record = dir < 0 ? NULL : snapshots_read(dir, err);
	text_lines(record); /* it is the keeper's */
	return record;
}

/* The second operand, or --current. */
static const char *named(
	const struct cli *cli, const struct found *f, const json_t *record, struct err *err)
{
	const char *name = cli->count > 1 ? cli->operands[1] : NULL;
	if (name && cli_flag(cli, "current"))
		err_set(err, ERR_USAGE, "a snapshot's name or --current, not both");
	else if (name)
		return name;
	else if (!cli_flag(cli, "current"))
		err_set(err, ERR_USAGE, "a snapshot's name or --current is wanted");
	else if (!(name = json_get_str(record, "current", NULL)))
		err_set(err, ERR_NOT_FOUND, "guest '%s' has no current snapshot", f->name);
	else
		return name;
	return NULL;
}

static int told(const struct cli *cli, const char *format, const char *snapshot, const char *guest,
	json_t *reply)
{
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s}", "name", snapshot, "guest", guest));
	else
		printf(format, snapshot, guest);
	json_decref(reply);
	return 0;
}

/* ---- create ------------------------------------------------------------------------------------------ */

/* Its file lies in the guest's own folder, where a member of the group may not write: roostd does it for him. */
static int keep_memory(const struct cli *cli, const struct found *f, json_t *args, struct err *err)
{
	_cleanup_json_ json_t *owned = args;
	uint64_t size;
	if (cli_flag(cli, "quiesce")) {
		err_set(err, ERR_USAGE,
			"snapshot-create-as: --quiesce is for --disk-only: with its RAM nothing is half written");
		return err_hint(err, "add --disk-only, or leave --quiesce out");
	}
	if (saved_is_for_root()) {
		json_object_del(args, "quiesce");
		json_object_del(args, "memory");
		json_object_set_new(args, "name", json_string(f->name));
		return supervisor_call("roost-managed-snapshot", json_incref(owned), NULL, err);
	}
	_cleanup_free_ char *path = saved_memory_path(f->name, "memory.save", err);
	return path ? saving_run(
			      f, "roost-snapshot", json_incref(owned), path, cli->json, &size, err)
		    : -1;
}

/* One that was plugged: in the definition it may be already. 1: it is now. */
static int stay(struct definition *d, const json_t *entry, struct err *err)
{
	const char *target = json_get_str(entry, "target", "");
	const struct disk_def *there = definition_disk(d, target);
	if (there && there->source == DISK_PATH && !there->readonly &&
		str_eq(there->path, json_get_str(entry, "path", NULL)))
		return 0;
	if (there)
		return err_set(err, ERR_REFUSED,
			"disk '%s' of guest '%s' is another one at its next start than was plugged",
			target, d->name);
	if (d->disk_count == DISKS_MAX)
		return err_set(
			err, ERR_REFUSED, "guest '%s' has %d disks already", d->name, DISKS_MAX);
	_cleanup_json_ json_t *disk = disk_of_plugged(entry);
	if (disk_from_json(disk, &d->disks[d->disk_count], err) < 0)
		return err_prefix(err, "disk '%s'", target);
	d->disk_count++;
	return 1;
}

/*
 * A snapshot holds what was plugged, too, as virsh's does. To come back to it the guest must have those disks: they are
 * in its definition from now on. `plugged` gets their targets, `added` of those that were not.
 */
static int keep_plugged(const struct found *f, json_t *plugged, json_t *added, struct err *err)
{
	_cleanup_json_ json_t *live = look_plugged(f);
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	size_t i;
	json_t *entry;
	if (!d)
		return -1;
	json_array_foreach (live, i, entry) {
		if (!str_eq(json_get_str(entry, "kind", ""), "disk") ||
			json_get_bool(entry, "readonly", false) ||
			json_get_bool(entry, "unplugging", false))
			continue;
		int is_new = stay(d, entry, err);
		if (is_new < 0)
			return -1;
		json_array_append(plugged, json_object_get(entry, "target"));
		if (is_new)
			json_array_append(added, json_object_get(entry, "target"));
	}
	if (!json_array_size(added))
		return 0;
	return supervisor_call(
		"roost-define", json_pack("{s:o}", "definition", definition_to_json(d)), NULL, err);
}

/* There is no snapshot of them. */
static void drop_plugged(const struct found *f, const json_t *added)
{
	struct err ignored = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(f->name, &ignored);
	size_t i;
	json_t *target;
	json_array_foreach (added, i, target)
		if (d)
			definition_drop_disk(d, definition_disk(d, json_string_value(target)));
	if (d && i)
		supervisor_call("roost-define",
			json_pack("{s:o}", "definition", definition_to_json(d)), NULL, &ignored);
}

static int create_running(const struct cli *cli, const struct found *f, const char *name,
	const char *description, struct err *err)
{
	json_t *reply = NULL, *target;
	size_t i;
	bool memory = !cli_flag(cli, "disk-only"), quiesce = cli_flag(cli, "quiesce");
	_cleanup_json_ json_t *plugged = json_array(), *added = json_array();
	_cleanup_close_ int dir = guest_dir_open(f->name, err);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, err);
	if (!record || snapshots_check_name(record, f->name, name, err) < 0 ||
		keep_plugged(f, plugged, added, err) < 0)
		return -1;
	json_t *args = json_pack("{s:s, s:s*, s:b, s:b, s:O}", "snapshot", name, "description",
		description, "quiesce", quiesce, "memory", memory, "plugged", plugged);
	int result = memory ? keep_memory(cli, f, args, err)
			    : guest_call(f->name, "roost-snapshot", args, &reply, err);
	if (result < 0) {
		drop_plugged(f, added);
		return -1;
	}
	json_array_foreach (added, i, target)
		fprintf(stderr,
			"roost: disk '%s', which was plugged, is the guest's from now on: it has a snapshot\n",
			json_string_value(target));
	return told(cli, "Snapshot '%s' of guest '%s' created\n", name, f->name, reply);
}

/* An operand, or the option of that name; not both. */
static int one_of(
	const struct cli *cli, int operand, const char *option, const char **out, struct err *err)
{
	const char *value = cli_value(cli, option, NULL);
	bool given = cli->count > operand;
	if (given && value)
		return err_set(err, ERR_USAGE, "snapshot-create-as: '%s' or --%s, not both",
			cli->operands[operand], option);
	if (given || value)
		*out = given ? cli->operands[operand] : value;
	return 0;
}

static int run_create(const struct cli *cli, struct err *err)
{
	struct found f;
	char now[24];
	json_t *reply = NULL;
	const char *name = now, *description = NULL;
	snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
	if (one_of(cli, 1, "name", &name, err) < 0 ||
		one_of(cli, 2, "description", &description, err) < 0 ||
		guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	if (guest_runs(&f))
		return create_running(cli, &f, name, description, err);
	if (supervisor_call("roost-snapshot-create",
		    json_pack("{s:s, s:s, s:s*}", "name", f.name, "snapshot", name, "description",
			    description),
		    &reply, err) < 0)
		return -1;
	start_tell(reply);
	return told(cli, "Snapshot '%s' of guest '%s' created\n", name, f.name, reply);
}

/* ---- list -------------------------------------------------------------------------------------------- */

static void stamp(const json_t *snapshot, char out[40])
{
	struct tm local;
	time_t when = (time_t)json_get_int(snapshot, "created", 0);
	strftime(out, 40, "%Y-%m-%d %H:%M:%S %z", localtime_r(&when, &local));
}

static void print_table(const json_t *list, bool parents)
{
	_cleanup_json_ json_t *rows = json_array();
	size_t i;
	json_t *s;
	if (parents)
		table_row(rows, "Name", "Creation Time", "State", "Parent");
	else
		table_row(rows, "Name", "Creation Time", "State");
	json_array_foreach (list, i, s) {
		char when[40];
		stamp(s, when);
		const char *name = json_get_str(s, "name", ""),
			   *state = json_get_str(s, "state", "");
		if (parents)
			table_row(rows, name, when, state, json_get_str(s, "parent", ""));
		else
			table_row(rows, name, when, state);
	}
	table_print(rows);
}

static bool is_child(const json_t *snapshot, const char *parent)
{
	return str_eq(json_get_str(snapshot, "parent", NULL), parent);
}

/* Those under `parent`, and how many there are, as virsh draws them: each line behind `before`, one without a word at the end. */
static size_t print_tree(const json_t *list, const char *parent, const char *before)
{
	size_t i, left = 0;
	json_t *s;
	json_array_foreach (list, i, s)
		left += is_child(s, parent);
	size_t count = left;
	if (count && parent)
		printf("%s  |\n", before);
	json_array_foreach (list, i, s) {
		const char *name = json_get_str(s, "name", "");
		if (!is_child(s, parent))
			continue;
		left--;
		_cleanup_free_ char *below =
			parent ? str_fmt("%s  %s", before, left ? "| " : "  ") : xstrdup("");
		printf("%s%s%s\n", before, parent ? "  +- " : "", name);
		if (!print_tree(list, name, below) && (!left || !parent))
			printf("%s\n", below);
	}
	return count;
}

static size_t count_under(const json_t *list, const char *parent, bool all)
{
	size_t i, count = 0;
	json_t *s;
	json_array_foreach (list, i, s)
		if (is_child(s, parent))
			count +=
				1 + (all ? count_under(list, json_get_str(s, "name", ""), all) : 0);
	return count;
}

/* Those that are asked for, with a word about which is the current one; owned by the caller. */
static json_t *choose(const struct cli *cli, const json_t *record)
{
	const json_t *all = json_object_get(record, "snapshots");
	json_t *chosen = json_array(), *s;
	size_t i;
	json_array_foreach (all, i, s) {
		const char *name = json_get_str(s, "name", "");
		if ((cli_flag(cli, "roots") && json_get_str(s, "parent", NULL)) ||
			(cli_flag(cli, "leaves") && count_under(all, name, false)))
			continue;
		json_object_set_new(s, "current",
			json_boolean(str_eq(name, json_get_str(record, "current", NULL))));
		json_array_append(chosen, s);
	}
	return chosen;
}

static int run_list(const struct cli *cli, struct err *err)
{
	struct found f;
	if (cli_flag(cli, "tree") && (cli_flag(cli, "roots") || cli_flag(cli, "leaves")))
		return err_set(err, ERR_USAGE, "snapshot-list: --tree is of all of them");
	_cleanup_json_ json_t *record = look(cli, &f, err);
	if (!record)
		return -1;
	_cleanup_json_ json_t *list = choose(cli, record);
	json_t *s;
	size_t i;
	if (cli->json)
		cli_print_json(json_incref(list));
	else if (cli_flag(cli, "tree"))
		print_tree(list, NULL, "");
	else if (cli_flag(cli, "name"))
		json_array_foreach (list, i, s)
			puts(json_get_str(s, "name", ""));
	else
		print_table(list, cli_flag(cli, "parent"));
	return 0;
}

/* ---- info, current ----------------------------------------------------------------------------------- */

static int run_info(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_json_ json_t *record = look(cli, &f, err);
	const char *name = record ? named(cli, &f, record, err) : NULL, *target;
	json_t *s = name ? snapshots_get(record, f.name, name, err) : NULL, *layer;
	const json_t *list = json_object_get(record, "snapshots");
	char when[40];
	if (!s)
		return -1;
	bool current = str_eq(json_get_str(record, "current", NULL), name);
	size_t children = count_under(list, name, false), all = count_under(list, name, true);
	if (cli->json) {
		json_object_update_new(
			s, json_pack("{s:b, s:I, s:I}", "current", current, "children",
				   (json_int_t)children, "descendants", (json_int_t)all));
		cli_print_json(json_incref(s));
		return 0;
	}
	stamp(s, when);
	printf("Name:           %s\nGuest:          %s\nCurrent:        %s\nState:          %s\n"
	       "Created:        %s\nLocation:       external\nParent:         %s\n"
	       "Children:       %zu\nDescendants:    %zu\nMemory:         %s\n",
		name, f.name, current ? "yes" : "no", json_get_str(s, "state", ""), when,
		json_get_str(s, "parent", "-"), children, all, json_get_str(s, "memory", "-"));
	json_object_foreach (json_object_get(s, "disks"), target, layer) {
		const char *file = json_string_value(layer);
		printf("Disk:           %s %s\n", target,
			file && file[0]
				? file
				: json_get_str(json_object_get(record, "bottoms"), target, "-"));
	}
	if (json_get_str(s, "description", NULL))
		printf("Description:    %s\n", json_get_str(s, "description", ""));
	return 0;
}

static int run_current(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_json_ json_t *record = look(cli, &f, err);
	const char *current = json_get_str(record, "current", NULL);
	if (!record)
		return -1;
	if (!current)
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no current snapshot", f.name);
	if (cli->json)
		cli_print_json(json_incref(snapshots_find(record, current)));
	else
		puts(current);
	return 0;
}

/* ---- revert, delete ---------------------------------------------------------------------------------- */

/* A guest that runs ends by it: only if that was asked for. */
static int revert_running(
	const struct cli *cli, const struct found *f, const char *name, struct err *err)
{
	json_t *reply = NULL;
	if (!cli_flag(cli, "force")) {
		err_set(err, ERR_REFUSED,
			"guest '%s' is running: what it has in its RAM, and all since '%s', would be lost",
			f->name, name);
		return err_hint(err, "`roost shutdown %s` first, or add --force", f->name);
	}
	if (guest_call(f->name, "roost-revert", json_pack("{s:s}", "snapshot", name), &reply, err) <
		0)
		return -1;
	json_decref(reply);
	return supervisor_call(
		"roost-snapshot-tidy", json_pack("{s:s}", "name", f->name), NULL, err);
}

static int revert(const struct cli *cli, const struct found *f, const char *name, struct err *err)
{
	if (guest_runs(f))
		return revert_running(cli, f, name, err);
	return supervisor_call("roost-snapshot-revert",
		json_pack("{s:s, s:s}", "name", f->name, "snapshot", name), NULL, err);
}

/* Is the snapshot's RAM there, and sound? Asked before the guest gives up anything. */
static int check_memory(const struct found *f, const json_t *snapshot, struct err *err)
{
	const char *memory = json_get_str(snapshot, "memory", NULL);
	if (!memory)
		return 0;
	return saved_is_for_root()
		       ? supervisor_call("roost-managed-check",
				 json_pack("{s:s, s:s}", "name", f->name, "file", memory), NULL,
				 err)
		       : saved_check_memory(f->name, memory, err);
}

/* As its CPUs did when its RAM was kept, unless something else is asked for; one of disks alone stays off. */
static int start_again(
	const struct cli *cli, const struct found *f, const json_t *snapshot, struct err *err)
{
	bool running = cli_flag(cli, "running"), paused = cli_flag(cli, "paused");
	_cleanup_saved_ struct saved s = {0};
	_cleanup_json_ json_t *reply = NULL;
	if (!json_get_str(snapshot, "memory", NULL))
		return running || paused ? supervisor_start(f->name, paused, &reply, err) : 0;
	paused = paused || (str_eq(json_get_str(snapshot, "state", ""), "paused") && !running);
	if (saved_is_for_root())
		return supervisor_start(f->name, paused, &reply, err);
	_cleanup_free_ char *path = saved_path(f->name, err);
	if (!path || saved_open(path, f->name, &s, err) < 0)
		return -1;
	return supervisor_start_from(f->name, paused ? START_PAUSED : 0, &s, &reply, err);
}

static int run_revert(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_json_ json_t *record = look(cli, &f, err);
	const char *name = record ? named(cli, &f, record, err) : NULL;
	const json_t *s = name ? snapshots_get(record, f.name, name, err) : NULL;
	if (!s)
		return -1;
	if (cli_flag(cli, "running") && cli_flag(cli, "paused"))
		return err_set(err, ERR_USAGE, "snapshot-revert: --running or --paused, not both");
	if (check_memory(&f, s, err) < 0)
		return err_prefix(err, "snapshot '%s'", name);
	if (revert(cli, &f, name, err) < 0)
		return -1;
	if (start_again(cli, &f, s, err) < 0)
		return err_prefix(
			err, "guest '%s' has gone back to '%s', and was not started", f.name, name);
	return told(cli, "Reverted to snapshot '%s' of guest '%s'\n", name, f.name, NULL);
}

static int run_delete(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	_cleanup_json_ json_t *record = look(cli, &f, err);
	const char *name = record ? named(cli, &f, record, err) : NULL;
	const char *children = cli_flag(cli, "children-only") ? "only"
			       : cli_flag(cli, "children")    ? "too"
							      : NULL;
	uint64_t speed;
	if (!name || long_call_speed(cli, &speed, err) < 0)
		return -1;
	json_t *args = json_pack("{s:s, s:s*}", "snapshot", name, "children", children);
	if (guest_runs(&f)) {
		json_object_set_new(args, "bytes-per-second", json_integer((json_int_t)speed));
		if (long_call(&f, "roost-snapshot-delete", args, NULL, 0, cli->json, &reply, err) <
			0)
			return -1;
		return told(cli, "Snapshot '%s' of guest '%s' deleted\n", name, f.name, reply);
	}
	json_object_set_new(args, "name", json_string(f.name));
	if (long_call_supervisor((struct long_about){"guest", f.name}, "roost-snapshot-delete",
		    args, NULL, 0, cli->json, &reply, err) < 0)
		return -1;
	return told(cli, "Snapshot '%s' of guest '%s' deleted\n", name, f.name, reply);
}

#define CURRENT                                                                                    \
	{                                                                                          \
		"current", NULL, 0, "the one that the guest goes on from"                          \
	}

const struct verb verb_snapshot_create_as = {"snapshot-create-as", "NAME [SNAPSHOT [DESCRIPTION]]",
	"Keeps a guest as it is, its RAM too if it runs, to come back to it later.", 1, 3, false,
	{{"disk-only", NULL, 0, "of a running guest: its disks, without its RAM"},
		{"quiesce", NULL, 0, "its agent freezes its file systems meanwhile"},
		{"atomic", NULL, 0, "all disks or none: always so"},
		{"name", "SNAPSHOT", 0, "the same as the second word"},
		{"description", "TEXT", 0, "the same as the third one"}},
	run_create, "roost snapshot-create-as web1 before-upgrade", GROUP_LIFE, GUESTS_ALL};
const struct verb verb_snapshot_list = {"snapshot-list", "NAME", "Lists a guest's snapshots.", 1, 1,
	false,
	{{"tree", NULL, 0, "which stands on which"}, {"name", NULL, 0, "only the names"},
		{"parent", NULL, 0, "and what each stands on"},
		{"roots", NULL, 0, "those that stand on none"},
		{"leaves", NULL, 0, "those on which none stands"}},
	run_list, "roost snapshot-list web1 --tree", GROUP_LIFE, GUESTS_ALL};
const struct verb verb_snapshot_info = {"snapshot-info", "NAME [SNAPSHOT]",
	"Tells about a snapshot of a guest.", 1, 2, false, {CURRENT}, run_info,
	"roost snapshot-info web1 --current", GROUP_LIFE, GUESTS_ALL};
const struct verb verb_snapshot_current = {"snapshot-current", "NAME",
	"Tells which snapshot a guest goes on from.", 1, 1, false,
	{{"name", NULL, 0, "its name alone: always so"}}, run_current,
	"roost snapshot-current web1", GROUP_LIFE, GUESTS_ALL};
const struct verb verb_snapshot_revert = {"snapshot-revert", "NAME [SNAPSHOT]",
	"Brings a guest back to what a snapshot has kept; what was written since is lost.", 1, 2,
	false,
	{CURRENT, {"running", NULL, 0, "start it then, or let it go on"},
		{"paused", NULL, 0, "the same, with its CPUs stopped"},
		{"force", NULL, 0, "although it is running: it ends first"}},
	run_revert, "roost snapshot-revert web1 before-upgrade", GROUP_LIFE, GUESTS_ALL};
const struct verb verb_snapshot_delete = {"snapshot-delete", "NAME [SNAPSHOT]",
	"Gives up a snapshot; the guest, and other snapshots, stay as they are.", 1, 2, false,
	{CURRENT, {"children", NULL, 0, "and all that stand on it"},
		{"children-only", NULL, 0, "only those that stand on it"},
		{"bandwidth", "SIZE", 0, "of a running guest: bytes per second, at most"}},
	run_delete, "roost snapshot-delete web1 before-upgrade", GROUP_LIFE, GUESTS_ALL};
