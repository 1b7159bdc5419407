/*
 * adopt: guests and networks out of libvirt's own files, /etc/libvirt/qemu. Each is taken wholly or not at all, and
 * of each is told what roost has no equivalent for. No disk is copied or changed, and nothing of libvirt's.
 */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "orchestrator/adopt.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/libvirt_hosts.h"
#include "orchestrator/long_call.h"

static json_t *read_file(const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	if (written_read(file, &text, &folder, err) < 0) {
		if (geteuid() != 0 && access(file, F_OK) == 0 && access(file, R_OK) < 0)
			err_hint(err,
				"`sudo roost adopt` reads what is root's, as libvirt's files are");
		return NULL;
	}
	if (!libvirt_is_xml(&text)) {
		err_set(err, ERR_USAGE, "'%s' is no XML", file);
		return NULL;
	}
	return libvirt_ask(&text, file, err);
}

static const char *name_of(const struct adopted *a)
{
	return json_get_str(json_object_get(a->answer, "definition"), "name", a->file);
}

/* ---- doing it ------------------------------------------------------------------------------------------ */

static int take_network(struct adopted *a, struct err *err)
{
	json_t *reply = NULL;
	int result = supervisor_call("roost-net-define",
		json_pack("{s:o}", "definition", network_to_json(&a->network)), &reply, err);
	json_decref(reply);
	return result;
}

static bool is_guests(const struct adopted *a, const json_t *host)
{
	size_t i;
	json_t *nic;
	const json_t *definition = json_object_get(a->answer, "definition");
	if (a->is_network)
		return false;
	json_array_foreach (json_object_get(definition, "interfaces"), i, nic)
		if (str_eq(json_get_str(nic, "mac", NULL), json_get_str(host, "mac", NULL)))
			return true;
	const char *name = json_get_str(host, "name", NULL);
	return name && strcasecmp(json_get_str(definition, "name", ""), name) == 0;
}

/* Those that are none of these guests', before a guest is issued an address that is kept for one of them. */
static void take_strangers(const struct adopting *all, const struct adopted *a)
{
	size_t i;
	json_t *host;
	_cleanup_json_ json_t *strangers = json_array();
	json_array_foreach (json_object_get(a->answer, "hosts"), i, host) {
		bool known = false;
		for (size_t k = 0; k < all->count && !known; k++)
			known = is_guests(&all->all[k], host);
		if (!known)
			json_array_append(strangers, host);
	}
	json_decref(
		libvirt_take_hosts(&a->network, strangers)); /* take_hosts() tells what was not */
}

/* Last of all: the guests have the addresses that were kept for them. */
static void take_hosts(struct adopting *all, bool quiet)
{
	size_t i;
	json_t *text;
	for (struct adopted *a = all->all; a < all->all + all->count; a++) {
		_cleanup_json_ json_t *told = a->taken && a->is_network
						      ? libvirt_take_hosts(&a->network,
								json_object_get(a->answer, "hosts"))
						      : NULL;
		json_array_foreach (told, i, text) {
			adopt_tell(a, "ip/dhcp/host", "%s", json_string_value(text));
			if (!quiet)
				printf("Network '%s': %s\n", a->network.name,
					json_string_value(text));
		}
	}
}

static int take_guest(struct adopted *a, bool quiet, struct err *err)
{
	json_t *files = json_array(); /* that it is there tells roostd that the guest must be new */
	_cleanup_json_ json_t *reply = NULL;
	for (size_t i = 0; i < a->file_count; i++)
		json_array_append_new(files, json_string(a->file_names[i]));
	return long_call_supervisor((struct long_about){"guest", a->guest->name}, "roost-define",
		json_pack("{s:o, s:o}", "definition", definition_to_json(a->guest), "files", files),
		a->files, a->file_count, quiet, &reply, err);
}

/* ---- telling it ---------------------------------------------------------------------------------------- */

static void tell_notes(const struct adopted *a)
{
	size_t i;
	json_t *note;
	json_array_foreach (json_object_get(a->answer, "notes"), i, note) {
		_cleanup_free_ char *text = libvirt_note_text(note);
		const char *from = json_get_int(note, "line", 0) ? text : text + strlen("line 0: ");
		printf("    %s%s\n", from,
			json_get_bool(note, "stops", false) ? " (this stops it)" : "");
	}
}

static void tell(const struct adopted *a, bool dry)
{
	const char *what = !a->answer ? "File" : a->is_network ? "Network" : "Guest";
	if (a->taken || (a->may && dry))
		printf("%s '%s' %s\n", what, name_of(a), dry ? "can be taken" : "taken");
	else
		printf("%s '%s' not taken: %s%s%s\n", what, name_of(a), a->err.message,
			a->err.hint[0] ? "; " : "", a->err.hint);
	tell_notes(a);
	fflush(stdout);
}

static json_t *to_json(const struct adopted *a, bool dry)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:O?}", "file", a->file, "kind",
		!a->answer      ? ""
		: a->is_network ? "network"
				: "guest",
		"name", name_of(a), "taken", dry ? a->may : a->taken, "notes",
		json_object_get(a->answer, "notes"));
	if (!(dry ? a->may : a->taken))
		json_object_set_new(o, "error", json_from_err(&a->err));
	return o;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static void one(struct adopting *all, struct adopted *a, bool dry, bool quiet)
{
	a->may = a->answer && (a->is_network ? adopt_check_network(all, a, &a->err)
					     : adopt_check_guest(all, a, &a->err)) == 0;
	if (a->may && !dry)
		a->taken = (a->is_network ? take_network(a, &a->err)
					  : take_guest(a, quiet, &a->err)) == 0;
	if (a->taken && a->is_network)
		take_strangers(all, a);
	a->may = a->may && (dry || a->taken);
	if (!quiet)
		tell(a, dry);
}

/* Networks first, of them `default`: the first other one would be the end of its being free. */
static void in_order(struct adopting *all, bool dry, bool quiet)
{
	for (int pass = 0; pass < 3; pass++)
		for (size_t i = 0; i < all->count; i++) {
			struct adopted *a = &all->all[i];
			int when = !a->is_network ? 2 : str_eq(name_of(a), NETWORK_DEFAULT) ? 0 : 1;
			if (when == pass)
				one(all, a, dry, quiet);
		}
}

static void end(struct adopting *all)
{
	for (size_t i = 0; i < all->count; i++) {
		struct adopted *a = &all->all[i];
		json_decref(a->answer);
		definition_free(a->guest);
		for (size_t k = 0; k < a->file_count; k++)
			cleanup_close(&a->files[k]);
	}
	json_decref(all->machines);
	free(all->all);
}

static int run_adopt(const struct cli *cli, struct err *err)
{
	struct adopting all = {
		.all = xcalloc((size_t)cli->count, sizeof(*all.all)), .count = (size_t)cli->count};
	bool dry = cli_flag(cli, "dry-run");
	size_t left = 0;
	for (size_t i = 0; i < all.count; i++) {
		struct adopted *a = &all.all[i];
		a->file = cli->operands[i];
		a->answer = read_file(a->file, &a->err);
		a->is_network = str_eq(json_get_str(a->answer, "kind", ""), "network");
	}
	in_order(&all, dry, cli->json);
	take_hosts(&all, cli->json);
	json_t *list = json_array();
	for (size_t i = 0; i < all.count; i++) {
		left += !all.all[i].may;
		json_array_append_new(list, to_json(&all.all[i], dry));
	}
	if (cli->json)
		cli_print_json(list);
	else
		json_decref(list);
	if (left)
		err_set(err, ERR_REFUSED, "%zu of %zu %s taken", left, all.count,
			dry ? "cannot be" : "were not");
	end(&all);
	return left ? -1 : 0;
}

const struct verb verb_adopt = {"adopt", "FILE...",
	"Takes guests and networks over from libvirt, by its XML; their disks stay where they are.",
	1, -1, false,
	{{"dry-run", NULL, 'n', "only tell what would be taken, and what has no equivalent"}},
	run_adopt, "roost adopt --dry-run web3.xml shop.xml", GROUP_DEFINITION, GUESTS_ALL};
