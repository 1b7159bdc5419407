/* send-key, inject-nmi: QEMU's own commands, which pass through the keeper. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"
#include "orchestrator/keys.h"

enum { HOLD_MS = 100, HOLD_MAX_MS = 60000, KEYS_AT_ONCE = 16 };

/* A guest whose CPUs stand still reads nothing: QEMU would drop it without a word. */
static int check_runs(const struct cli *cli, struct found *f, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	if (guest_find(cli->operands[0], f, err) < 0 || guest_look(f, &s, err) < 0)
		return -1;
	if (!s.number || s.state == GUEST_RUNNING || s.state == GUEST_IN_SHUTDOWN)
		return 0; /* that it does not run, connecting tells */
	err_set(err, ERR_REFUSED, "guest '%s' would not notice: it is %s", f->name,
		guest_state_name(s.state));
	return s.state == GUEST_PAUSED ? err_hint(err, "`roost resume %s` lets it go on", f->name)
				       : -1;
}

static json_t *pressed(const struct cli *cli, struct err *err)
{
	json_t *keys = json_array();
	if (cli->count - 1 > KEYS_AT_ONCE) {
		err_set(err, ERR_USAGE, "send-key: %d keys at once are too many, %d can be pressed",
			cli->count - 1, KEYS_AT_ONCE);
		goto fail;
	}
	for (int i = 1; i < cli->count; i++) {
		const char *code = key_code(cli->operands[i], err);
		if (!code)
			goto fail;
		json_array_append_new(keys, json_pack("{s:s, s:s}", "type", "qcode", "data", code));
	}
	return keys;
fail:
	json_decref(keys);
	return NULL;
}

/* As virsh: milliseconds without a unit; else "2s". */
static int hold_time(const struct cli *cli, int64_t *ms, struct err *err)
{
	const char *text = cli_value(cli, "holdtime", NULL);
	uint64_t number;
	struct err ignored = ERR_INIT;
	*ms = HOLD_MS;
	if (!text)
		return 0;
	if (str_parse_u64(text, 1, HOLD_MAX_MS, "--holdtime", &number, &ignored) == 0) {
		*ms = (int64_t)number;
		return 0;
	}
	if (str_parse_duration(text, "--holdtime", ms, err) < 0)
		return -1;
	return *ms <= HOLD_MAX_MS ? 0 : err_set(err, ERR_USAGE, "--holdtime %s is too long", text);
}

static int done(const struct cli *cli, const struct found *f, const char *command, json_t *args,
	const char *said, struct err *err)
{
	json_t *reply = NULL;
	if (guest_call(f->name, command, args, &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	json_decref(reply);
	printf("%s guest '%s'\n", said, f->name);
	return 0;
}

static int run_send_key(const struct cli *cli, struct err *err)
{
	struct found f;
	int64_t hold;
	json_t *keys = hold_time(cli, &hold, err) < 0 ? NULL : pressed(cli, err);
	if (!keys)
		return -1;
	if (check_runs(cli, &f, err) < 0) {
		json_decref(keys);
		return -1;
	}
	return done(cli, &f, "send-key",
		json_pack("{s:o, s:I}", "keys", keys, "hold-time", (json_int_t)hold),
		"Keys sent to", err);
}

static int run_inject_nmi(const struct cli *cli, struct err *err)
{
	struct found f;
	if (check_runs(cli, &f, err) < 0)
		return -1;
	return done(cli, &f, "inject-nmi", NULL, "NMI sent to", err);
}

const struct verb verb_send_key = {"send-key", "NAME KEY...",
	"Presses keys of a guest's keyboard, all together.", 2, -1, false,
	{{"holdtime", "TIME", 0, "how long they are held; default 100ms"}}, run_send_key,
	"roost send-key web1 ctrl alt delete", GROUP_ACCESS, GUESTS_RUNNING};
const struct verb verb_inject_nmi = {"inject-nmi", "NAME",
	"Sends a guest a non-maskable interrupt, as a server's NMI button would.", 1, 1, false,
	{{0}}, run_inject_nmi, "roost inject-nmi web1", GROUP_LIFE, GUESTS_RUNNING};
