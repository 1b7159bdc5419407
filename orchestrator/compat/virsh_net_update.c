/* virsh's net-update: of a network's XML the hosts of its DHCP, which `roost net-update` has, too. */
#include "orchestrator/compat/virsh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/definition_yaml.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/network_address.h"

static const char *const sections[][2] = {
	{"ip-dhcp-host", NULL},
	{"bridge", "use net-edit: mode, bridge"},
	{"domain", "use net-edit: domain"},
	{"ip", "use net-edit: address"},
	{"ip-dhcp-range", "all of its subnet is for guests, each has its address before it boots"},
	{"forward", "use net-edit: mode"},
	{"forward-interface", "guests go out by whichever way the host goes"},
	{"forward-pf", "guests go out by whichever way the host goes"},
	{"portgroup", "a network has no port groups"},
	{"dns-host", "a name belongs to a host with a MAC address: use ip-dhcp-host"},
	{"dns-txt", "the network's DNS has addresses alone"},
	{"dns-srv", "the network's DNS has addresses alone"},
};

static int check_section(const char *section)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		if (!str_eq(sections[i][0], section))
			continue;
		return sections[i][1]
			       ? virsh_error("section %s is not there: %s", section, sections[i][1])
			       : 0;
	}
	return virsh_error("unrecognized section name '%s'", section);
}

/* "ADD", "MODIFY", "DELETE"; 0: none of them. In which order hosts stand means nothing. */
static char what_of(const char *command)
{
	return str_eq(command, "add") || str_eq(command, "add-last") || str_eq(command, "add-first")
		       ? 'A'
	       : str_eq(command, "modify") ? 'M'
	       : str_eq(command, "delete") ? 'D'
					   : 0;
}

/* {"mac", "name", "address"} of the element itself, or of the file with it. */
static json_t *read_host(const char *xml, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	if (xml[0] == '<')
		buf_str(&text, xml);
	else if (written_read(xml, &text, &folder, err) < 0)
		return NULL;
	_cleanup_json_ json_t *answer = libvirt_ask(&text, "the XML", err);
	const char *kind = json_get_str(answer, "kind", "");
	const json_t *note = json_array_get(json_object_get(answer, "notes"), 0);
	_cleanup_free_ char *unknown = note ? libvirt_note_text(note) : NULL;
	if (answer && !str_eq(kind, "host"))
		err_set(err, ERR_USAGE, "XML error: it is a <%s>, and a <host> is wanted", kind);
	else if (unknown)
		err_set(err, ERR_USAGE, "XML error: %s", unknown);
	else if (answer)
		return json_incref(json_object_get(answer, "definition"));
	return NULL;
}

/* Who has what of the host is told; NULL: nobody. */
static json_t *find(const struct network *n, const json_t *host)
{
	enum { BY_NAME = 1 }; /* a guest's own, or the one that it was announced by */
	static const char *const keys[][2] = {
		{"mac", "mac"}, [BY_NAME] = {"name", "guest"}, {"address", "address"}};
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *all = network_addresses(n, &ignored);
	size_t i;
	json_t *file;
	json_array_foreach (all, i, file) {
		bool same = !network_address_is_void(file);
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			const char *wanted = json_get_str(host, keys[k][0], NULL);
			same = same &&
			       (!wanted || str_eq(wanted, json_get_str(file, keys[k][1], "")) ||
				       (k == BY_NAME &&
					       str_eq(wanted, network_address_host(file))));
		}
		if (same)
			return json_incref(file);
	}
	return NULL;
}

static int add(const char *network, const json_t *host, json_t **answer, struct err *err)
{
	_cleanup_words_ struct words w = {0};
	const char *mac = json_get_str(host, "mac", ""), *name = json_get_str(host, "name", NULL),
		   *address = json_get_str(host, "address", NULL);
	words_add(&w, network);
	words_add(&w, "add");
	words_add(&w, "host");
	words_text(&w, mac);
	if (name)
		words_text(&w, name);
	if (address)
		words_text(&w, address);
	return words_ask(&w, "net-update", answer, err);
}

static int drop(const char *network, const json_t *file, json_t **answer, struct err *err)
{
	_cleanup_words_ struct words w = {0};
	words_add(&w, network);
	words_add(&w, "delete");
	words_add(&w, "host");
	words_add(&w, json_get_str(file, "mac", ""));
	return words_ask(&w, "net-update", answer, err);
}

/* As it was before it is given up, if what was to be instead cannot be. */
static int replace(const char *network, const json_t *host, const json_t *file, json_t **answer,
	struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_json_ json_t *fresh = json_copy((json_t *)host);
	if (!json_object_get(fresh, "name"))
		json_object_set(fresh, "name", json_object_get(file, "guest"));
	if (!json_get_bool(file, "host", false))
		return add(network, fresh, answer, err);
	if (drop(network, file, NULL, err) < 0)
		return -1;
	if (add(network, fresh, answer, err) == 0)
		return 0;
	_cleanup_json_ json_t *old = json_pack("{s:s, s:s, s:s}", "mac",
		json_get_str(file, "mac", ""), "name", json_get_str(file, "guest", ""), "address",
		json_get_str(file, "address", ""));
	add(network, old, NULL, &none);
	return -1;
}

static int update(
	const struct network *n, char what, const json_t *host, json_t **answer, struct err *err)
{
	const char *mac = json_get_str(host, "mac", NULL);
	_cleanup_json_ json_t *same_mac =
		mac && what != 'D' ? json_pack("{s:s}", "mac", mac) : NULL;
	if (what != 'D' && !mac)
		return err_set(err, ERR_USAGE, "XML error: a <host> needs its mac");
	if (what != 'D' && !json_object_get(host, "address"))
		return err_set(err, ERR_USAGE,
			"XML error: Missing IP address in static host definition for network '%s'",
			n->name);
	_cleanup_json_ json_t *file = find(n, same_mac ? same_mac : host);
	if (what == 'A' && file && json_get_bool(file, "host", false))
		return err_set(err, ERR_REFUSED,
			"Requested operation is not valid: there is an existing dhcp host entry in network '%s' that matches "
			"\"<host mac='%s' name='%s' ip='%s'/>\"",
			n->name, mac, json_get_str(file, "guest", ""),
			json_get_str(file, "address", ""));
	if (what == 'A')
		return add(n->name, host, answer, err);
	if (!file && what == 'M')
		return err_set(err, ERR_NOT_FOUND,
			"Requested operation is not valid: couldn't locate an existing dhcp host "
			"entry with \"mac='%s'\" in network '%s'",
			mac, n->name);
	if (!file)
		return err_set(err, ERR_NOT_FOUND,
			"Requested operation is not valid: couldn't locate a matching dhcp host "
			"entry in network '%s'",
			n->name);
	return what == 'M' ? replace(n->name, host, file, answer, err)
			   : drop(n->name, file, answer, err);
}

/* Whether --live or --config is said: a host is known now, and at every later start. */
static int run_update(struct virsh *v)
{
	struct err err = ERR_INIT;
	struct network n;
	int64_t parent = -1;
	const char *command = virsh_text(v, "command"), *xml = virsh_text(v, "xml");
	char what = what_of(command);
	_cleanup_json_ json_t *facts = NULL, *host = NULL, *answer = NULL;
	if (!what)
		return virsh_error("unrecognized command name '%s'", command);
	if (check_section(virsh_text(v, "section")) < 0 ||
		virsh_number(v, "parent-index", -1, 0, &parent) < 0)
		return -1;
	if (virsh_network(v, &facts) < 0)
		return -1;
	const char *name = json_get_str(facts, "name", "");
	bool active = str_eq(json_get_str(facts, "state", ""), "active");
	if (virsh_flag(v, "live") && !active) {
		virsh_error("Failed to update network %s", name);
		return virsh_error("Requested operation is not valid: network is not running");
	}
	if (xml[0] != '<' && access(xml, R_OK) < 0)
		return virsh_error("Failed to open file '%s': %s", xml, strerror(errno));
	if (network_find(name, &n, &err) < 0 || !(host = read_host(xml, &err)) ||
		update(&n, what, host, &answer, &err) < 0)
		return virsh_error("Failed to update network %s", name), virsh_reason(&err);
	if (json_get_bool(answer, "next_start", false))
		virsh_say(v, "Domain '%s' has the address from its next start on",
			json_get_str(answer, "guest", ""));
	virsh_say_last(v,
		active ? "Updated network %s persistent config and live state"
		       : "Updated network %s persistent config",
		name);
	return 0;
}

const struct virsh_command virsh_net_updates[] = {
	{"net-update",
		{V_NETWORK, {"command", V_NEED}, {"section", V_NEED}, {"xml", V_NEED},
			{"parent-index", V_NAMED_INT}, V_CURRENT},
		run_update, "update parts of an existing network's configuration", NULL, true},
	{0},
};
