/* df: how full the file systems of guests are, of those that run and of those that do not. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "orchestrator/df.h"
#include "orchestrator/df_running.h"
#include "orchestrator/df_text.h"
#include "orchestrator/paths.h"

/* A member of the group may not open the disks: then roostd does. */
static json_t *look_at_disks(const struct look *l, bool runs, struct err *err)
{
	_cleanup_definition_ struct definition *d = look_definition(&l->f, err);
	_cleanup_json_ json_t *reply = NULL;
	if (!d)
		return NULL;
	if (df_may_open(d))
		return df_disks(d, runs, err);
	if (supervisor_call("roost-df", json_pack("{s:s}", "name", l->f.name), &reply, err) < 0)
		return NULL;
	return json_incref(json_object_get(reply, "filesystems"));
}

/* It is asked itself; where nobody answers, its disks tell what it has written so far. */
static json_t *look_running_one(struct look *l, struct err *err)
{
	struct err asked = ERR_INIT;
	json_t *list = df_running(l, &asked);
	if (list || (list = look_at_disks(l, true, err)))
		return list;
	err_prefix(err, "%s; by its disks", asked.message);
	err_hint(err, "%s", asked.hint);
	return NULL;
}

/* {"name":, "running":, "filesystems":}; NULL with *err. */
static json_t *look_into(const char *word, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, word, err) < 0)
		return NULL;
	bool runs = look_runs(&l);
	json_t *list = runs ? look_running_one(&l, err) : look_at_disks(&l, false, err);
	return list ? json_pack("{s:s, s:b, s:o}", "name", l.f.name, "running", runs, "filesystems",
			      list)
		    : NULL;
}

static int add_named(const struct cli *cli, json_t *all, struct err *err)
{
	for (int i = 0; i < cli->count; i++) {
		json_t *guest = look_into(cli->operands[i], err);
		if (!guest)
			return -1;
		json_array_append_new(all, guest);
	}
	return 0;
}

/* Those of --image are the disks of one that is no guest, called by the first of them. */
static int add_images(const struct cli *cli, json_t *all, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	const char *format = cli_value(cli, "format", NULL);
	for (int i = 0; i < cli->repeated_count; i++) {
		char target[] = {'s', 'd', (char)('a' + i % 26), '\0'};
		_cleanup_json_ json_t *one = df_file(cli->repeated[i].value, format, target, err);
		if (!one)
			return -1;
		json_array_extend(list, one);
	}
	const char *first = cli->repeated[0].value, *slash = strrchr(first, '/');
	json_t *name = json_sprintf(cli->repeated_count > 1 ? "%s+%d" : "%s",
		slash ? slash + 1 : first, cli->repeated_count - 1);
	json_array_append_new(
		all, json_pack("{s:o, s:b, s:O}", "name", name, "running", 0, "filesystems", list));
	return 0;
}

/* One that cannot be looked into hides no other; `missed` has the reasons. */
static int add_all(json_t *all, json_t *missed, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct err why = ERR_INIT;
		json_t *guest = look_into(*name, &why);
		if (guest)
			json_array_append_new(all, guest);
		else if (why.kind != ERR_NOT_FOUND) /* else it was just undefined */
			json_array_append_new(missed, json_pack("{s:s, s:o}", "name", *name,
							      "error", json_from_err(&why)));
	}
	return 0;
}

/* ext2, or a journal that is damaged or of a kind that is not known. */
static void print_unclean(const char *guest, const json_t *list)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (json_get_bool(one, "unclean", false))
			fprintf(stderr,
				"roost: guest '%s': /dev/%s was not unmounted, and what its journal holds cannot be told: its last changes are not counted\n",
				guest, json_get_str(one, "device", ""));
}

static void print_text(const struct df_form *form, const json_t *all, const json_t *missed)
{
	size_t i;
	json_t *guest;
	df_print_head(form);
	json_array_foreach (all, i, guest)
		df_print_guest(form, json_get_str(guest, "name", ""),
			json_object_get(guest, "filesystems"));
	json_array_foreach (all, i, guest)
		print_unclean(
			json_get_str(guest, "name", ""), json_object_get(guest, "filesystems"));
	json_array_foreach (missed, i, guest) {
		struct err why = ERR_INIT;
		const char *name = json_get_str(guest, "name", "");
		json_to_err(json_object_get(guest, "error"), &why);
		fprintf(stderr, "roost: guest '%s': %s\n", name, cli_said_of(name, &why));
	}
}

/* The status is that of the first one that could not be looked into. */
static int status_of(const json_t *missed)
{
	struct err why = ERR_INIT;
	if (!json_array_size(missed))
		return 0;
	json_to_err(json_object_get(json_array_get(missed, 0), "error"), &why);
	return err_exit_code(why.kind);
}

static int run_df(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *all = json_array(), *missed = json_array();
	const struct df_form form = {
		cli_flag(cli, "human-readable"), cli_flag(cli, "inodes"), cli_flag(cli, "csv")};
	if (cli->json && form.csv)
		return err_set(err, ERR_USAGE, "roost df: either --csv or --json");
	if (cli_flag(cli, "format") && !cli->repeated_count)
		return err_set(err, ERR_USAGE, "roost df: --format is that of an --image");
	if (cli->repeated_count && add_images(cli, all, err) < 0)
		return -1;
	bool named = cli->count || cli->repeated_count;
	if ((named ? add_named(cli, all, err) : add_all(all, missed, err)) < 0)
		return -1;
	if (cli->json) {
		json_array_extend(all, missed);
		cli_print_json(json_incref(all));
	} else {
		print_text(&form, all, missed);
	}
	return status_of(missed);
}

const struct verb verb_df = {"df", "[NAME...]",
	"Tells how full the file systems of guests are, of those that run and of those that do not.",
	0, -1, false,
	{{"human-readable", NULL, 'h', "sizes for people, such as 1.4G"},
		{"inodes", NULL, 'i', "inodes instead of blocks"},
		{"image", "FILE" OPTION_REPEATS, 'a', "of this image, which no guest writes to"},
		{"format", "qcow2|raw", 0,
			"what the images are; without: by their content, if they stand alone"},
		{"csv", NULL, 0, "comma-separated values, as virt-df has them"}},
	run_df, "roost df web1 -h", GROUP_LOOK, GUESTS_ALL};
