/* define, undefine. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/record.h"

/* What roost has nothing for; and the variables that libvirt has elsewhere. */
static void tell_notes(const json_t *answer, const char *file, const struct definition *d, bool new)
{
	size_t i;
	json_t *note;
	json_array_foreach (json_object_get(answer, "notes"), i, note) {
		_cleanup_free_ char *text = libvirt_note_text(note);
		fprintf(stderr, "roost: %s: %s\n", file, text);
	}
	if (new && d->firmware == FIRMWARE_UEFI && json_get_str(answer, "nvram", NULL))
		fprintf(stderr,
			"roost: %s: it gets new UEFI variables; `roost adopt` would have copied those in '%s'\n",
			file, json_get_str(answer, "nvram", ""));
}

static struct definition *read_xml(const struct buf *text, const char *file, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_json_ json_t *answer = libvirt_ask(text, file, err);
	if (!answer)
		return NULL;
	const char *name = json_get_str(json_object_get(answer, "definition"), "name", NULL);
	_cleanup_definition_ struct definition *old =
		name && name_check(name, "guest", &none) == 0 ? record_read(name, &none) : NULL;
	struct definition *d = libvirt_definition(answer, file, old, err);
	if (d)
		tell_notes(answer, file, d, !old);
	return d;
}

/* YAML, JSON or libvirt's XML, as its first letter tells. */
static struct definition *read_any(const char *file, bool *xml, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	const char *named = str_eq(file, "-") ? "<stdin>" : file;
	if (written_read(file, &text, &folder, err) < 0)
		return NULL;
	*xml = libvirt_is_xml(&text);
	return *xml ? read_xml(&text, named, err)
		    : definition_parse(text.data, text.len, named, folder, err);
}

static int run_define(const struct cli *cli, struct err *err)
{
	bool xml = false;
	_cleanup_definition_ struct definition *d = read_any(cli->operands[0], &xml, err);
	json_t *reply = NULL;
	if (!d)
		return -1;
	if (cli_flag(cli, "validate")) {
		if (cli->json)
			cli_print_json(json_pack("{s:s, s:b}", "name", d->name, "valid", 1));
		else
			printf("'%s' is a good definition of guest '%s'\n", cli->operands[0],
				d->name);
		return 0;
	}
	bool new = cli_flag(cli, "new") || (cli_flag(cli, "same-uuid") && xml && !d->uuid[0]);
	json_t *args = json_pack("{s:o, s:b, s:b}", "definition", definition_to_json(d), "rebased",
		cli_flag(cli, "rebased"), "new", new);
	if (supervisor_call("roost-define", args, &reply, err) < 0)
		return -1;
	bool changed = json_get_bool(reply, "changed", false);
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Guest '%s' %s\n", d->name, changed ? "changed" : "defined");
	json_decref(reply);
	return 0;
}

/* --WHAT and --keep-WHAT; neither: as the disks. */
static int add_keeping(const struct cli *cli, const char *what, json_t *args, struct err *err)
{
	_cleanup_free_ char *keep = str_fmt("keep-%s", what), *key = str_fmt("remove-%s", what);
	bool remove = cli_flag(cli, what);
	if (remove && cli_flag(cli, keep))
		return err_set(err, ERR_USAGE, "roost undefine: either --%s or --%s", what, keep);
	if (remove || cli_flag(cli, keep))
		json_object_set_new(args, key, json_boolean(remove));
	return 0;
}

static int run_undefine(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL, *kept, *path;
	size_t i;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	_cleanup_json_ json_t *args = json_pack("{s:s, s:b, s:b, s:b, s:b}", "name", f.name,
		"remove-storage", cli_flag(cli, "remove-all-storage"), "managed-save",
		cli_flag(cli, "managed-save"), "snapshots-metadata",
		cli_flag(cli, "snapshots-metadata"), "running", cli_flag(cli, "running"));
	if (add_keeping(cli, "nvram", args, err) < 0 || add_keeping(cli, "tpm", args, err) < 0 ||
		supervisor_call("roost-undefine", json_incref(args), &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Guest '%s' undefined%s\n", f.name,
		json_get_bool(reply, "transient", false) ? "; it goes on until it ends" : "");
	kept = json_object_get(reply, "kept");
	json_array_foreach (kept, i, path)
		printf("kept: %s\n", json_string_value(path));
	json_decref(reply);
	return 0;
}

const struct verb verb_define = {"define", "FILE",
	"Makes a guest from a definition in YAML, JSON or libvirt's XML ('-': standard input).", 1,
	1, false,
	{{"validate", NULL, 0, "only check the definition"},
		{"new", NULL, 0, "not if a guest of that name is there"},
		{"same-uuid", NULL, 0,
			"as libvirt does: XML changes a guest that is there only if it has its UUID"},
		{"rebased", NULL, 0,
			"its disks stand on other files now, and that was you: record them anew"}},
	run_define, "roost define web1.yaml", GROUP_DEFINITION, GUESTS_ALL};
const struct verb verb_undefine = {"undefine", "NAME",
	"Forgets a guest that does not run; its disks stay.", 1, 1, false,
	{{"remove-all-storage", NULL, 0,
		 "also delete the disks that roost made for it, and what they may be sealed to"},
		{"nvram", NULL, 0, "also delete its variables of UEFI"},
		{"keep-nvram", NULL, 0, "keep them although its disks go"},
		{"tpm", NULL, 0, "also delete the state of its TPM"},
		{"keep-tpm", NULL, 0, "keep it although its disks go"},
		{"managed-save", NULL, 0, "also give up what managedsave has saved of it"},
		{"snapshots-metadata", NULL, 0, "also forget its snapshots; their files stay"},
		{"running", NULL, 0,
			"also one that runs: it goes on, and is forgotten when it ends"}},
	run_undefine, "roost undefine web1", GROUP_DEFINITION, GUESTS_STOPPED};
