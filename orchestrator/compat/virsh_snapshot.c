/* virsh's commands on snapshots. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>

/* libvirt's word for what a snapshot has kept. */
static const char *state_of(const json_t *snapshot)
{
	const char *state = json_get_str(snapshot, "state", "");
	if (json_object_get(snapshot, "memory"))
		return str_eq(state, "paused") ? "paused" : "running";
	return str_eq(state, "shut off") ? "shutoff" : "disk-snapshot";
}

static int run_create(struct virsh *v)
{
	static const char *const same[] = {"disk-only", "quiesce", "atomic"};
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *answer = NULL;
	if (virsh_domain(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	words_option(&w, "name", virsh_text(v, "name"));
	words_option(&w, "description", virsh_text(v, "description"));
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (virsh_flag(v, same[i]))
			words_fmt(&w, "--%s", same[i]);
	if (words_ask(&w, "snapshot-create-as", &answer, &err) < 0)
		return virsh_reason(&err);
	virsh_say_last(v, "Domain snapshot %s created", json_get_str(answer, "name", ""));
	return 0;
}

static int run_list(struct virsh *v)
{
	static const char *const same[] = {"roots", "leaves"};
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL, *rows = json_array();
	bool parents = virsh_flag(v, "parent");
	size_t i;
	json_t *s;
	if (virsh_domain(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	if (virsh_flag(v, "tree")) {
		struct err err = ERR_INIT;
		words_add(&w, "--tree");
		return verb_call("snapshot-list", (const char *const *)w.list, &err) < 0
			       ? virsh_reason(&err)
			       : 0;
	}
	for (i = 0; i < ARRAY_SIZE(same); i++)
		if (virsh_flag(v, same[i]))
			words_fmt(&w, "--%s", same[i]);
	if (virsh_ask(v, NULL, &w, "snapshot-list", &list) < 0)
		return -1;
	json_array_append_new(rows,
		parents ? json_pack("[s, s, s, s]", "Name", "Creation Time", "State", "Parent")
			: json_pack("[s, s, s]", "Name", "Creation Time", "State"));
	json_array_foreach (list, i, s) {
		const char *name = json_get_str(s, "name", "");
		char when[32];
		compat_time(when, json_get_int(s, "created", 0), true);
		if (virsh_flag(v, "name"))
			puts(name);
		json_array_append_new(
			rows, parents ? json_pack("[s, s, s, s]", name, when, state_of(s),
						json_get_str(s, "parent", ""))
				      : json_pack("[s, s, s]", name, when, state_of(s)));
	}
	if (!virsh_flag(v, "name"))
		virsh_table(v, rows);
	return 0;
}

/* <snapshotname> or --current, as the second word or the option. */
static int named(const struct virsh *v, struct found *f, struct words *w)
{
	const char *name = virsh_text(v, "snapshotname");
	if (virsh_domain(v, f) < 0)
		return -1;
	if (!name && !virsh_flag(v, "current"))
		return virsh_error("--snapshotname or --current is required");
	words_add(w, f->name);
	if (name)
		words_text(w, name);
	else
		words_add(w, "--current");
	return 0;
}

/* Why not; of a snapshot that is not there in libvirt's words. */
static int failed(const struct virsh *v, const struct err *err)
{
	const char *name = virsh_text(v, "snapshotname");
	if (err->kind != ERR_NOT_FOUND)
		return virsh_reason(err);
	if (!name)
		return virsh_error("Domain snapshot not found: the domain does not have a current "
				   "snapshot");
	return virsh_error(
		"Domain snapshot not found: no domain snapshot with matching name '%s'", name);
}

static int run_info(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *s = NULL;
	if (named(v, &f, &w) < 0)
		return -1;
	if (words_ask(&w, "snapshot-info", &s, &err) < 0)
		return failed(v, &err);
	virsh_fact(15, "Name:", " %s", json_get_str(s, "name", ""));
	virsh_fact(15, "Domain:", " %s", f.name);
	virsh_fact(15, "Current:", " %s", json_get_bool(s, "current", false) ? "yes" : "no");
	virsh_fact(15, "State:", " %s", state_of(s));
	virsh_fact(15, "Location:", " external");
	virsh_fact(15, "Parent:", " %s", json_get_str(s, "parent", "-"));
	virsh_fact(15, "Children:", " %lld", (long long)json_get_int(s, "children", 0));
	virsh_fact(15, "Descendants:", " %lld", (long long)json_get_int(s, "descendants", 0));
	virsh_fact(15, "Metadata:", " yes");
	return 0;
}

static int run_parent(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *s = NULL;
	if (named(v, &f, &w) < 0 || virsh_ask(v, NULL, &w, "snapshot-info", &s) < 0)
		return -1;
	const char *parent = json_get_str(s, "parent", NULL);
	if (!parent)
		return virsh_error("snapshot '%s' has no parent", json_get_str(s, "name", ""));
	puts(parent);
	return 0;
}

static int run_current(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *s = NULL;
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (compat_ask("snapshot-current", f.name, &s, &err) < 0)
		return err.kind == ERR_NOT_FOUND
			       ? virsh_error("domain '%s' has no current snapshot", f.name)
			       : virsh_reason(&err);
	if (!virsh_flag(v, "name"))
		return virsh_error("a snapshot has no XML here: use --name, and snapshot-info");
	puts(json_get_str(s, "name", ""));
	return 0;
}

static int run_change(struct virsh *v)
{
	static const char *const same[] = {
		"running", "paused", "force", "children", "children-only"};
	bool delete = str_eq(v->command->name, "snapshot-delete");
	struct found f;
	struct err err = ERR_INIT, none = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *current = NULL;
	if (named(v, &f, &w) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (virsh_flag(v, same[i]))
			words_fmt(&w, "--%s", same[i]);
	const char *name = virsh_text(v, "snapshotname");
	if (!name) {
		compat_ask("snapshot-current", f.name, &current, &none);
		name = json_get_str(current, "name", "(current)");
	}
	if (words_ask(&w, v->command->name, NULL, &err) < 0) {
		if (delete &&err.kind != ERR_NOT_FOUND)
			virsh_error("Failed to delete snapshot %s", name);
		return failed(v, &err);
	}
	if (delete)
		virsh_say(v, "Domain snapshot %s %sdeleted", name,
			virsh_flag(v, "children-only") ? "children " : "");
	return 0;
}

const struct virsh_command virsh_snapshots[] = {
	{"snapshot-create-as",
		{V_DOMAIN, {"name", V_TEXT}, {"description", V_TEXT}, {"disk-only", V_FLAG},
			{"quiesce", V_FLAG}, {"atomic", V_FLAG}},
		run_create, "Create a snapshot from a set of args", NULL, true},
	{"snapshot-create",
		{V_DOMAIN, {"disk-only", V_FLAG}, {"quiesce", V_FLAG}, {"atomic", V_FLAG}},
		run_create, "Create a snapshot", NULL, true},
	{"snapshot-list",
		{V_DOMAIN, {"parent", V_FLAG}, {"roots", V_FLAG}, {"leaves", V_FLAG},
			{"tree", V_FLAG}, {"name", V_FLAG}},
		run_list, "List snapshots for a domain", NULL, false},
	{"snapshot-info", {V_DOMAIN, {"snapshotname", V_TEXT}, {"current", V_FLAG}}, run_info,
		"snapshot information", NULL, false},
	{"snapshot-parent", {V_DOMAIN, {"snapshotname", V_TEXT}, {"current", V_FLAG}}, run_parent,
		"Get the name of the parent of a snapshot", NULL, false},
	{"snapshot-current", {V_DOMAIN, {"name", V_FLAG}}, run_current, "Get the current snapshot",
		NULL, false},
	{"snapshot-revert",
		{V_DOMAIN, {"snapshotname", V_TEXT}, {"current", V_FLAG}, {"running", V_FLAG},
			{"paused", V_FLAG}, {"force", V_FLAG}},
		run_change, "Revert a domain to a snapshot", NULL, true},
	{"snapshot-delete",
		{V_DOMAIN, {"snapshotname", V_TEXT}, {"current", V_FLAG}, {"children", V_FLAG},
			{"children-only", V_FLAG}},
		run_change, "Delete a domain snapshot", NULL, true},
	{0},
};
