/* domifaddr, domifstat: where a guest is reached, and what went through an interface. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "orchestrator/look_net.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_leases.h"
#include "orchestrator/publish.h"

/* ---- domifaddr ------------------------------------------------------------------------------------ */

static bool is_wanted(const struct cli *cli, const json_t *interface, const char *name)
{
	const char *wanted = cli_value(cli, "interface", NULL);
	return !wanted || str_eq(wanted, name) ||
	       strcasecmp(wanted, json_get_str(interface, "mac", "")) == 0;
}

/* One row of the answer: the interface, and what is `found` of it. `found` stolen. */
static void add_row(
	json_t *rows, const char *source, const char *name, const json_t *interface, json_t *found)
{
	json_t *row = json_pack("{s:s, s:s, s:s}", "interface", name, "mac",
		json_get_str(interface, "mac", "N/A"), "source", source);
	json_object_update_new(row, found);
	json_array_append_new(rows, row);
}

/* What was issued, then what of the host leads in. */
static int rows_of_record(
	const struct cli *cli, const struct look *l, json_t *rows, struct err *err)
{
	_cleanup_json_ json_t *nics = look_nics(l, err);
	size_t i, j;
	json_t *nic, *one;
	json_array_foreach (nics, i, nic) {
		const char *name = json_get_str(nic, "interface", "");
		if (!is_wanted(cli, nic, name))
			continue;
		json_array_foreach (json_object_get(nic, "addresses"), j, one)
			add_row(rows, "issued", name, nic, json_incref(one));
		json_array_foreach (json_object_get(nic, "forwards"), j, one)
			add_row(rows, "forward", name, nic, json_incref(one));
	}
	return nics ? 0 : -1;
}

/* The rows of one interface, of what its network tells. */
typedef int network_rows_fn(
	const struct network *n, const json_t *nic, json_t *rows, struct err *err);

static int rows_of_leases(const struct network *n, const json_t *nic, json_t *rows, struct err *err)
{
	_cleanup_json_ json_t *leases = network_leases(n, json_get_str(nic, "mac", ""), err);
	size_t i;
	json_t *lease;
	json_array_foreach (leases, i, lease)
		add_row(rows, "lease", json_get_str(nic, "interface", ""), nic,
			json_pack("{s:O, s:O, s:O}", "protocol", json_object_get(lease, "protocol"),
				"address", json_object_get(lease, "address"), "prefix",
				json_object_get(lease, "prefix")));
	return leases ? 0 : -1;
}

/* On a bridge of the host's both the host and the guards may have seen it. */
static bool is_told(const json_t *rows, const char *interface, const char *address)
{
	size_t i;
	json_t *row;
	json_array_foreach (rows, i, row)
		if (str_eq(json_get_str(row, "interface", ""), interface) &&
			str_eq(json_get_str(row, "address", ""), address))
			return true;
	return false;
}

static int rows_of_neighbours(
	const struct network *n, const json_t *nic, json_t *rows, struct err *err)
{
	_cleanup_json_ json_t *seen = NULL;
	size_t i;
	json_t *one;
	if (network_call(n, "net-neighbours", NULL, NULL, 0, &seen, NULL, NULL, NETWORK_CALL_MS,
		    err) < 0)
		return -1;
	json_array_foreach (seen, i, one) {
		const char *address = json_get_str(one, "address", ""),
			   *name = json_get_str(nic, "interface", "");
		bool six = strchr(address, ':');
		if (strcasecmp(json_get_str(one, "mac", ""), json_get_str(nic, "mac", "")) == 0 &&
			!is_told(rows, name, address))
			add_row(rows, "arp", name, nic,
				json_pack("{s:s, s:s, s:i}", "protocol", six ? "ipv6" : "ipv4",
					"address", address, "prefix", six ? 128 : 32));
	}
	return 0;
}

/* 1: none of its interfaces is on a network that could tell. */
static int rows_of_networks(const struct cli *cli, const struct look *l, network_rows_fn *fn,
	bool bridges, json_t *rows, struct err *err)
{
	_cleanup_json_ json_t *nics = look_nics(l, err);
	int result = nics ? 1 : -1;
	size_t i;
	json_t *nic;
	json_array_foreach (nics, i, nic) {
		struct network n;
		const char *type = json_get_str(nic, "type", "");
		if (!str_eq(type, "network") && !(bridges && str_eq(type, "bridge")))
			continue;
		if (result == 1)
			result = 0;
		if (is_wanted(cli, nic, json_get_str(nic, "interface", "")) && result == 0)
			result = look_nic_network(nic, &n, err) < 0 ? -1
				 : network_active(&n)               ? fn(&n, nic, rows, err)
								    : 0;
	}
	return result;
}

static int rows_of_agent(const struct cli *cli, struct look *l, json_t *rows, struct err *err)
{
	_cleanup_json_ json_t *guests = NULL;
	size_t i, j;
	json_t *interface, *a;
	if (look_guest_interfaces(l, AGENT_LOOK_MS, &guests, err) < 0)
		return -1;
	json_array_foreach (guests, i, interface) {
		const char *name = json_get_str(interface, "name", "");
		if (is_wanted(cli, interface, name))
			json_array_foreach (json_object_get(interface, "addresses"), j, a)
				add_row(rows, "agent", name, interface,
					json_pack("{s:O, s:O, s:O}", "protocol",
						json_object_get(a, "type"), "address",
						json_object_get(a, "address"), "prefix",
						json_object_get(a, "prefix")));
	}
	return 0;
}

/* "10.0.2.15/24", "127.0.0.1:40123->22" */
static void print_address(const json_t *row)
{
	const char *address = json_get_str(row, "address", "");
	if (json_object_get(row, "port"))
		printf("%s->%lld\n",
			publish_host_text(address, (unsigned)json_get_int(row, "port", 0)),
			(long long)json_get_int(row, "guest_port", 0));
	else
		printf("%s/%lld\n", address, (long long)json_get_int(row, "prefix", 0));
}

/* Not the common table: scripts read these columns as virsh has them. */
static void print_rows(const json_t *rows, bool full)
{
	const char *before = "";
	size_t i;
	json_t *row;
	printf(" %-10s %-20s %-8s     %s\n", "Name", "MAC address", "Protocol", "Address");
	for (i = 0; i < 79; i++)
		putchar('-');
	putchar('\n');
	json_array_foreach (rows, i, row) {
		const char *name = json_get_str(row, "interface", "");
		bool again = !full && str_eq(name, before);
		printf(" %-10s %-20s %-8s     ", again ? "-" : name,
			again ? "-" : json_get_str(row, "mac", ""),
			json_get_str(row, "protocol", ""));
		print_address(row);
		before = name;
	}
}

static int refuse_source(const char *source, const struct look *l, struct err *err)
{
	err_set(err, ERR_REFUSED, "guest '%s' has no interface %s", l->f.name,
		str_eq(source, "lease") ? "on a network that gives out leases"
					: "that the host is a neighbour of");
	return err_hint(err,
		"without --source the forwards of user networking are told; `--source agent` asks the guest");
}

static bool has_address(const json_t *rows)
{
	size_t i;
	json_t *row;
	json_array_foreach (rows, i, row)
		if (str_eq(json_get_str(row, "source", ""), "issued"))
			return true;
	return false;
}

static int find_rows(const struct cli *cli, struct look *l, json_t *rows, struct err *err)
{
	const char *source = cli_value(cli, "source", NULL);
	if (!source) {
		if (rows_of_record(cli, l, rows, err) < 0)
			return -1;
		/* an address that was issued is there before the first boot */
		return has_address(rows) ? 0 : look_refuse_stopped(l, err);
	}
	if (str_eq(source, "agent"))
		return look_refuse_stopped(l, err) < 0 ? -1 : rows_of_agent(cli, l, rows, err);
	bool lease = str_eq(source, "lease");
	if (!lease && !str_eq(source, "arp"))
		return err_set(err, ERR_USAGE, "roost domifaddr: the source '%.40s' is unknown",
			       source),
		       err_hint(err, "it is one of agent, lease, arp");
	int result = rows_of_networks(
		cli, l, lease ? rows_of_leases : rows_of_neighbours, !lease, rows, err);
	return result > 0 ? refuse_source(source, l, err) : result;
}

static int run_domifaddr(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	_cleanup_json_ json_t *rows = json_array();
	if (look_at(&l, cli->operands[0], err) < 0 || find_rows(cli, &l, rows, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_incref(rows));
	else
		print_rows(rows, cli_flag(cli, "full"));
	return 0;
}

/* ---- domifstat ------------------------------------------------------------------------------------ */

static int run_domifstat(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *nics = look_nics(&l, err);
	const json_t *nic = nics ? look_nic(&l, nics, cli->operands[1], err) : NULL;
	if (!nic || look_refuse_stopped(&l, err) < 0)
		return -1;
	_cleanup_json_ json_t *counters = look_nic_count(&l, nic, err);
	if (!counters)
		return -1;
	json_t *told = json_pack("{s:O}", "interface", json_object_get(nic, "interface"));
	json_object_update(told, counters);
	if (cli->json) {
		cli_print_json(told);
		return 0;
	}
	for (const char *const *name = nic_counters; *name; name++)
		if (json_object_get(told, *name))
			printf("%s %s %lld\n", json_get_str(told, "interface", ""), *name,
				(long long)json_get_int(told, *name, 0));
	json_decref(told);
	return 0;
}

const struct verb verb_domifaddr = {"domifaddr", "NAME",
	"Tells where a guest is reached: the addresses issued on its networks and the ports of the host that lead in.",
	1, 1, false,
	{{"source", "agent|lease|arp", 0,
		 "what it has itself, what it was leased, what the host has seen it use"},
		{"interface", "INTERFACE", 0, "only this one, by its name or MAC"},
		{"full", NULL, 0, "name and MAC in every line"}},
	run_domifaddr, "roost domifaddr web1 --source agent", GROUP_LOOK, GUESTS_RUNNING};
const struct verb verb_domifstat = {"domifstat", "NAME INTERFACE",
	"Tells what went through an interface, as the guest sees it.", 2, 2, false, {{0}},
	run_domifstat, "roost domifstat web1 nic0", GROUP_LOOK, GUESTS_RUNNING};
