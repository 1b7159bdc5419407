/* dumpyaml, edit, desc: a guest's definition as people write it. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/change.h"
#include "orchestrator/connect.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/editor.h"
#include "orchestrator/record.h"

/* The record of the guest that the first operand names. */
static struct definition *read_guest(const struct cli *cli, struct found *f, struct err *err)
{
	return guest_find(cli->operands[0], f, err) < 0 ? NULL : record_read(f->name, err);
}

static int run_dumpyaml(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_definition_ struct definition *d = read_guest(cli, &f, err);
	if (!d)
		return -1;
	_cleanup_free_ char *yaml = definition_to_yaml(d);
	if (cli->json)
		cli_print_json(definition_to_json(d));
	else
		fputs(yaml, stdout);
	return 0;
}

/* ---- edit ----------------------------------------------------------------------------------------- */

struct edit {
	const char *name;
	const char *before; /* the definition that was shown, as YAML */
	bool same;          /* what came back says the same in other words */
	json_t *reply;
};

/* Somebody else may have changed it while the editor was open: that is not to be undone unseen. */
static int check_unchanged(const struct edit *e, struct err *err)
{
	_cleanup_definition_ struct definition *now = record_read(e->name, err);
	if (!now)
		return -1;
	_cleanup_free_ char *yaml = definition_to_yaml(now);
	if (str_eq(yaml, e->before))
		return 0;
	err_set(err, ERR_BUSY, "guest '%s' was changed by somebody else meanwhile", e->name);
	return err_hint(err, "`roost edit %s` again shows how it is now", e->name);
}

static int take_definition(const char *text, const char *file, void *about, struct err *err)
{
	struct edit *e = about;
	_cleanup_definition_ struct definition *d =
		definition_parse(text, strlen(text), file, "/", err);
	if (!d)
		return -1;
	if (!str_eq(d->name, e->name)) {
		err_set(err, ERR_REFUSED, "the name is '%s' now, and was '%s'", d->name, e->name);
		return err_hint(err, "`roost domrename %s %s` renames a guest", e->name, d->name);
	}
	if (check_unchanged(e, err) < 0)
		return -1;
	_cleanup_free_ char *yaml = definition_to_yaml(d);
	if ((e->same = str_eq(yaml, e->before)))
		return 0;
	return supervisor_call("roost-define",
		json_pack("{s:o, s:b}", "definition", definition_to_json(d), "change", 1),
		&e->reply, err);
}

static int tell_edited(
	const struct cli *cli, const struct found *f, const struct edit *e, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	bool changed = e->reply;
	if (guest_look(f, &s, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:b}", "name", f->name, "changed", changed));
	else
		printf("Guest '%s' %s%s\n", f->name, changed ? "changed" : "not changed",
			changed && s.number ? "; it takes effect at its next start" : "");
	return 0;
}

static int run_edit(const struct cli *cli, struct err *err)
{
	struct found f;
	bool changed = false;
	_cleanup_definition_ struct definition *d = read_guest(cli, &f, err);
	if (!d)
		return -1;
	_cleanup_free_ char *yaml = definition_to_yaml(d);
	_cleanup_free_ char *text = str_fmt("# Guest '%s'. roost-definition(5) tells all keys; "
					    "what is left out has its default.\n%s",
		f.name, yaml);
	struct edit e = {.name = f.name, .before = yaml};
	int result = editor_edit(f.name, "yaml", text, take_definition, &e, &changed, err);
	if (result == 0)
		result = tell_edited(cli, &f, &e, err);
	json_decref(e.reply);
	return result;
}

/* ---- desc ----------------------------------------------------------------------------------------- */

struct words_for {
	const struct found *guest;
	bool title;
	const char *text; /* "": none */
};

static void change_words(struct definition *d, const void *how)
{
	const struct words_for *w = how;
	char **at = w->title ? &d->title : &d->description;
	free(*at);
	*at = w->text[0] ? xstrdup(w->text) : NULL;
}

static int tell_words(const struct cli *cli, const struct definition *d)
{
	bool title = cli_flag(cli, "title");
	const char *text = title ? d->title : d->description;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s?, s:s?}", "name", d->name, "title", d->title,
			"description", d->description));
	else if (text)
		printf("%s%s", text, str_ends(text, "\n") ? "" : "\n");
	else
		printf("Guest '%s' has no %s\n", d->name, title ? "title" : "description");
	return 0;
}

/* Editors end a file with a new line, which no title has and no description needs. */
static int take_words(const char *text, const char *file, void *about, struct err *err)
{
	struct words_for *w = about;
	_cleanup_free_ char *copy = xstrdup(text);
	(void)file;
	for (size_t len = strlen(copy); len && copy[len - 1] == '\n'; len--)
		copy[len - 1] = '\0';
	w->text = copy;
	return guest_change(w->guest, change_words, w, err);
}

static int set_words(const struct cli *cli, struct words_for *w, bool *changed, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	for (int i = 1; i < cli->count; i++)
		buf_fmt(&text, "%s%s", i > 1 ? " " : "", cli->operands[i]);
	w->text = text.data ? text.data : "";
	*changed = true;
	return guest_change(w->guest, change_words, w, err);
}

static int edit_words(
	struct words_for *w, const struct definition *d, bool *changed, struct err *err)
{
	const char *now = w->title ? d->title : d->description;
	_cleanup_free_ char *text = str_fmt("%s\n", now ? now : "");
	return editor_edit(d->name, "txt", text, take_words, w, changed, err);
}

static int run_desc(const struct cli *cli, struct err *err)
{
	struct found f;
	bool edit = cli_flag(cli, "edit"), changed = false;
	_cleanup_definition_ struct definition *d = read_guest(cli, &f, err);
	struct words_for w = {.guest = &f, .title = cli_flag(cli, "title")};
	if (!d)
		return -1;
	if (edit && cli->count > 1)
		return err_set(err, ERR_USAGE, "roost desc: --edit and a text exclude one another");
	if (!edit && cli->count == 1)
		return tell_words(cli, d);
	if ((edit ? edit_words(&w, d, &changed, err) : set_words(cli, &w, &changed, err)) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:b}", "name", f.name, "changed", changed));
	else
		printf("Guest '%s': %s %s\n", f.name, w.title ? "title" : "description",
			changed ? "changed" : "not changed");
	return 0;
}

const struct verb verb_dumpyaml = {"dumpyaml", "NAME",
	"Prints a guest's definition as YAML, as one could have written it.", 1, 1, false, {{0}},
	run_dumpyaml, "roost dumpyaml web1", GROUP_DEFINITION, GUESTS_ALL};
const struct verb verb_edit = {"edit", "NAME",
	"Opens a guest's definition in an editor, and changes the guest by what comes back.", 1, 1,
	false, {{0}}, run_edit, "roost edit web1", GROUP_DEFINITION, GUESTS_ALL};
const struct verb verb_desc = {"desc", "NAME [TEXT...]",
	"Shows or changes what is said of a guest; an empty TEXT removes it.", 1, -1, false,
	{{"title", NULL, 0, "its title, not its description"},
		{"edit", NULL, 0, "change it in an editor"},
		{"config", NULL, 0, "at its next start, too, which is the case anyway"}},
	run_desc, "roost desc web1 --title The web server of the shop", GROUP_DEFINITION,
	GUESTS_ALL};
