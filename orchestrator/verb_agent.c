/* agent: a raw command to the guest's agent. The caller's text is JSON and nothing else. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/connect.h"

enum { AGENT_MS = 30000 };

static int check_keys(const json_t *text, struct err *err)
{
	const char *key;
	json_t *value;
	if (!json_is_object(text) || !json_is_string(json_object_get(text, "execute")))
		return err_set(err, ERR_USAGE,
			       "agent: the command must be an object with 'execute'"),
		       err_hint(err, "such as '{\"execute\":\"guest-get-osinfo\"}'");
	json_object_foreach ((json_t *)text, key, value)
		if (!str_eq(key, "execute") && !str_eq(key, "arguments"))
			return err_set(err, ERR_USAGE,
				"agent: only 'execute' and 'arguments' may be there, not '%.40s'",
				key);
	value = json_object_get(text, "arguments");
	if (value && !json_is_object(value))
		return err_set(err, ERR_USAGE, "agent: 'arguments' must be an object");
	return 0;
}

static json_t *command_of(const struct cli *cli, struct err *err)
{
	const char *word = cli->operands[1], *timeout = cli_value(cli, "timeout", NULL);
	int64_t ms = AGENT_MS;
	_cleanup_json_ json_t *text = json_text_parse(word, strlen(word), err);
	if (!text) {
		err_prefix(err, "agent");
		return NULL;
	}
	if (check_keys(text, err) < 0 ||
		(timeout && str_parse_duration(timeout, "--timeout", &ms, err) < 0))
		return NULL;
	json_t *args = json_pack("{s:O, s:I}", "command", json_object_get(text, "execute"),
		"timeout-ms", (json_int_t)ms);
	if (json_object_get(text, "arguments"))
		json_object_set(args, "arguments", json_object_get(text, "arguments"));
	return args;
}

static int run_agent(const struct cli *cli, struct err *err)
{
	json_t *reply = NULL, *args = command_of(cli, err);
	if (!args || guest_call(cli->operands[0], "roost-agent", args, &reply, err) < 0)
		return -1;
	_cleanup_json_ json_t *answer = reply;
	if (cli->json) {
		cli_print_json(json_incref(json_object_get(answer, "return")));
		return 0;
	}
	/* in ASCII: the text is the guest's, and a terminal must not obey it */
	_cleanup_free_ char *line = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
	puts(line);
	return 0;
}

const struct verb verb_agent = {"agent", "NAME JSON", "Sends a raw command to a guest's agent.", 2,
	2, false, {{"timeout", "TIME", 0, "how long the agent may take, such as 60s"}}, run_agent,
	"roost agent web1 '{\"execute\":\"guest-get-osinfo\"}'", GROUP_ACCESS, GUESTS_RUNNING};
