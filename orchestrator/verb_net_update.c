/* net-update: what may be changed of a network while guests use it. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/connect.h"
#include "orchestrator/network.h"
#include "orchestrator/publish.h"

static int usage(struct err *err)
{
	err_set(err, ERR_USAGE, "roost net-update: what is to be added or deleted is not told");
	return err_hint(err, "it is `add host MAC NAME [ADDRESS]`, `delete host NAME`, "
			     "`add publish GUEST [[ADDRESS:]PORT:]GUEST_PORT[/udp]`, "
			     "or `delete publish` with the same");
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

static int host(const struct cli *cli, const struct network *n, bool add, struct err *err)
{
	json_t *reply = NULL;
	if ((add ? add_host : delete_host)(cli, n, &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	if (add)
		printf("Network '%s': host '%s' has the address %s\n", n->name,
			json_get_str(reply, "name", ""), json_get_str(reply, "address", ""));
	else
		printf("Network '%s': host '%s' deleted\n", n->name,
			json_get_str(reply, "guest", ""));
	json_decref(reply);
	return 0;
}

static int publish(const struct cli *cli, const struct network *n, bool add, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	if (cli->count != 5)
		return usage(err);
	if (guest_find(cli->operands[3], &f, err) < 0 ||
		supervisor_call("roost-net-publish",
			json_pack("{s:s, s:s, s:s, s:b}", "network", n->name, "guest", f.name,
				"port", cli->operands[4], "remove", !add),
			&reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("%s %s %s to port %lld of guest '%s'\n",
		json_get_bool(reply, "udp", false) ? "UDP" : "TCP",
		publish_host_text(
			json_get_str(reply, "host", ""), (unsigned)json_get_int(reply, "port", 0)),
		add ? "leads" : "leads no longer", (long long)json_get_int(reply, "guest_port", 0),
		f.name);
	json_decref(reply);
	return 0;
}

static int run_update(const struct cli *cli, struct err *err)
{
	struct network n;
	bool add = str_eq(cli->operands[1], "add"), ports = str_eq(cli->operands[2], "publish");
	if ((!add && !str_eq(cli->operands[1], "delete")) ||
		(!ports && !str_eq(cli->operands[2], "host")))
		return usage(err);
	if (network_find(cli->operands[0], &n, err) < 0)
		return -1;
	return (ports ? publish : host)(cli, &n, add, err);
}

const struct verb verb_net_update = {"net-update",
	"NETWORK add|delete host|publish MAC|GUEST [NAME|PORT] [ADDRESS]",
	"Changes what is known of hosts that are no guests, or which ports are published of one that runs.",
	4, 6, false, {{0}}, run_update,
	"roost net-update default add host 52:54:00:12:34:56 printer", GROUP_NETWORKS, GUESTS_ALL};
