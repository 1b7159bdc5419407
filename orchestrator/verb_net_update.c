/* net-update: what may be changed of a network while guests use it. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/connect.h"
#include "orchestrator/network.h"

static int usage(struct err *err)
{
	err_set(err, ERR_USAGE, "roost net-update: what is to be added or deleted is not told");
	return err_hint(err, "`net-update NETWORK add host MAC NAME [ADDRESS]`, "
			     "`net-update NETWORK delete host NAME`");
}

static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text + 'a' - 'A');
}

static int add_host(const struct cli *cli, const struct network *n, json_t **reply, struct err *err)
{
	if (cli->count < 5)
		return usage(err);
	_cleanup_free_ char *mac = xstrdup(cli->operands[3]);
	lower(mac);
	return supervisor_call("roost-net-host",
		json_pack("{s:s, s:s, s:s, s:s*}", "network", n->name, "mac", mac, "name",
			cli->operands[4], "address", cli->count > 5 ? cli->operands[5] : NULL),
		reply, err);
}

static int delete_host(
	const struct cli *cli, const struct network *n, json_t **reply, struct err *err)
{
	if (cli->count != 4)
		return usage(err);
	_cleanup_free_ char *word = xstrdup(cli->operands[3]);
	bool mac = strchr(word, ':');
	if (mac)
		lower(word);
	return supervisor_call("roost-net-host",
		json_pack("{s:s, s:s, s:b}", "network", n->name, mac ? "mac" : "name", word,
			"remove", 1),
		reply, err);
}

static int run_update(const struct cli *cli, struct err *err)
{
	struct network n;
	json_t *reply = NULL;
	bool add = str_eq(cli->operands[1], "add");
	if ((!add && !str_eq(cli->operands[1], "delete")) || !str_eq(cli->operands[2], "host"))
		return usage(err);
	if (network_find(cli->operands[0], &n, err) < 0 ||
		(add ? add_host : delete_host)(cli, &n, &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	if (add)
		printf("Network '%s': host '%s' has the address %s\n", n.name,
			json_get_str(reply, "name", ""), json_get_str(reply, "address", ""));
	else
		printf("Network '%s': host '%s' deleted\n", n.name,
			json_get_str(reply, "guest", ""));
	json_decref(reply);
	return 0;
}

const struct verb verb_net_update = {"net-update",
	"NETWORK add|delete host MAC|NAME [NAME] [ADDRESS]",
	"Gives a host on a network that is no guest its name and address, or takes them away.", 4,
	6, false, {{0}}, run_update, "roost net-update default add host 52:54:00:12:34:56 printer",
	GROUP_NETWORKS, GUESTS_ALL};
