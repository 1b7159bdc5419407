/* virsh's commands on networks. Names stand without quotes in their messages, as in virsh's. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <unistd.h>

#include "netsetup/address.h"

static bool is_active(const json_t *facts)
{
	return str_eq(json_get_str(facts, "state", ""), "active");
}

/* ---- looking ----------------------------------------------------------------------------------------------- */

static bool passes(const struct virsh *v, const json_t *net)
{
	bool active = is_active(net), autostart = json_get_bool(net, "autostart", false);
	bool yes = virsh_flag(v, "autostart"), no = virsh_flag(v, "no-autostart");
	if (virsh_flag(v, "transient") && !virsh_flag(v, "persistent"))
		return false;
	if (virsh_flag(v, "inactive") ? active : !active && !virsh_flag(v, "all"))
		return false;
	return yes == no || autostart == yes;
}

static int run_list(struct virsh *v)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *list = NULL, *rows = json_pack("[[s, s, s, s]]", "Name", "State",
						    "Autostart", "Persistent");
	int forms = virsh_flag(v, "name") + virsh_flag(v, "uuid");
	bool table = !forms;
	size_t i;
	json_t *net;
	if (forms + virsh_flag(v, "table") > 1)
		return virsh_error(
			"Only one argument from --table, --name and --uuid may be specified.");
	if (verb_ask("net-list", (const char *const[]){"--all", NULL}, &list, &err) < 0)
		return virsh_error("Failed to list networks"), virsh_reason(&err);
	json_array_foreach (list, i, net) {
		if (!passes(v, net))
			continue;
		if (!table)
			puts(json_get_str(net, virsh_flag(v, "uuid") ? "uuid" : "name", ""));
		else
			json_array_append_new(
				rows, json_pack("[s, s, s, s]", json_get_str(net, "name", ""),
					      is_active(net) ? "active" : "inactive",
					      json_get_bool(net, "autostart", false) ? "yes" : "no",
					      "yes"));
	}
	if (table)
		virsh_table(v, rows);
	return 0;
}

static int run_info(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL;
	if (virsh_network(v, &facts) < 0)
		return -1;
	virsh_fact(16, "Name:", "%s", json_get_str(facts, "name", ""));
	virsh_fact(16, "UUID:", "%s", json_get_str(facts, "uuid", ""));
	virsh_fact(16, "Active:", "%s", is_active(facts) ? "yes" : "no");
	virsh_fact(16, "Persistent:", "yes");
	virsh_fact(16, "Autostart:", "%s", json_get_bool(facts, "autostart", false) ? "yes" : "no");
	virsh_fact(16, "Bridge:", "%s", json_get_str(facts, "bridge", ""));
	return 0;
}

static int run_name(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL;
	if (virsh_network(v, &facts) < 0)
		return -1;
	puts(json_get_str(facts, str_eq(v->command->name, "net-uuid") ? "uuid" : "name", ""));
	return 0;
}

static int run_leases(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL, *list = NULL,
			      *rows = json_pack("[[s, s, s, s, s, s]]", "Expiry Time",
				      "MAC address", "Protocol", "IP address", "Hostname",
				      "Client ID or DUID");
	_cleanup_words_ struct words w = {0};
	struct err err = ERR_INIT;
	struct mac bytes;
	const char *mac = virsh_text(v, "mac");
	size_t i;
	json_t *l;
	if (virsh_network(v, &facts) < 0)
		return -1;
	const char *name = json_get_str(facts, "name", "");
	words_add(&w, name);
	if (mac && mac_parse(mac, &bytes, &err) < 0)
		return virsh_error("Failed to get leases info for %s", name),
		       virsh_error("invalid MAC address: %s", mac);
	if (mac)
		words_add(&w, mac);
	if (is_active(facts) && virsh_ask(v, NULL, &w, "net-dhcp-leases", &list) < 0)
		return -1;
	json_array_foreach (list, i, l) {
		char when[32];
		compat_time(when, json_get_int(l, "expires", 0), false);
		_cleanup_free_ char *address = str_fmt("%s/%lld", json_get_str(l, "address", ""),
			(long long)json_get_int(l, "prefix", 0));
		json_array_append_new(
			rows, json_pack("[s, s, s, s, s, s]", when, json_get_str(l, "mac", ""),
				      json_get_str(l, "protocol", ""), address,
				      json_get_str(l, "hostname", "-"),
				      json_get_str(l, "client_id", "-")));
	}
	virsh_table(v, rows);
	return 0;
}

int virsh_networks_active(const struct virsh *v, const struct found *f)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *nics = NULL;
	size_t i;
	json_t *nic;
	if (compat_ask("domiflist", f->name, &nics, &err) < 0)
		return virsh_failed(v, f->name, &err);
	json_array_foreach (nics, i, nic) {
		struct err ignored = ERR_INIT;
		_cleanup_json_ json_t *facts = NULL;
		const char *name = json_get_str(nic, "source", "");
		if (!str_eq(json_get_str(nic, "type", NULL), "network") ||
			compat_ask("net-info", name, &facts, &ignored) < 0 || is_active(facts))
			continue;
		err_set(&err, ERR_REFUSED,
			"Requested operation is not valid: network '%s' is not active", name);
		return virsh_failed(v, f->name, &err);
	}
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------- */

/* A verb about a network; "Failed to DOING network NAME" if it fails, else what is said, with its name for '%s'. */
static int act(struct virsh *v, const json_t *facts, const struct words *w, const char *verb,
	const char *doing, const char *said)
{
	struct err err = ERR_INIT;
	const char *name = json_get_str(facts, "name", "");
	if (words_ask(w, verb, NULL, &err) < 0)
		return virsh_error("Failed to %s network %s", doing, name), virsh_reason(&err);
	virsh_say(v, "Network %s %s", name, said);
	return 0;
}

static int run_start(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL;
	_cleanup_words_ struct words w = {0};
	if (virsh_network(v, &facts) < 0)
		return -1;
	const char *name = json_get_str(facts, "name", "");
	if (is_active(facts)) {
		virsh_error("Failed to start network %s", name);
		return virsh_error("Requested operation is not valid: network is already active");
	}
	words_add(&w, name);
	return act(v, facts, &w, "net-start", "start", "started");
}

static int run_destroy(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL;
	_cleanup_words_ struct words w = {0};
	if (virsh_network(v, &facts) < 0)
		return -1;
	const char *name = json_get_str(facts, "name", "");
	if (!is_active(facts)) {
		virsh_error("Failed to destroy network %s", name);
		return virsh_error(
			"Requested operation is not valid: network '%s' is not active", name);
	}
	words_add(&w, name);
	return act(v, facts, &w, "net-destroy", "destroy", "destroyed");
}

static int run_autostart(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL;
	_cleanup_words_ struct words w = {0};
	bool off = virsh_flag(v, "disable");
	if (virsh_network(v, &facts) < 0)
		return -1;
	words_add(&w, json_get_str(facts, "name", ""));
	if (off)
		words_add(&w, "--disable");
	return act(v, facts, &w, "net-autostart", off ? "unmark" : "mark",
		off ? "unmarked as autostarted" : "marked as autostarted");
}

static int run_undefine(struct virsh *v)
{
	_cleanup_json_ json_t *facts = NULL;
	_cleanup_words_ struct words w = {0};
	if (virsh_network(v, &facts) < 0)
		return -1;
	words_add(&w, json_get_str(facts, "name", ""));
	return act(v, facts, &w, "net-undefine", "undefine", "has been undefined");
}

static int run_define(struct virsh *v)
{
	const char *file = virsh_text(v, "file");
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *answer = NULL;
	if (access(file, R_OK) < 0)
		return virsh_error("Failed to open file '%s': %m", file);
	words_text(&w, file);
	words_add(&w, "--same-uuid");
	if (words_ask(&w, "net-define", &answer, &err) < 0)
		return virsh_error("Failed to define network from %s", file), virsh_reason(&err);
	virsh_say(v, "Network %s defined from %s", json_get_str(answer, "name", "?"), file);
	return 0;
}

/* As they are: an editor on YAML, XML of a network's. */
static int run_as_it_is(struct virsh *v)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *facts = NULL;
	if (virsh_network(v, &facts) < 0)
		return -1;
	const char *const words[] = {json_get_str(facts, "name", ""), NULL};
	return verb_call(v->command->name, words, &err) < 0 ? virsh_reason(&err) : 0;
}

const struct virsh_command virsh_networks[] = {
	{"net-list",
		{{"inactive", V_FLAG}, {"all", V_FLAG}, {"persistent", V_FLAG},
			{"transient", V_FLAG}, {"autostart", V_FLAG}, {"no-autostart", V_FLAG},
			{"name", V_FLAG}, {"table", V_FLAG}, {"uuid", V_FLAG}},
		run_list, "list networks", NULL, false},
	{"net-info", {V_NETWORK}, run_info, "network information", NULL, false},
	{"net-start", {V_NETWORK}, run_start, "start a (previously defined) inactive network", NULL,
		true},
	{"net-destroy", {V_NETWORK}, run_destroy, "destroy (stop) a network", NULL, true},
	{"net-autostart", {V_NETWORK, {"disable", V_FLAG}}, run_autostart, "autostart a network",
		NULL, true},
	{"net-define", {{"file", V_NEED}, {"validate", V_FLAG}}, run_define,
		"define a persistent network from a file (libvirt's XML, or roost's YAML or JSON)",
		NULL, true},
	{"net-undefine", {V_NETWORK}, run_undefine, "undefine a persistent network", NULL, true},
	{"net-edit", {V_NETWORK}, run_as_it_is,
		"edit a network's definition, as roost has it: YAML", NULL, true},
	{"net-dumpxml", {V_NETWORK, {"inactive", V_FLAG}}, run_as_it_is,
		"network information in XML", NULL, false},
	{"net-dhcp-leases", {V_NETWORK, {"mac", V_TEXT}}, run_leases,
		"print lease info for a given network", NULL, false},
	{"net-name", {V_NETWORK}, run_name, "convert a network UUID to network name", NULL, false},
	{"net-uuid", {V_NETWORK}, run_name, "convert a network name to network UUID", NULL, false},
	{0},
};
