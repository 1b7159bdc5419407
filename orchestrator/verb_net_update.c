/*
 * net-update: what may be changed of a network while guests use it. A host whose MAC address is a guest's is that
 * guest: its address is fixed in its definition.
 */
#include "orchestrator/verbs.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/change.h"
#include "orchestrator/connect.h"
#include "orchestrator/network.h"
#include "orchestrator/network_address.h"
#include "orchestrator/publish.h"

static int usage(struct err *err)
{
	err_set(err, ERR_USAGE, "roost net-update: what is to be added or deleted is not told");
	return err_hint(err, "it is `add host MAC [NAME] [ADDRESS]`, `delete host NAME`, "
			     "`add publish GUEST [[ADDRESS:]PORT:]GUEST_PORT[/udp]`, "
			     "or `delete publish` with the same");
}

static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text + 'a' - 'A');
}

/* ---- the address of a guest's interface --------------------------------------------------------------- */

struct fixing {
	const char *mac, *address; /* NULL: whichever it has, from now on */
	bool done;
};

static void fix_address(struct definition *d, const void *how)
{
	struct fixing *f = *(struct fixing *const *)how;
	for (size_t i = 0; i < d->nic_count; i++) {
		struct nic_def *nic = &d->nics[i];
		if (!str_eq(nic->mac, f->mac))
			continue;
		nic->address_fixed = f->address != NULL;
		if (f->address)
			snprintf(nic->address, sizeof(nic->address), "%s", f->address);
		f->done = true;
	}
}

/* Whose interface it is, if it is a guest's: "" in `guest` else. */
static void guest_of(const struct network *n, const char *mac, char guest[64])
{
	_cleanup_json_ json_t *file = network_address_of(n, mac);
	bool its = file && !json_get_bool(file, "host", false) && !network_address_is_void(file);
	snprintf(guest, 64, "%s", its ? json_get_str(file, "guest", "") : "");
}

/* Of a guest it is in the guest's own definition, and one that runs goes on with the address that it has. */
static int host_is_guest(const struct network *n, const char *guest, const char *mac,
	const char *name, const char *address, json_t **reply, struct err *err)
{
	struct found f;
	struct fixing fixing = {.mac = mac, .address = address}, *how = &fixing;
	if (name && !str_eq(name, guest)) {
		err_set(err, ERR_REFUSED, "network '%s': %s is the MAC address of guest '%s'",
			n->name, mac, guest);
		return err_hint(err, "the network knows it by that name");
	}
	if (guest_find(guest, &f, err) < 0 || guest_change(&f, fix_address, &how, err) < 0)
		return -1;
	if (!fixing.done) {
		err_set(err, ERR_REFUSED, "guest '%s' has %s plugged until it ends only", guest,
			mac);
		return err_hint(err, "an interface of its definition may have an address of yours");
	}
	_cleanup_json_ json_t *now = network_address_of(n, mac);
	*reply = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "network", n->name, "mac", mac, "name",
		guest, "guest", guest, "address",
		address ? address : json_get_str(now, "address", ""), "next_start", guest_runs(&f));
	return 0;
}

/* ---- hosts ---------------------------------------------------------------------------------------- */

static bool is_address(const char *word)
{
	struct in_addr address;
	return inet_pton(AF_INET, word, &address) == 1;
}

static int add_host(const struct cli *cli, const struct network *n, json_t **reply, struct err *err)
{
	_cleanup_free_ char *mac = xstrdup(cli->operands[3]);
	lower(mac);
	const char *name = cli->count > 4 ? cli->operands[4] : NULL,
		   *address = cli->count > 5 ? cli->operands[5] : NULL;
	char guest[64];
	if (name && !address && is_address(name)) {
		address = name;
		name = NULL;
	}
	guest_of(n, mac, guest);
	if (guest[0] && address)
		return host_is_guest(n, guest, mac, name, address, reply, err);
	return supervisor_call("roost-net-host",
		json_pack("{s:s, s:s, s:s*, s:s*}", "network", n->name, "mac", mac, "name", name,
			"address", address),
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
	char guest[64] = "";
	if (mac)
		guest_of(n, word, guest);
	if (guest[0] && host_is_guest(n, guest, word, NULL, NULL, reply, err) < 0)
		return -1;
	_cleanup_json_ json_t *file = guest[0] ? network_address_of(n, word) : NULL;
	if (guest[0] && !network_address_host(file))
		return 0;
	return supervisor_call("roost-net-host",
		json_pack("{s:s, s:s, s:b}", "network", n->name, mac ? "mac" : "name", word,
			"remove", 1),
		guest[0] ? NULL : reply, err);
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
		printf("Network '%s': host '%s' has the address %s%s\n", n->name,
			json_get_str(reply, "name", ""), json_get_str(reply, "address", ""),
			json_get_bool(reply, "next_start", false) ? " from its next start on" : "");
	else
		printf("Network '%s': host '%s' deleted\n", n->name,
			json_get_str(reply, "guest", ""));
	json_decref(reply);
	return 0;
}

/* ---- published ports ------------------------------------------------------------------------------ */

struct wish {
	const char *network;
	struct forward forward;
	bool add;
	const char *problem;
};

static bool is_same(const struct forward *a, const struct forward *b)
{
	return a->udp == b->udp && str_eq(a->host, b->host) && a->host_port == b->host_port &&
	       a->guest_port == b->guest_port;
}

static void change_nic(struct nic_def *nic, struct wish *w)
{
	size_t i = 0;
	while (i < nic->forward_count && !is_same(&nic->forwards[i], &w->forward))
		i++;
	w->problem = NULL;
	if (w->add && i == FORWARDS_MAX)
		w->problem = "publishes as many ports as an interface can";
	else if (w->add && i == nic->forward_count)
		nic->forwards[nic->forward_count++] = w->forward;
	else if (!w->add && i == nic->forward_count)
		w->problem = "does not publish that port";
	else if (!w->add)
		memmove(&nic->forwards[i], &nic->forwards[i + 1],
			(--nic->forward_count - i) * sizeof(nic->forwards[0]));
}

static void change_definition(struct definition *d, const void *how)
{
	struct wish *w = *(struct wish *const *)how;
	w->problem = "has no interface on that network";
	for (size_t i = 0; i < d->nic_count; i++)
		if (d->nics[i].kind == NIC_NETWORK && str_eq(d->nics[i].network, w->network)) {
			change_nic(&d->nics[i], w);
			return;
		}
}

/* For its next starts. */
static int configure(
	const struct found *f, const struct network *n, const char *port, bool add, struct err *err)
{
	struct wish w = {.network = n->name, .add = add}, *how = &w;
	if (publish_parse(port, &w.forward, err) < 0 ||
		guest_change(f, change_definition, &how, err) < 0)
		return -1;
	if (!w.problem)
		return 0;
	err_set(err, ERR_REFUSED, "network '%s': the definition of guest '%s' %s", n->name, f->name,
		w.problem);
	return err_hint(err, "`roost dumpyaml %s` tells what it has", f->name);
}

static json_t *told(const char *port, struct err *err)
{
	struct forward f;
	return publish_parse(port, &f, err) < 0
		       ? NULL
		       : json_pack("{s:s, s:i, s:i, s:b}", "host", f.host, "port", (int)f.host_port,
				 "guest_port", (int)f.guest_port, "udp", f.udp);
}

static void print_port(const json_t *o, const char *guest, bool add, const char *when)
{
	const char *host = json_get_str(o, "host", "");
	unsigned port = (unsigned)json_get_int(o, "port", 0);
	_cleanup_free_ char *where =
		port ? xstrdup(publish_host_text(host, port)) : str_fmt("%s, a free port,", host);
	printf("%s %s %s to port %lld of guest '%s'%s\n",
		json_get_bool(o, "udp", false) ? "UDP" : "TCP", where,
		add ? "leads" : "leads no longer", (long long)json_get_int(o, "guest_port", 0),
		guest, when);
}

/* virsh's words: without one, live if the guest runs, else its definition. */
static int publish(const struct cli *cli, const struct network *n, bool add, struct err *err)
{
	struct found f;
	_cleanup_status_ struct status s = {0};
	_cleanup_json_ json_t *reply = NULL;
	const char *port = cli->operands[4];
	bool live = cli_flag(cli, "live"), config = cli_flag(cli, "config");
	if (cli->count != 5)
		return usage(err);
	if (guest_find(cli->operands[3], &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return -1;
	if (!live && !config)
		*(s.number ? &live : &config) = true;
	if (live && supervisor_call("roost-net-publish",
			    json_pack("{s:s, s:s, s:s, s:b}", "network", n->name, "guest", f.name,
				    "port", port, "remove", !add),
			    &reply, err) < 0)
		return -1;
	if (config && configure(&f, n, port, add, err) < 0)
		return live ? err_prefix(err, "done for now, not for its next starts") : -1;
	if (!reply && !(reply = told(port, err)))
		return -1;
	json_object_set_new(reply, "live", json_boolean(live));
	json_object_set_new(reply, "config", json_boolean(config));
	if (cli->json)
		cli_print_json(json_incref(reply));
	else
		print_port(reply, f.name, add,
			live && config ? ", and from its next start on"
			: config       ? " from its next start on"
				       : "");
	return 0;
}

/* ---- the verb ------------------------------------------------------------------------------------- */

static int run_update(const struct cli *cli, struct err *err)
{
	struct network n;
	bool add = str_eq(cli->operands[1], "add"), ports = str_eq(cli->operands[2], "publish");
	if ((!add && !str_eq(cli->operands[1], "delete")) ||
		(!ports && !str_eq(cli->operands[2], "host")))
		return usage(err);
	if (cli_flag(cli, "current") && (cli_flag(cli, "live") || cli_flag(cli, "config")))
		return err_set(
			err, ERR_USAGE, "roost net-update: --current excludes --live and --config");
	if (!ports && cli_flag(cli, "live") != cli_flag(cli, "config"))
		return err_set(err, ERR_USAGE,
			"roost net-update: a host is known now and later: leave --live and --config out");
	if (network_find(cli->operands[0], &n, err) < 0)
		return -1;
	return (ports ? publish : host)(cli, &n, add, err);
}

const struct verb verb_net_update = {"net-update",
	"NETWORK add|delete host|publish MAC|GUEST [NAME|PORT] [ADDRESS]",
	"Changes what is known of hosts (of a guest: its address), or which ports are published of a guest.",
	4, 6, false,
	{{"live", NULL, 0, "the port of the guest that runs, until it ends"},
		{"config", NULL, 0, "in its definition, from its next start on; or both"},
		{"current", NULL, 0, "the default: live if it runs, else in its definition"}},
	run_update, "roost net-update default add host 52:54:00:12:34:56 printer", GROUP_NETWORKS,
	GUESTS_ALL};
