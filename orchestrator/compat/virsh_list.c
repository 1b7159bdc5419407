/* virsh list. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <string.h>

/* Filters of virsh's that come in groups: of a group with any given, one must hold. */
enum filter { RUNNING, PAUSED, SHUTOFF, OTHER, AUTOSTART, NO_AUTOSTART, SAVED, NOT_SAVED };

static const char *const filter_names[] = {[RUNNING] = "state-running",
	[PAUSED] = "state-paused",
	[SHUTOFF] = "state-shutoff",
	[OTHER] = "state-other",
	[AUTOSTART] = "autostart",
	[NO_AUTOSTART] = "no-autostart",
	[SAVED] = "with-managed-save",
	[NOT_SAVED] = "without-managed-save"};

static bool passes_state(const struct virsh *v, const char *state)
{
	enum filter f = str_eq(state, "running")    ? RUNNING
			: str_eq(state, "paused")   ? PAUSED
			: str_eq(state, "shut off") ? SHUTOFF
						    : OTHER;
	bool any = false;
	for (enum filter g = RUNNING; g <= OTHER; g++)
		any = any || virsh_flag(v, filter_names[g]);
	return !any || virsh_flag(v, filter_names[f]);
}

static bool has_snapshots(const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *list = NULL;
	return compat_ask("snapshot-list", name, &list, &ignored) == 0 && json_array_size(list) > 0;
}

static bool passes(const struct virsh *v, const json_t *guest)
{
	bool with = virsh_flag(v, "with-snapshot"), without = virsh_flag(v, "without-snapshot");
	bool persistent = !json_get_bool(guest, "transient", false);
	if (virsh_flag(v, "transient") != virsh_flag(v, "persistent") &&
		persistent != virsh_flag(v, "persistent"))
		return false;
	/* there are no checkpoints */
	if (virsh_flag(v, "with-checkpoint") && !virsh_flag(v, "without-checkpoint"))
		return false;
	return passes_state(v, compat_state(json_get_str(guest, "state", ""))) &&
	       (with == without || has_snapshots(json_get_str(guest, "name", "")) == with);
}

static json_t *guests(const struct virsh *v)
{
	static const char *const states[] = {"state-shutoff", "state-other"};
	_cleanup_words_ struct words w = {0};
	struct err err = ERR_INIT;
	json_t *list = NULL;
	bool all = virsh_flag(v, "all");
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		all = all || virsh_flag(v, states[i]);
	words_add(&w, virsh_flag(v, "inactive") && !all ? "--inactive" : all ? "--all" : "--name");
	words_add(&w, "--uuid");
	words_add(&w, "--title");
	for (enum filter f = AUTOSTART; f <= NOT_SAVED; f++)
		if (virsh_flag(v, filter_names[f]))
			words_fmt(&w, "--%s", filter_names[f]);
	if (words_ask(&w, "list", &list, &err) < 0) {
		virsh_error("Failed to list domains");
		virsh_reason(&err);
	}
	return list;
}

static void print_columns(const struct virsh *v, const json_t *guest)
{
	char number[24] = "-";
	const char *cells[3];
	size_t count = 0;
	if (json_object_get(guest, "id"))
		snprintf(number, sizeof(number), "%lld", (long long)json_get_int(guest, "id", 0));
	if (virsh_flag(v, "id"))
		cells[count++] = number;
	if (virsh_flag(v, "uuid"))
		cells[count++] = json_get_str(guest, "uuid", "-");
	if (virsh_flag(v, "name"))
		cells[count++] = json_get_str(guest, "name", "");
	for (size_t i = 0; i < count; i++)
		printf("%s%s", i ? " " : "", cells[i]);
	putchar('\n');
}

static void add_row(const struct virsh *v, json_t *rows, const json_t *guest)
{
	char number[24] = "-";
	if (json_object_get(guest, "id"))
		snprintf(number, sizeof(number), "%lld", (long long)json_get_int(guest, "id", 0));
	const char *state = compat_state(json_get_str(guest, "state", "")),
		   *name = json_get_str(guest, "name", "");
	if (virsh_flag(v, "managed-save") && json_get_bool(guest, "managed_save", false))
		state = "saved";
	if (virsh_flag(v, "title"))
		json_array_append_new(rows, json_pack("[s, s, s, s]", number, name, state,
						    json_get_str(guest, "title", "")));
	else
		json_array_append_new(rows, json_pack("[s, s, s]", number, name, state));
}

static int run_list(struct virsh *v)
{
	static const char *const alone[] = {"name", "uuid", "id"};
	bool columns = virsh_flag(v, "name") || virsh_flag(v, "uuid") || virsh_flag(v, "id");
	for (size_t j = 0; j < ARRAY_SIZE(alone); j++)
		if (virsh_flag(v, "table") && virsh_flag(v, alone[j]))
			return virsh_error(
				"Options --table and --%s are mutually exclusive", alone[j]);
	_cleanup_json_ json_t *list = guests(v), *rows = json_array();
	size_t i;
	json_t *guest;
	if (!list)
		return -1;
	json_array_append_new(rows,
		virsh_flag(v, "title") ? json_pack("[s, s, s, s]", "Id", "Name", "State", "Title")
				       : json_pack("[s, s, s]", "Id", "Name", "State"));
	json_array_foreach (list, i, guest) {
		if (!passes(v, guest))
			continue;
		if (columns)
			print_columns(v, guest);
		else
			add_row(v, rows, guest);
	}
	if (!columns)
		virsh_table(v, rows);
	return 0;
}

const struct virsh_command virsh_lists[] = {
	{"list",
		{{"inactive", V_FLAG}, {"all", V_FLAG}, {"transient", V_FLAG},
			{"persistent", V_FLAG}, {"with-snapshot", V_FLAG},
			{"without-snapshot", V_FLAG}, {"with-checkpoint", V_FLAG},
			{"without-checkpoint", V_FLAG}, {"state-running", V_FLAG},
			{"state-paused", V_FLAG}, {"state-shutoff", V_FLAG},
			{"state-other", V_FLAG}, {"autostart", V_FLAG}, {"no-autostart", V_FLAG},
			{"with-managed-save", V_FLAG}, {"without-managed-save", V_FLAG},
			{"uuid", V_FLAG}, {"name", V_FLAG}, {"id", V_FLAG}, {"table", V_FLAG},
			{"managed-save", V_FLAG}, {"title", V_FLAG}},
		run_list, "list domains", NULL, false},
	{0},
};
