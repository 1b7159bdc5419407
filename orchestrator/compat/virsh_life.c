/* virsh's commands on a guest's life and its definition. */
#include "orchestrator/compat/storage.h"
#include "orchestrator/compat/virsh.h"
#include "orchestrator/paths.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The guest, at whatever it is, and its name as the first word. */
static int named(const struct virsh *v, struct found *f, struct words *w)
{
	if (virsh_domain(v, f) < 0)
		return -1;
	words_add(w, f->name);
	return 0;
}

static int named_running(const struct virsh *v, struct found *f, struct words *w)
{
	if (virsh_running(v, f) < 0)
		return -1;
	words_add(w, f->name);
	return 0;
}

/* ---- life ----------------------------------------------------------------------------------------------- */

static int console(struct virsh *v, const struct found *f)
{
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	if (!isatty(STDIN_FILENO))
		return virsh_error("Cannot run interactive console without a controlling TTY");
	words_add(&w, f->name);
	words_option(&w, "devname", virsh_text(v, "devname"));
	words_option(&w, "escape", v->escape);
	words_add(&w, "--quiet");
	virsh_say(v, "Connected to domain '%s'", f->name);
	if (v->escape && v->escape[0] == '^')
		virsh_say(v, "Escape character is %s (Ctrl + %c)", v->escape, v->escape[1]);
	else
		virsh_say(v, "Escape character is %s", v->escape ? v->escape : "^] (Ctrl + ])");
	fflush(stdout);
	return verb_call("console", (const char *const *)w.list, &err) < 0 ? virsh_reason(&err) : 0;
}

static int run_start(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (named(v, &f, &w) < 0)
		return -1;
	if (guest_runs(&f))
		return virsh_error("Domain is already active");
	if (virsh_networks_active(v, &f) < 0)
		return -1;
	if (virsh_flag(v, "paused"))
		words_add(&w, "--paused");
	if (virsh_flag(v, "force-boot"))
		words_add(&w, "--force-boot");
	if (virsh_do(v, &f, &w, "start", "Domain '%s' started") < 0)
		return -1;
	return virsh_flag(v, "console") ? console(v, &f) : 0;
}

static int run_suspend(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	return named_running(v, &f, &w) < 0
		       ? -1
		       : virsh_do(v, &f, &w, "suspend", "Domain '%s' suspended");
}

static int run_resume(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *state = NULL;
	if (named_running(v, &f, &w) < 0 || virsh_ask(v, f.name, &w, "domstate", &state) < 0)
		return -1;
	if (str_eq(compat_state(json_get_str(state, "state", "")), "running")) {
		virsh_error("Failed to resume domain '%s'", f.name);
		return virsh_error("Requested operation is not valid: domain is already running");
	}
	return virsh_do(v, &f, &w, "resume", "Domain '%s' resumed");
}

/* Words of --mode that are none, which virsh looks at before it asks for the guest. */
static int check_mode(const struct virsh *v)
{
	static const char *const known[] = {"acpi", "agent", "initctl", "signal", "paravirt"};
	const char *at = virsh_text(v, "mode");
	while (at) {
		size_t len = strcspn(at, ",");
		_cleanup_free_ char *word = str_fmt("%.*s", (int)len, at);
		size_t i = 0;
		while (i < ARRAY_SIZE(known) && !str_eq(known[i], word))
			i++;
		if (i == ARRAY_SIZE(known))
			return virsh_error(
				"Unknown mode %s value, expecting 'acpi', 'agent', 'initctl', 'signal'%s "
				"or 'paravirt'",
				word, str_eq(v->command->name, "shutdown") ? "," : "");
		at = at[len] ? at + len + 1 : NULL;
	}
	return 0;
}

/* --mode acpi,agent: any of them, as roost without a mode. */
static int take_mode(const struct virsh *v, struct words *w, const struct found *f)
{
	const char *mode = virsh_text(v, "mode");
	if (!mode || str_eq(mode, "acpi,agent") || str_eq(mode, "agent,acpi"))
		return 0;
	if (str_eq(mode, "initctl") || str_eq(mode, "signal") || str_eq(mode, "paravirt")) {
		virsh_error("Failed to %s domain '%s'", v->command->doing, f->name);
		return virsh_error(
			"argument unsupported: mode '%s' is not for QEMU; use acpi or agent", mode);
	}
	words_option(w, "mode", mode);
	return 0;
}

/* They return at once; what is asked for goes on (guest.h: guest_press_again). */
static int ask_guest(struct virsh *v, const char *said)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	const char *mode = virsh_text(v, "mode");
	if (check_mode(v) < 0 || named_running(v, &f, &w) < 0 || take_mode(v, &w, &f) < 0)
		return -1;
	words_add(&w, "--no-wait");
	if (words_ask(&w, v->command->name, NULL, &err) == 0) {
		virsh_say(v, "Domain '%s' is being %s", f.name, said);
		return 0;
	}
	if (!mode || !str_eq(mode, "agent"))
		return virsh_failed(v, f.name, &err);
	virsh_error("Failed to %s domain '%s'", v->command->doing, f.name);
	return virsh_agent_failed(&err);
}

static int run_shutdown(struct virsh *v)
{
	return ask_guest(v, "shutdown");
}

static int run_reboot(struct virsh *v)
{
	return ask_guest(v, "rebooted");
}

static int run_reset(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	return named_running(v, &f, &w) < 0 ? -1
					    : virsh_do(v, &f, &w, "reset", "Domain '%s' was reset");
}

static int run_destroy(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (named_running(v, &f, &w) < 0)
		return -1;
	if (virsh_flag(v, "graceful"))
		words_add(&w, "--graceful");
	return virsh_do(v, &f, &w, "destroy", "Domain '%s' destroyed");
}

/* --verbose: it is told when it is done, as libvirt's last word on it. */
static int save(const struct virsh *v, const struct words *w, const char *failed, const char *label)
{
	struct err err = ERR_INIT;
	if (words_ask(w, v->command->name, NULL, &err) < 0)
		return virsh_error("%s", failed), virsh_reason(&err);
	if (virsh_flag(v, "verbose"))
		fprintf(stderr, "\r%s: [%3d %%]", label, 100);
	return 0;
}

static int run_save(struct virsh *v)
{
	struct found f;
	const char *file = virsh_text(v, "file");
	_cleanup_words_ struct words w = {0};
	_cleanup_free_ char *failed =
		str_fmt("Failed to save domain '%s' to %s", virsh_text(v, "domain"), file);
	if (virsh_awake(v, &f, failed) < 0)
		return -1;
	words_add(&w, f.name);
	words_text(&w, file);
	if (save(v, &w, failed, "Save") < 0)
		return -1;
	virsh_say(v, "\nDomain '%s' saved to %s", f.name, file);
	return 0;
}

static int run_restore(struct virsh *v)
{
	const char *file = virsh_text(v, "file");
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	if (access(file, R_OK) < 0) {
		int error = errno;
		virsh_error("Failed to restore domain from %s", file);
		return virsh_error("Failed to open file '%s': %s", file, strerror(error));
	}
	words_text(&w, file);
	if (virsh_flag(v, "running"))
		words_add(&w, "--running");
	if (virsh_flag(v, "paused"))
		words_add(&w, "--paused");
	if (words_ask(&w, "restore", NULL, &err) < 0) {
		virsh_error("Failed to restore domain from %s", file);
		return virsh_reason(&err);
	}
	virsh_say(v, "Domain restored from %s", file);
	return 0;
}

static int run_managedsave(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_free_ char *failed =
		str_fmt("Failed to save domain '%s' state", virsh_text(v, "domain"));
	if (virsh_awake(v, &f, failed) < 0)
		return -1;
	words_add(&w, f.name);
	if (virsh_transient(&f))
		return virsh_error("%s", failed),
		       virsh_error("Requested operation is not valid: cannot do managed save for "
				   "transient domain");
	if (save(v, &w, failed, "Managedsave") < 0)
		return -1;
	virsh_say(v, "\nDomain '%s' state saved by libvirt", f.name);
	return 0;
}

static int run_managedsave_remove(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *info = NULL;
	if (named(v, &f, &w) < 0 || virsh_ask(v, f.name, &w, "dominfo", &info) < 0)
		return -1;
	if (!json_get_bool(info, "managed_save", false)) {
		virsh_say_last(v, "Domain '%s' has no manage save image; removal skipped", f.name);
		return 0;
	}
	if (virsh_ask(v, f.name, &w, "managedsave-remove", NULL) < 0)
		return -1;
	virsh_say_last(v, "Removed managedsave image for domain '%s'", f.name);
	return 0;
}

static int run_console(struct virsh *v)
{
	struct found f;
	if (virsh_domain(v, &f) < 0)
		return -1;
	return guest_runs(&f) ? console(v, &f) : virsh_error("The domain is not running");
}

/* ---- definition ------------------------------------------------------------------------------------------ */

static int run_define(struct virsh *v)
{
	const char *file = virsh_text(v, "file");
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_words_ struct words w = {0};
	if (access(file, R_OK) < 0)
		return virsh_error("Failed to open file '%s': %m", file);
	words_text(&w, file);
	words_add(&w, "--same-uuid");
	if (words_ask(&w, "define", &answer, &err) < 0) {
		virsh_error("Failed to define domain from %s", file);
		return virsh_reason(&err);
	}
	virsh_say(v, "Domain '%s' defined from %s", json_get_str(answer, "name", "?"), file);
	return 0;
}

/* What was just made, and could not be started, is no more. */
static int uncreate(const char *name, const char *file, const struct err *why)
{
	struct err none = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	words_add(&w, name);
	words_add(&w, "--remove-all-storage");
	words_ask(&w, "undefine", NULL, &none);
	virsh_error("Failed to create domain from %s", file);
	return virsh_reason(why);
}

/* Transient is what is undefined while it runs. */
static int run_create(struct virsh *v)
{
	const char *file = virsh_text(v, "file");
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *made = NULL;
	if (access(file, R_OK) < 0)
		return virsh_error("Failed to open file '%s': %m", file);
	words_text(&w, file); /* read once: it may be a pipe */
	words_add(&w, "--new");
	if (words_ask(&w, "define", &made, &err) < 0)
		return virsh_error("Failed to create domain from %s", file), virsh_reason(&err);
	const char *name = json_get_str(made, "name", "");
	const char *const start[] = {name, virsh_flag(v, "paused") ? "--paused" : NULL, NULL},
			  *const undefine[] = {name, "--running", NULL};
	if (guest_find(name, &f, &err) < 0 || verb_ask("start", start, NULL, &err) < 0)
		return uncreate(name, file, &err);
	if (verb_ask("undefine", undefine, NULL, &err) < 0)
		return virsh_reason(&err);
	virsh_say(v, "Domain '%s' created from %s", name, file);
	return virsh_flag(v, "console") ? console(v, &f) : 0;
}

static void remove_storage(const struct virsh *v, const json_t *disks)
{
	_cleanup_json_ json_t *list = storage_remove(disks);
	size_t i;
	json_t *disk;
	json_array_foreach (list, i, disk) {
		const char *target = json_get_str(disk, "target", ""),
			   *path = json_get_str(disk, "path", "");
		if (json_object_get(disk, "why"))
			virsh_error("Storage volume '%s'(%s) is not removed: %s", target, path,
				json_get_str(disk, "why", ""));
		else
			virsh_say(v, "Volume '%s'(%s) removed.", target, path);
	}
}

/* Disks of the user's own; of others `undefine` itself tells where they are. */
static void tell_kept(const struct virsh *v, const json_t *disks)
{
	_cleanup_json_ json_t *paths = storage_users_own(disks);
	size_t i;
	json_t *path;
	json_array_foreach (paths, i, path)
		virsh_say(v, "kept: %s", json_string_value(path));
}

static int run_undefine(struct virsh *v)
{
	static const char *const same[] = {"managed-save", "snapshots-metadata",
		"remove-all-storage", "nvram", "keep-nvram", "tpm", "keep-tpm"};
	static const char *const either[][2] = {{"nvram", "keep-nvram"}, {"tpm", "keep-tpm"}};
	struct found f;
	struct err none = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *answer = NULL, *info = NULL, *disks = NULL;
	size_t i;
	json_t *disk;
	for (i = 0; i < ARRAY_SIZE(either); i++)
		if (virsh_flag(v, either[i][0]) && virsh_flag(v, either[i][1]))
			return virsh_error("Options --%s and --%s are mutually exclusive",
				either[i][0], either[i][1]);
	if (named(v, &f, &w) < 0)
		return -1;
	/* one whose record cannot be read is undefined, too: of that nothing is told */
	words_ask(&w, "dominfo", &info, &none);
	if (json_get_bool(info, "transient", false)) {
		virsh_error("Failed to undefine domain '%s'", f.name);
		return virsh_error(
			"Requested operation is not valid: cannot undefine transient domain");
	}
	for (size_t j = 0; j < ARRAY_SIZE(same); j++)
		if (virsh_flag(v, same[j]))
			words_fmt(&w, "--%s", same[j]);
	words_add(&w, "--running");
	bool storage = virsh_flag(v, "remove-all-storage");
	if (storage && guest_runs(&f))
		return virsh_error("Storage volume deletion is supported only on stopped domains");
	if (compat_ask("domblklist", f.name, &disks, &none) < 0 && storage)
		return virsh_reason(&none);
	if (virsh_ask(v, f.name, &w, "undefine", &answer) < 0)
		return -1;
	virsh_say(v, "Domain '%s' has been undefined", f.name);
	if (storage)
		remove_storage(v, disks);
	else
		tell_kept(v, disks);
	json_array_foreach (json_object_get(answer, "kept"), i, disk)
		virsh_say(v, "kept: %s", json_string_value(disk));
	return 0;
}

static int run_autostart(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (named(v, &f, &w) < 0)
		return -1;
	bool off = virsh_flag(v, "disable");
	if (virsh_transient(&f)) {
		virsh_error(
			"Failed to %s domain '%s' as autostarted", off ? "unmark" : "mark", f.name);
		return virsh_error(
			"Requested operation is not valid: cannot set autostart for transient domain");
	}
	if (off)
		words_add(&w, "--disable");
	return virsh_do(v, &f, &w, "autostart",
		off ? "Domain '%s' unmarked as autostarted" : "Domain '%s' marked as autostarted");
}

static int run_domrename(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (named(v, &f, &w) < 0)
		return -1;
	if (guest_runs(&f))
		return virsh_error("Requested operation is not valid: cannot rename active domain");
	if (str_eq(f.name, virsh_text(v, "new-name")))
		return virsh_error(
			"Requested operation is not valid: Can't rename domain to itself");
	words_text(&w, virsh_text(v, "new-name"));
	return virsh_do(v, &f, &w, "domrename", "Domain successfully renamed");
}

static int run_edit(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	if (virsh_domain(v, &f) < 0)
		return -1;
	/* as roost has it: YAML is shorter than XML, and all keys are in roost-definition(5) */
	return verb_call("edit", (const char *const[]){f.name, NULL}, &err) < 0 ? virsh_reason(&err)
										: 0;
}

static int run_desc(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *answer = NULL;
	bool title = virsh_flag(v, "title"), changes = v->many_count > 0;
	if (named(v, &f, &w) < 0)
		return -1;
	if (title)
		words_add(&w, "--title");
	for (size_t i = 0; i < v->many_count; i++)
		words_text(&w, v->many[i]);
	if (virsh_ask(v, f.name, &w, "desc", &answer) < 0)
		return -1;
	const char *text = json_get_str(answer, title ? "title" : "description", "");
	if (changes)
		virsh_say_last(
			v, "Domain %s updated successfully", title ? "title" : "description");
	else if (text[0])
		printf("%s", text);
	else
		virsh_say_last(v, "No %s for domain: %s", title ? "title" : "description", f.name);
	return 0;
}

static int run_dumpxml(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	if (virsh_domain(v, &f) < 0)
		return -1;
	return verb_call("dumpxml", (const char *const[]){f.name, NULL}, &err) < 0
		       ? virsh_reason(&err)
		       : 0;
}

const struct virsh_command virsh_life[] = {
	{"start", {V_DOMAIN, {"console", V_FLAG}, {"paused", V_FLAG}, {"force-boot", V_FLAG}},
		run_start, "start a (previously defined) inactive domain", "start", true},
	{"suspend", {V_DOMAIN}, run_suspend, "suspend a domain", "suspend", true},
	{"resume", {V_DOMAIN}, run_resume, "resume a domain", "resume", true},
	{"shutdown", {V_DOMAIN, {"mode", V_NAMED}}, run_shutdown, "gracefully shutdown a domain",
		"shutdown", true},
	{"reboot", {V_DOMAIN, {"mode", V_NAMED}}, run_reboot, "reboot a domain", "reboot", true},
	{"reset", {V_DOMAIN}, run_reset, "reset a domain", "reset", true},
	{"destroy", {V_DOMAIN, {"graceful", V_FLAG}}, run_destroy, "destroy (stop) a domain",
		"destroy", true},
	{"save", {V_DOMAIN, {"file", V_NEED}, {"verbose", V_FLAG}}, run_save,
		"save a domain state to a file", NULL, true},
	{"restore", {{"file", V_NEED}, {"running", V_FLAG}, {"paused", V_FLAG}}, run_restore,
		"restore a domain from a saved state in a file", NULL, true},
	{"managedsave", {V_DOMAIN, {"verbose", V_FLAG}}, run_managedsave,
		"managed save of a domain state", NULL, true},
	{"managedsave-remove", {V_DOMAIN}, run_managedsave_remove,
		"Remove managed save of a domain", NULL, true},
	{"console", {V_DOMAIN, {"devname", V_TEXT}, {"force", V_FLAG}, {"safe", V_FLAG}},
		run_console, "connect to the guest console", NULL, true},
	{"define", {{"file", V_NEED}, {"validate", V_FLAG}}, run_define,
		"define (but don't start) a domain from a file (libvirt's XML, or roost's YAML or JSON)",
		NULL, true},
	{"create",
		{{"file", V_NEED}, {"console", V_FLAG}, {"paused", V_FLAG}, {"validate", V_FLAG}},
		run_create, "create a domain from a file: it is gone when it ends", NULL, true},
	{"undefine",
		{V_DOMAIN, {"managed-save", V_FLAG}, {"remove-all-storage", V_FLAG},
			{"snapshots-metadata", V_FLAG}, {"checkpoints-metadata", V_FLAG},
			{"nvram", V_FLAG}, {"keep-nvram", V_FLAG}, {"tpm", V_FLAG},
			{"keep-tpm", V_FLAG}},
		run_undefine, "undefine a domain", "undefine", true},
	{"autostart", {V_DOMAIN, {"disable", V_FLAG}}, run_autostart, "autostart a domain", NULL,
		true},
	{"domrename", {V_DOMAIN, {"new-name", V_NEED}}, run_domrename, "rename a domain", NULL,
		true},
	{"edit", {V_DOMAIN}, run_edit, "edit a domain's definition, as roost has it: YAML", NULL,
		true},
	{"desc",
		{V_DOMAIN, {"live", V_FLAG}, {"config", V_FLAG}, {"current", V_FLAG},
			{"title", V_FLAG}, {"new-desc", V_MANY}},
		run_desc, "show or set domain's description or title", NULL, true},
	{"dumpxml", {V_DOMAIN, {"inactive", V_FLAG}}, run_dumpxml, "domain information in XML",
		NULL, false},
	{0},
};
