/* net-list, net-info, net-dhcp-leases, net-guard: what networks there are, and what goes on in one. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/fs.h"
#include "orchestrator/network.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_leases.h"
#include "orchestrator/network_up.h"
#include "orchestrator/paths.h"
#include "orchestrator/table.h"

/* ---- net-list ------------------------------------------------------------------------------------- */

static json_t *facts_of(const struct network *n)
{
	json_t *o = network_to_json(n);
	json_object_set_new(o, "state", json_string(network_active(n) ? "active" : "inactive"));
	/* the default network's record comes with its first use: it is as lasting without */
	json_object_set_new(
		o, "persistent", json_boolean(!n->implicit || str_eq(n->name, NETWORK_DEFAULT)));
	if (n->mode != NETWORK_BRIDGE)
		json_object_set_new(o, "bridge", json_string("br0"));
	return o;
}

static bool is_wanted(const struct cli *cli, const struct network *n)
{
	bool active = network_active(n), on = cli_flag(cli, "autostart"),
	     off = cli_flag(cli, "no-autostart");
	if ((on || off) && n->autostart != on && n->autostart == off)
		return false;
	return cli_flag(cli, "all") || active != cli_flag(cli, "inactive");
}

/* A network whose record cannot be read is listed all the same. */
static json_t *find_all(const struct cli *cli, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (network_names(&names, NULL, err) < 0)
		return NULL;
	json_t *list = json_array();
	for (char **name = names; *name; name++) {
		struct err why = ERR_INIT;
		struct network n;
		if (network_load(*name, &n, &why) == 0 && is_wanted(cli, &n))
			json_array_append_new(list, facts_of(&n));
		else if (why.kind && why.kind != ERR_NOT_FOUND)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:b, s:b, s:s}", "name", *name, "state",
					      "broken", "autostart", 0, "persistent", 1, "error",
					      why.message));
	}
	return list;
}

/* Those of bridges that the host has: they have no record, so it is their holders that tell of them. */
static int add_of_bridges(const struct cli *cli, json_t *list, struct err *err)
{
	_cleanup_names_ char **ids = NULL;
	const char *run = paths_run(err);
	_cleanup_free_ char *folder = run ? str_fmt("%s/n", run) : NULL;
	struct err none = ERR_INIT;
	_cleanup_close_ int dir = folder ? dir_open(AT_FDCWD, folder, &none) : -1;
	if (dir < 0 || dir_names(dir, &ids, NULL, &none) < 0)
		return run ? 0 : -1;
	for (char **id = ids; *id; id++) {
		struct network n;
		_cleanup_free_ char *file = str_fmt("%s/holder", *id);
		_cleanup_json_ json_t *holder = json_file_read(dir, file, &none);
		const char *name = json_get_str(holder, "name", "");
		if (str_starts(name, NETWORK_OF_BRIDGE) && network_load(name, &n, &none) == 0 &&
			network_active(&n) && is_wanted(cli, &n))
			json_array_append_new(list, facts_of(&n));
	}
	return 0;
}

static const char *yes(const json_t *o, const char *key)
{
	return json_get_bool(o, key, false) ? "yes" : "no";
}

static void print_list(const struct cli *cli, const json_t *list)
{
	_cleanup_json_ json_t *rows = json_array();
	const char *key = cli_flag(cli, "name") ? "name" : cli_flag(cli, "uuid") ? "uuid" : NULL;
	size_t i;
	json_t *n;
	table_row(rows, "Name", "State", "Autostart", "Persistent");
	json_array_foreach (list, i, n) {
		if (key)
			puts(json_get_str(n, key, ""));
		table_row(rows, json_get_str(n, "name", ""), json_get_str(n, "state", ""),
			yes(n, "autostart"), yes(n, "persistent"));
	}
	if (!key)
		table_print(rows);
}

static int run_list(const struct cli *cli, struct err *err)
{
	json_t *list = find_all(cli, err);
	if (!list || add_of_bridges(cli, list, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(list);
		return 0;
	}
	print_list(cli, list);
	json_decref(list);
	return 0;
}

/* ---- net-info ------------------------------------------------------------------------------------- */

static void print_fact(const char *key, const char *value)
{
	if (value[0])
		printf("%-16s%s\n", key, value);
}

static void print_uplink(const json_t *uplink)
{
	size_t i;
	json_t *note;
	const char *host = json_get_str(uplink, "host", NULL);
	_cleanup_free_ char *text = str_fmt(
		"%s%s%s", json_get_str(uplink, "kind", ""), host ? " " : "", host ? host : "");
	print_fact("Uplink:", text);
	print_fact("Problem:", json_get_str(uplink, "problem", ""));
	print_fact("Remedy:", json_get_str(uplink, "hint", ""));
	json_array_foreach (json_object_get(uplink, "notes"), i, note)
		print_fact(i ? "" : "Note:", json_string_value(note));
}

/* What has been changed in its definition since it was started: as it still is. */
static json_t *find_unchanged(const struct network *n, const json_t *status)
{
	const char *key;
	json_t *old, *out = json_object();
	_cleanup_json_ json_t *now = network_to_json(n);
	_cleanup_json_ json_t *was = json_deep_copy(json_object_get(status, "definition"));
	json_object_foreach (now, key, old)
		if (was && !json_object_get(was, key))
			json_object_set_new(was, key, json_null());
	json_object_foreach (was, key, old)
		if (!str_eq(key, "autostart") && !json_equal(old, json_object_get(now, key)))
			json_object_set(out, key, old);
	return out;
}

static void print_unchanged(const json_t *unchanged)
{
	const char *key, *title = "Until it ends:";
	json_t *value;
	json_object_foreach ((json_t *)unchanged, key, value) {
		_cleanup_free_ char *text =
			json_is_string(value) ? xstrdup(json_string_value(value))
			: json_is_null(value) ? xstrdup("none")
					      : json_dumps(value, JSON_ENCODE_ANY);
		_cleanup_free_ char *line = str_fmt("%s: %s", key, text);
		print_fact(title, line);
		title = "";
	}
}

static int run_info(const struct cli *cli, struct err *err)
{
	struct network n;
	if (network_find(cli->operands[0], &n, err) < 0)
		return -1;
	bool active = network_active(&n), own = n.mode != NETWORK_BRIDGE;
	/* the bridge is not to be seen on the host */
	_cleanup_free_ char *inside = own && active
					      ? str_fmt("%sroost net-exec %s ip address",
							paths_are_system() ? "sudo " : "", n.name)
					      : xstrdup("");
	_cleanup_json_ json_t *status = active ? network_status(&n) : NULL;
	_cleanup_json_ json_t *unchanged = find_unchanged(&n, status);
	json_t *facts = facts_of(&n), *uplink = json_object_get(status, "uplink");
	if (uplink)
		json_object_set(facts, "uplink", uplink);
	if (json_object_size(unchanged))
		json_object_set(facts, "until_it_ends", unchanged);
	if (cli->json) {
		if (inside[0])
			json_object_set_new(facts, "look_inside", json_string(inside));
		cli_print_json(facts);
		return 0;
	}
	print_fact("Name:", n.name);
	print_fact("UUID:", n.uuid);
	print_fact("Active:", active ? "yes" : "no");
	print_fact("Persistent:", yes(facts, "persistent"));
	print_fact("Autostart:", n.autostart ? "yes" : "no");
	print_fact("Bridge:", json_get_str(facts, "bridge", ""));
	print_fact("Mode:", network_mode_name(n.mode));
	print_fact("Address:", n.address);
	print_fact("IPv6 address:", n.address6);
	print_fact("Domain:", n.domain);
	print_unchanged(unchanged);
	print_uplink(uplink);
	print_fact("Look inside:", inside);
	json_decref(facts);
	return 0;
}

/* ---- net-dhcp-leases ------------------------------------------------------------------------------ */

static void print_leases(const json_t *list)
{
	_cleanup_json_ json_t *rows = json_array();
	size_t i;
	json_t *l;
	table_row(rows, "Expiry Time", "MAC address", "Protocol", "IP address", "Hostname",
		"Client ID or DUID");
	json_array_foreach (list, i, l) {
		char when[32] = "never";
		time_t expires = (time_t)json_get_int(l, "expires", 0);
		struct tm parts;
		if (expires && localtime_r(&expires, &parts))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
		_cleanup_free_ char *address = str_fmt("%s/%lld", json_get_str(l, "address", ""),
			(long long)json_get_int(l, "prefix", 0));
		table_row(rows, when, json_get_str(l, "mac", ""), json_get_str(l, "protocol", ""),
			address, json_get_str(l, "hostname", "-"),
			json_get_str(l, "client_id", "-"));
	}
	table_print(rows);
}

static int refuse_inactive(const struct network *n, struct err *err)
{
	if (network_active(n))
		return 0;
	err_set(err, ERR_REFUSED, "network '%s' is not active", n->name);
	return err_hint(err, "`roost net-start %s` starts it", n->name);
}

static int run_leases(const struct cli *cli, struct err *err)
{
	struct network n;
	if (network_find(cli->operands[0], &n, err) < 0)
		return -1;
	if (refuse_inactive(&n, err) < 0)
		return -1;
	json_t *list = network_leases(&n, cli->count > 1 ? cli->operands[1] : NULL, err);
	if (!list)
		return -1;
	if (cli->json) {
		cli_print_json(list);
		return 0;
	}
	print_leases(list);
	json_decref(list);
	return 0;
}

/* ---- net-guard ------------------------------------------------------------------------------------ */

static int run_guard(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *rows = json_array(), *drops = NULL;
	struct network n;
	size_t i;
	json_t *d;
	if (network_find(cli->operands[0], &n, err) < 0 || refuse_inactive(&n, err) < 0 ||
		network_call(&n, "net-drops", NULL, NULL, 0, &drops, NULL, NULL, NETWORK_CALL_MS,
			err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(TAKE(drops));
		return 0;
	}
	table_row(rows, "Guest", "Interface", "Dropped", "Packets", "Bytes");
	json_array_foreach (drops, i, d) {
		char interface[32] = "-", packets[24], bytes[24];
		if (json_object_get(d, "nic"))
			snprintf(interface, sizeof(interface), "nic%lld",
				(long long)json_get_int(d, "nic", 0));
		snprintf(
			packets, sizeof(packets), "%lld", (long long)json_get_int(d, "packets", 0));
		snprintf(bytes, sizeof(bytes), "%lld", (long long)json_get_int(d, "bytes", 0));
		table_row(rows, json_get_str(d, "guest", "-"), interface,
			json_get_str(d, "reason", ""), packets, bytes);
	}
	table_print(rows);
	return 0;
}

const struct verb verb_net_list = {"net-list", "",
	"Lists the networks, with --all also inactive ones.", 0, 0, false,
	{{"all", NULL, 0, "also those that are not active"},
		{"inactive", NULL, 0, "only those that are not active"},
		{"autostart", NULL, 0, "only those that are started when the host boots"},
		{"no-autostart", NULL, 0, "only the others"},
		{"name", NULL, 0, "only the names, one a line"},
		{"uuid", NULL, 0, "only the UUIDs, one a line"}},
	run_list, "roost net-list --all", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_info = {"net-info", "NETWORK",
	"Tells what a network is, and how one looks inside: its bridge is not to be seen on the host.",
	1, 1, false, {{0}}, run_info, "roost net-info default", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_dhcp_leases = {"net-dhcp-leases", "NETWORK [MAC]",
	"Lists the addresses that guests of a network have fetched.", 1, 2, false, {{0}},
	run_leases, "roost net-dhcp-leases default", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_guard = {"net-guard", "NETWORK",
	"Tells what the guards of a network have dropped, by guest and reason, of the guests that run.",
	1, 1, false, {{0}}, run_guard, "roost net-guard default", GROUP_NETWORKS, GUESTS_ALL};
