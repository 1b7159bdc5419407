/* doctor, gc: what should be there against what is there; roostd looks, doctor.h tells of what. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "base/str.h"
#include "orchestrator/connect.h"

enum { SOME_FOUND = 1 };

static int look(bool remove, json_t **found, int64_t *looked, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (supervisor_call(remove ? "roost-gc" : "roost-doctor", NULL, &reply, err) < 0)
		return -1;
	*looked = json_get_int(reply, "looked", 0);
	*found = json_incref(json_object_get(reply, "findings"));
	return 0;
}

static void print_finding(const json_t *f)
{
	printf("%s %s: %s\n", json_get_str(f, "kind", "?"), json_get_str(f, "name", "?"),
		json_get_str(f, "why", "?"));
	printf("   -> %s\n", json_get_str(f, "remedy", ""));
}

static int run_doctor(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *found = NULL;
	int64_t looked;
	json_t *f;
	size_t i, count;
	if (look(false, &found, &looked, err) < 0)
		return -1;
	count = json_array_size(found);
	if (cli->json) {
		cli_print_json(
			json_pack("{s:I, s:O}", "looked", (json_int_t)looked, "findings", found));
		return count ? SOME_FOUND : 0;
	}
	json_array_foreach (found, i, f)
		print_finding(f);
	if (!count)
		printf("Everything is as it should be: %lld guests, folders and processes compared\n",
			(long long)looked);
	return count ? SOME_FOUND : 0;
}

const struct verb verb_doctor = {"doctor", "",
	"Compares what the records tell with what is there, and explains each difference.", 0, 0,
	false, {{0}}, run_doctor, "roost doctor", GROUP_HOST, GUESTS_ALL};

/* ---- gc ----------------------------------------------------------------------------------------------- */

static json_t *unowned_only(const json_t *found)
{
	json_t *list = json_array(), *f;
	size_t i;
	json_array_foreach (found, i, f)
		if (json_get_bool(f, "unowned", false))
			json_array_append(list, f);
	return list;
}

static int print_removed(const json_t *list, bool remove)
{
	bool failed = false;
	size_t i;
	json_t *f;
	json_array_foreach (list, i, f) {
		const char *error = json_get_str(f, "error", NULL);
		failed = failed || error;
		printf("%s %s %s: %s\n",
			error    ? "Not removed:"
			: remove ? "Removed"
				 : "Would remove",
			json_get_str(f, "kind", "?"), json_get_str(f, "name", "?"),
			error ? error : json_get_str(f, "why", "?"));
	}
	if (!json_array_size(list))
		printf("There is nothing that nobody owns\n");
	else if (!remove)
		printf("Nothing was removed: `roost gc --yes` does it\n");
	return failed ? SOME_FOUND : 0;
}

static int run_gc(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *found = NULL;
	bool remove = cli_flag(cli, "yes");
	int64_t looked;
	if (look(remove, &found, &looked, err) < 0)
		return -1;
	_cleanup_json_ json_t *list = unowned_only(found);
	if (!cli->json)
		return print_removed(list, remove);
	cli_print_json(json_incref(list));
	return 0;
}

const struct verb verb_gc = {"gc", "",
	"Lists what nobody owns any more (what was killed has left it), or removes it.", 0, 0,
	false, {{"yes", NULL, 'y', "remove it; without this it is only told"}}, run_gc, "roost gc",
	GROUP_HOST, GUESTS_ALL};
