/* virsh's commands on a guest's interfaces. An interface is named by its device on the host, its MAC, or nicN. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static int nics_of(const struct found *f, json_t **list)
{
	struct err err = ERR_INIT;
	return compat_ask("domiflist", f->name, list, &err) < 0 ? virsh_reason(&err) : 0;
}

/* What stands in the column Interface: its device on the host, while there is one. */
static const char *device_of(const json_t *nic)
{
	return json_get_str(nic, "tap", "-");
}

static const json_t *nic_of(const json_t *list, const char *word)
{
	size_t i;
	json_t *n;
	json_array_foreach (list, i, n)
		if (str_eq(json_get_str(n, "tap", NULL), word) ||
			str_eq(json_get_str(n, "interface", NULL), word) ||
			strcasecmp(json_get_str(n, "mac", ""), word) == 0)
			return n;
	return NULL;
}

/* ---- looking ----------------------------------------------------------------------------------------------- */

/* Of its next start, in the form of `domiflist --json`. */
static int nics_of_next_start(const struct found *f, json_t **list)
{
	static const char *const types[] = {"network", "bridge", "user"};
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *info = NULL;
	size_t i;
	json_t *nic;
	if (compat_ask("dominfo", f->name, &info, &err) < 0)
		return virsh_reason(&err);
	*list = json_array();
	json_array_foreach (json_object_get(info, "interfaces"), i, nic)
		for (size_t t = 0; t < ARRAY_SIZE(types); t++)
			if (json_object_get(nic, types[t]))
				json_array_append_new(
					*list, json_pack("{s:s, s:s, s:s, s:s}", "type", types[t],
						       "source", json_get_str(nic, types[t], "-"),
						       "model", json_get_str(nic, "model", ""),
						       "mac", json_get_str(nic, "mac", "")));
	return 0;
}

static int run_domiflist(struct virsh *v)
{
	struct found f;
	_cleanup_json_ json_t *list = NULL, *rows = json_pack("[[s, s, s, s, s]]", "Interface",
						    "Type", "Source", "Model", "MAC");
	size_t i;
	json_t *n;
	if (virsh_domain(v, &f) < 0 ||
		(virsh_flag(v, "inactive") ? nics_of_next_start : nics_of)(&f, &list) < 0)
		return -1;
	json_array_foreach (list, i, n)
		json_array_append_new(
			rows, json_pack("[s, s, s, s, s]", device_of(n),
				      json_get_str(n, "type", ""), json_get_str(n, "source", "-"),
				      json_get_str(n, "model", ""), json_get_str(n, "mac", "")));
	virsh_table(v, rows);
	return 0;
}

/* The first address of an interface has its name and MAC, the others have dashes: as virsh prints it. */
static void print_addresses(const struct virsh *v, const json_t *list, const json_t *nics)
{
	bool full = virsh_flag(v, "full");
	const char *source = virsh_text(v, "source");
	bool leased = !source || str_eq(source, "lease");
	const char *before = NULL;
	size_t i;
	json_t *a;
	json_array_foreach (list, i, a) {
		const char *name = json_get_str(a, "interface", ""),
			   *protocol = json_get_str(a, "protocol", "");
		if (!json_object_get(a, "prefix"))
			continue; /* a port of the host's that leads in is no address of the guest's */
		if (leased && str_eq(protocol, "ipv6"))
			continue; /* the guest's kernel makes that one: no DHCP server gives it */
		const json_t *nic = nic_of(nics, name);
		bool again = !full && str_eq(before, name);
		_cleanup_free_ char *address = str_fmt("%s/%lld", json_get_str(a, "address", ""),
			(long long)json_get_int(a, "prefix", 0));
		printf(" %-10s %-20s %-8s     %s\n",
			again                             ? "-"
			: nic && device_of(nic)[0] != '-' ? device_of(nic)
							  : name,
			again ? "-" : json_get_str(a, "mac", "-"), protocol, address);
		before = name;
	}
}

static int source_failed(const struct err *err, bool agent)
{
	virsh_error("Failed to query for interfaces addresses");
	return agent ? virsh_agent_failed(err) : virsh_reason(err);
}

static int run_domifaddr(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL, *nics = NULL;
	const char *source = virsh_text(v, "source"), *interface = virsh_text(v, "interface");
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (source && !str_eq(source, "lease") && !str_eq(source, "agent") &&
		!str_eq(source, "arp"))
		return virsh_error("Unknown data source '%s'", source);
	if (!guest_runs(&f)) {
		virsh_error("Failed to query for interfaces addresses");
		return virsh_error("Requested operation is not valid: domain is not running");
	}
	if (nics_of(&f, &nics) < 0)
		return -1;
	words_add(&w, f.name);
	/* what libvirt has of its DHCP server we know before the guest asks for it: the default */
	if (source && !str_eq(source, "lease"))
		words_option(&w, "source", source);
	const json_t *nic = interface ? nic_of(nics, interface) : NULL;
	if (interface)
		words_option(&w, "interface", nic ? json_get_str(nic, "interface", "") : interface);
	bool none = interface && !nic && !(source && str_eq(source, "agent"));
	if (!none && words_ask(&w, "domifaddr", &list, &err) < 0 && err.kind != ERR_NOT_FOUND)
		return source_failed(&err, source && str_eq(source, "agent"));
	if (!v->quiet) {
		printf(" %-10s %-20s %-8s     %s\n", "Name", "MAC address", "Protocol", "Address");
		for (int i = 0; i < 79; i++)
			putchar('-');
		putchar('\n');
	}
	print_addresses(v, list, nics);
	return 0;
}

/* The interface that <interface> names, as roost calls it; `unknown`: what is said if there is none, or NULL. */
static int named(const struct virsh *v, const struct found *f, const char *unknown, struct words *w)
{
	_cleanup_json_ json_t *nics = NULL;
	const char *word = virsh_text(v, "interface");
	if (nics_of(f, &nics) < 0)
		return -1;
	const json_t *nic = nic_of(nics, word);
	if (!nic && unknown)
		return virsh_error("%s", unknown);
	words_add(w, f->name);
	words_text(w, nic ? json_get_str(nic, "interface", word) : word);
	return 0;
}

static int run_domifstat(struct virsh *v)
{
	static const char *const keys[] = {"rx_bytes", "rx_packets", "rx_errs", "rx_drop",
		"tx_bytes", "tx_packets", "tx_errs", "tx_drop"};
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *stats = NULL;
	const char *interface = virsh_text(v, "interface");
	if (virsh_domain(v, &f) < 0)
		return -1;
	_cleanup_free_ char *failed =
		str_fmt("Failed to get interface stats %s %s", f.name, interface);
	if (virsh_awake(v, &f, failed) < 0 || named(v, &f, NULL, &w) < 0)
		return -1;
	if (words_ask(&w, "domifstat", &stats, &err) < 0)
		return virsh_error("%s", failed),
		       err.kind == ERR_NOT_FOUND
			       ? virsh_error("invalid argument: '%s' is not a known interface",
					 interface)
			       : virsh_reason(&err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		printf("%s %s %lld\n", interface, keys[i],
			(long long)json_get_int(stats, keys[i], 0));
	return 0;
}

/* ---- link ---------------------------------------------------------------------------------------------------- */

static int run_getlink(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *answer = NULL;
	const char *interface = virsh_text(v, "interface");
	_cleanup_free_ char *unknown = str_fmt("Interface (dev: %s) not found.", interface);
	if (virsh_domain(v, &f) < 0 || named(v, &f, unknown, &w) < 0 ||
		virsh_ask(v, NULL, &w, "domif-getlink", &answer) < 0)
		return -1;
	printf("%s %s", interface, json_get_str(answer, "link", ""));
	return 0;
}

static int run_setlink(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	const char *state = virsh_text(v, "state");
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!str_eq(state, "up") && !str_eq(state, "down"))
		return virsh_error("invalid link state '%s'", state);
	_cleanup_free_ char *unknown =
		str_fmt("interface '%s' not found", virsh_text(v, "interface"));
	if (named(v, &f, unknown, &w) < 0)
		return -1;
	words_text(&w, state);
	if (virsh_flag(v, "config"))
		words_add(&w, "--config");
	if (virsh_ask(v, NULL, &w, "domif-setlink", NULL) < 0)
		return -1;
	virsh_say(v, "Device updated successfully");
	return 0;
}

/* ---- attach, detach ---------------------------------------------------------------------------------------------- */

static const char not_running[] = "Requested operation is not valid: domain is not running";

/* As roost has it: now, at the next start, or both. -1: now, and it does not run. */
static int take_when(const struct virsh *v, const struct found *f, struct words *w)
{
	bool runs = guest_runs(f), live = virsh_flag(v, "live"), config = virsh_flag(v, "config"),
	     current = virsh_flag(v, "current"), persistent = virsh_flag(v, "persistent");
	if (!runs && (live || !(config || current || persistent)))
		return -1;
	if (persistent || (live && config))
		words_add(w, runs ? "--persistent" : "--config");
	else if (config || !runs)
		words_add(w, "--config");
	return 0;
}

static int run_attach(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	const char *type = virsh_text(v, "type");
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!str_eq(type, "network") && !str_eq(type, "bridge"))
		return virsh_error("No support for %s in command 'attach-interface'", type);
	words_add(&w, f.name);
	words_add(&w, type);
	words_text(&w, virsh_text(v, "source"));
	words_option(&w, "mac", virsh_text(v, "mac"));
	words_option(&w, "model", virsh_text(v, "model"));
	if (take_when(v, &f, &w) < 0)
		return virsh_error("Failed to attach interface"), virsh_error("%s", not_running);
	if (words_ask(&w, "attach-interface", NULL, &err) < 0)
		return virsh_error("Failed to attach interface"),
		       err.kind == ERR_NOT_FOUND && str_eq(type, "network")
			       ? virsh_error(
					 "Network not found: no network with matching name '%s'",
					 virsh_text(v, "source"))
			       : virsh_reason(&err);
	virsh_say(v, "Interface attached successfully");
	return 0;
}

static const json_t *one_of_type(const json_t *nics, const char *type, size_t *count)
{
	const json_t *found = NULL;
	size_t i;
	json_t *n;
	*count = 0;
	json_array_foreach (nics, i, n) {
		if (!str_eq(json_get_str(n, "type", NULL), type))
			continue;
		(*count)++;
		found = n;
	}
	return found;
}

static int run_detach(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *nics = NULL;
	const char *type = virsh_text(v, "type"), *mac = virsh_text(v, "mac");
	size_t count;
	if (virsh_domain(v, &f) < 0 || nics_of(&f, &nics) < 0)
		return -1;
	/* of its next start, which the list need not have */
	bool later = mac && virsh_flag(v, "config") && !virsh_flag(v, "live");
	const json_t *nic = one_of_type(nics, type, &count);
	words_add(&w, f.name);
	if (take_when(v, &f, &w) < 0)
		return virsh_error("Failed to detach interface"), virsh_error("%s", not_running);
	if (later)
		words_text(&w, mac);
	else if (!nic)
		virsh_error("No interface found whose type is %s", type);
	else if (!mac && count > 1)
		virsh_error(
			"Domain has %zu interfaces. Please specify which one to detach using --mac",
			count);
	else if (mac && !(nic = nic_of(nics, mac)))
		virsh_error("No interface with MAC address %s was found", mac);
	if (!later && (!nic || (!mac && count > 1)))
		return virsh_error("Failed to detach interface");
	if (!later)
		words_add(&w, json_get_str(nic, "mac", ""));
	if (words_ask(&w, "detach-interface", NULL, &err) < 0)
		return virsh_error("Failed to detach interface"), virsh_reason(&err);
	virsh_say(v, "Interface detached successfully");
	return 0;
}

const struct virsh_command virsh_nics[] = {
	{"domiflist", {V_DOMAIN, {"inactive", V_FLAG}}, run_domiflist,
		"list all domain virtual interfaces", NULL, false},
	{"domifaddr", {V_DOMAIN, {"interface", V_TEXT}, {"full", V_FLAG}, {"source", V_TEXT}},
		run_domifaddr, "Get network interfaces' addresses for a running domain", NULL,
		false},
	{"domifstat", {V_DOMAIN, {"interface", V_NEED}}, run_domifstat,
		"get network interface stats for a domain", NULL, false},
	{"domif-getlink", {V_DOMAIN, {"interface", V_NEED}, {"config", V_FLAG}}, run_getlink,
		"get link state of a virtual interface", NULL, false},
	{"domif-setlink", {V_DOMAIN, {"interface", V_NEED}, {"state", V_NEED}, {"config", V_FLAG}},
		run_setlink, "set link state of a virtual interface", NULL, true},
	{"attach-interface",
		{V_DOMAIN, {"type", V_NEED}, {"source", V_NEED}, {"mac", V_NAMED},
			{"model", V_NAMED}, {"persistent", V_FLAG}, V_CURRENT},
		run_attach, "attach network interface", NULL, true},
	{"detach-interface",
		{V_DOMAIN, {"type", V_NEED}, {"mac", V_TEXT}, {"persistent", V_FLAG}, V_CURRENT},
		run_detach, "detach network interface", NULL, true},
	{0},
};
