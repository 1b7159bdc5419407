/* net-define, net-undefine, net-edit, net-dumpyaml, net-start, net-destroy, net-autostart: what changes a network. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/connect.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/editor.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/libvirt_hosts.h"
#include "orchestrator/network.h"
#include "orchestrator/network_users.h"
#include "orchestrator/uplinks.h"

static int parse(
	const char *text, size_t len, const char *file, struct network *out, struct err *err)
{
	struct origin origin = {.file = file, .folder = "/"};
	_cleanup_node_ struct node *root = node_from_yaml(text, len, &origin, err);
	return root ? network_from_node(root, out, err) : -1;
}

/* One command about the network that the first operand names, and its reply. */
static int change(const struct cli *cli, const char *command, json_t *args, struct network *n,
	json_t **reply, struct err *err)
{
	if (network_find(cli->operands[0], n, err) < 0) {
		json_decref(args);
		return -1;
	}
	json_object_set_new(args, "network", json_string(n->name));
	return supervisor_call(command, args, reply, err);
}

static int told(const struct cli *cli, const char *name, json_t *reply, const char *what)
{
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	json_decref(reply);
	printf("Network '%s' %s\n", name, what);
	return 0;
}

/* ---- net-define ----------------------------------------------------------------------------------- */

static int define(const struct network *n, bool new, json_t **reply, struct err *err)
{
	return supervisor_call("roost-net-define",
		json_pack("{s:o, s:b}", "definition", network_to_json(n), "new", new), reply, err);
}

static const char *changed_words(const json_t *reply)
{
	if (!json_get_bool(reply, "changed", false))
		return "defined";
	return json_get_bool(reply, "active", false) ? "changed; it takes effect at its next start"
						     : "changed";
}

static int parse_xml(const struct buf *text, const char *file, struct network *out, json_t **hosts,
	struct err *err)
{
	struct network old;
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *note;
	_cleanup_json_ json_t *answer = libvirt_ask(text, file, err);
	if (!answer || libvirt_network(answer, file, out, err) < 0)
		return -1;
	json_array_foreach (json_object_get(answer, "notes"), i, note) {
		_cleanup_free_ char *words = libvirt_note_text(note);
		fprintf(stderr, "roost: %s: %s\n", file, words);
	}
	/* libvirt's XML does not say it: it stays as it is */
	out->autostart = network_load_recorded(out->name, &old, &ignored) == 0 && old.autostart;
	*hosts = json_incref(json_object_get(answer, "hosts"));
	return 0;
}

static void take_hosts(const struct network *n, const json_t *hosts)
{
	size_t i;
	json_t *text;
	_cleanup_json_ json_t *told = libvirt_take_hosts(n, hosts);
	json_array_foreach (told, i, text)
		fprintf(stderr, "roost: network '%s': %s\n", n->name, json_string_value(text));
}

static int run_define(const struct cli *cli, struct err *err)
{
	const char *file = cli->operands[0], *named = str_eq(file, "-") ? "<stdin>" : file;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	_cleanup_json_ json_t *hosts = NULL;
	struct network n;
	json_t *reply = NULL;
	if (written_read(file, &text, &folder, err) < 0)
		return -1;
	bool xml = libvirt_is_xml(&text);
	if ((xml ? parse_xml(&text, named, &n, &hosts, err)
		 : parse(text.data, text.len, named, &n, err)) < 0)
		return -1;
	if (cli_flag(cli, "validate")) {
		if (cli->json)
			cli_print_json(json_pack("{s:s, s:b}", "name", n.name, "valid", 1));
		else
			printf("'%s' is a good definition of network '%s'\n", file, n.name);
		return 0;
	}
	/* `default` is always there, and the file that distributions have for it has no UUID */
	bool new =
		cli_flag(cli, "same-uuid") && xml && !n.uuid[0] && !str_eq(n.name, NETWORK_DEFAULT);
	if (define(&n, new, &reply, err) < 0)
		return -1;
	take_hosts(&n, hosts);
	return told(cli, n.name, reply, changed_words(reply));
}

static int run_undefine(const struct cli *cli, struct err *err)
{
	struct network n;
	json_t *reply = NULL;
	return change(cli, "roost-net-undefine", json_object(), &n, &reply, err) < 0
		       ? -1
		       : told(cli, n.name, reply, "undefined");
}

/* ---- net-dumpyaml, net-edit ----------------------------------------------------------------------- */

static char *to_yaml(const struct network *n)
{
	_cleanup_json_ json_t *map = network_dump(n);
	return json_to_yaml(map);
}

static int run_dumpyaml(const struct cli *cli, struct err *err)
{
	struct network n;
	if (network_find(cli->operands[0], &n, err) < 0)
		return -1;
	_cleanup_free_ char *yaml = to_yaml(&n);
	if (cli->json)
		cli_print_json(network_to_json(&n));
	else
		fputs(yaml, stdout);
	return 0;
}

struct edit {
	const char *name;
	const char *before; /* as it was shown */
	json_t *reply;
};

static int take_definition(const char *text, const char *file, void *about, struct err *err)
{
	struct edit *e = about;
	struct network n, now;
	if (parse(text, strlen(text), file, &n, err) < 0 || network_load(e->name, &now, err) < 0)
		return -1;
	if (!str_eq(n.name, e->name)) {
		err_set(err, ERR_REFUSED, "the name is '%s' now, and was '%s'", n.name, e->name);
		return err_hint(
			err, "a network keeps its name; `roost net-define` makes another one");
	}
	_cleanup_free_ char *yaml = to_yaml(&now);
	if (!str_eq(yaml, e->before)) {
		err_set(err, ERR_BUSY, "network '%s' was changed by somebody else meanwhile",
			e->name);
		return err_hint(err, "`roost net-edit %s` again shows how it is now", e->name);
	}
	return define(&n, false, &e->reply, err);
}

static int run_edit(const struct cli *cli, struct err *err)
{
	struct network n;
	bool changed = false;
	if (network_find(cli->operands[0], &n, err) < 0)
		return -1;
	_cleanup_free_ char *yaml = to_yaml(&n);
	_cleanup_free_ char *text =
		str_fmt("# Network '%s'. What is left out has its default.\n%s", n.name, yaml);
	struct edit e = {.name = n.name, .before = yaml};
	if (editor_edit(n.name, "yaml", text, take_definition, &e, &changed, err) < 0) {
		json_decref(e.reply);
		return -1;
	}
	const char *words = e.reply ? changed_words(e.reply) : "not changed";
	return told(cli, n.name,
		e.reply ? e.reply : json_pack("{s:s, s:b}", "name", n.name, "changed", 0), words);
}

/* ---- net-start, net-destroy, net-autostart -------------------------------------------------------- */

static int run_start(const struct cli *cli, struct err *err)
{
	struct network n;
	json_t *reply = NULL;
	if (change(cli, "roost-net-start", json_object(), &n, &reply, err) < 0)
		return -1;
	if (!cli->json)
		uplink_tell(json_object_get(reply, "uplink"), "", true);
	return told(cli, n.name, reply, "started");
}

/* As with virsh it is done whoever uses it; but he who does it is told. */
static int run_destroy(const struct cli *cli, struct err *err)
{
	struct network n;
	json_t *reply = NULL;
	if (change(cli, "roost-net-destroy", json_object(), &n, &reply, err) < 0)
		return -1;
	const json_t *cut_off = json_object_get(reply, "cut_off");
	_cleanup_free_ char *guests = network_users_text(cut_off);
	_cleanup_free_ char *words =
		json_array_size(cut_off) ? str_fmt("destroyed; cut off: %s", guests) : NULL;
	return told(cli, n.name, reply, words ? words : "destroyed");
}

static int run_autostart(const struct cli *cli, struct err *err)
{
	bool enable = !cli_flag(cli, "disable");
	struct network n;
	json_t *reply = NULL;
	if (change(cli, "roost-net-autostart", json_pack("{s:b}", "autostart", enable), &n, &reply,
		    err) < 0)
		return -1;
	return told(
		cli, n.name, reply, enable ? "marked as autostarted" : "unmarked as autostarted");
}

const struct verb verb_net_define = {"net-define", "FILE",
	"Makes or changes a network by a definition in YAML, JSON or libvirt's XML ('-': standard input).",
	1, 1, false,
	{{"validate", NULL, 0, "only check the definition"},
		{"same-uuid", NULL, 0,
			"as libvirt does: XML changes a network that is there only if it has its UUID"}},
	run_define, "roost net-define lab.yaml", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_undefine = {"net-undefine", "NETWORK",
	"Forgets a network that is not active and that no guest uses.", 1, 1, false, {{0}},
	run_undefine, "roost net-undefine lab", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_dumpyaml = {"net-dumpyaml", "NETWORK",
	"Prints a network's definition as YAML, as one could have written it.", 1, 1, false, {{0}},
	run_dumpyaml, "roost net-dumpyaml default", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_edit = {"net-edit", "NETWORK",
	"Opens a network's definition in an editor, and changes the network by what comes back.", 1,
	1, false, {{0}}, run_edit, "roost net-edit default", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_start = {"net-start", "NETWORK",
	"Starts a network; guests that need one start it as well.", 1, 1, false, {{0}}, run_start,
	"roost net-start default", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_destroy = {"net-destroy", "NETWORK",
	"Ends a network at once, and tells which guests it was taken from.", 1, 1, false, {{0}},
	run_destroy, "roost net-destroy default", GROUP_NETWORKS, GUESTS_ALL};
const struct verb verb_net_autostart = {"net-autostart", "NETWORK",
	"Has a network started when the host boots, or no longer.", 1, 1, false,
	{{"disable", NULL, 0, "no longer"}}, run_autostart, "roost net-autostart default",
	GROUP_NETWORKS, GUESTS_ALL};
