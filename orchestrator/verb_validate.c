/* validate: what this host offers to guests. Ends with 1 if something is lacking that all need. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/validate.h"

static void print_json(const struct validate_row *rows, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s}", "name", rows[i].name, "result",
				      validate_result_name(rows[i].result), "detail",
				      rows[i].detail, "remedy", rows[i].remedy));
	cli_print_json(list);
}

static void print_text(const struct validate_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		printf("%s  %-16s %s\n", validate_result_name(rows[i].result), rows[i].name,
			rows[i].detail);
		if (rows[i].remedy[0])
			printf("%23s%s\n", "-> ", rows[i].remedy);
	}
}

static int run_validate(const struct cli *cli, struct err *err)
{
	(void)err;
	struct validate_row rows[VALIDATE_MAX];
	size_t count = validate_host(rows);
	bool failed = false;
	for (size_t i = 0; i < count; i++)
		failed = failed || rows[i].result == VALIDATE_FAIL;
	if (cli->json)
		print_json(rows, count);
	else
		print_text(rows, count);
	return failed ? 1 : 0;
}

const struct verb verb_validate = {"validate", "",
	"Tells what this host offers to guests, and what to do about what it lacks.", 0, 0, false,
	{{0}}, run_validate, "roost validate", GROUP_HOST, GUESTS_ALL};
