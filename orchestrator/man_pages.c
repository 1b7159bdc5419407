/* The three manual pages of roost: man.h. */
#include "orchestrator/man.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/answer.h"
#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/network_keys.h"
#include "orchestrator/paths.h"
#include "orchestrator/policy.h"

struct item {
	const char *word, *text;
};

static void items(const char *macro, const struct item *list, size_t count)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < count; i++) {
		printf(".It %s ", macro);
		man_word(list[i].word);
		putchar('\n');
		man_text(list[i].text);
	}
	puts(".El");
}

/* ---- roost(1) ------------------------------------------------------------------------------------- */

static void verbs_of(enum verb_group group)
{
	bool any = false;
	for (const struct verb *const *v = verbs; *v; v++) {
		if ((*v)->group != group)
			continue;
		if (!any)
			printf(".Ss %s\n.Bl -tag -width Ds\n", verb_heading(group));
		any = true;
		printf(".It Ic %s%s", (*v)->name, (*v)->options[0].name ? " Oo Ar options Oc" : "");
		if ((*v)->operands[0]) {
			printf(" Ar ");
			man_word((*v)->operands);
		}
		putchar('\n');
		man_verb(*v);
	}
	if (any)
		puts(".El");
}

static const char *const kind_docs[] = {
	[ERR_NONE] = "Nothing failed.",
	[ERR_USAGE] = "The words or the input are wrong; nothing was changed.",
	[ERR_NOT_FOUND] = "There is no such guest, disk or file.",
	[ERR_BUSY] = "Another operation is at work, or the thing is in use.",
	[ERR_REFUSED] = "The state of things, policy or permission forbids it.",
	[ERR_QEMU] = "QEMU or the guest said no.",
	[ERR_SYSTEM] = "The host failed: a system call, a missing program.",
	[ERR_TIMEOUT] = "A deadline passed.",
	[ERR_GONE] = "QEMU, the guest, its keeper or roostd ended meanwhile.",
};
static_assert(ARRAY_SIZE(kind_docs) == ERR_KIND_MAX, "a kind lacks its sentence");

static void exit_status(void)
{
	puts(".Sh EXIT STATUS\n.Bl -tag -width Ds");
	for (enum err_kind k = ERR_NONE; k < ERR_KIND_MAX; k++) {
		printf(".It %d\n", err_exit_code(k));
		man_text(kind_docs[k]);
	}
	puts(".El");
	man_text("Of `ssh` it is that of the command in the guest, and 255 where there was none.");
}

void man_roost(void)
{
	static const struct item environment[] = {
		{"ROOST_STATE", "Where guests are kept, instead of the folders below."},
		{"ROOST_RUN", "Where sockets and the like of guests that run are."},
		{"ROOST_QEMU", "Another QEMU than `/usr/bin/qemu-system-x86_64`."},
		{"ROOST_ACCEL_FALLBACK", "`tcg`: where KVM is asked for and does not work, TCG."},
		{"VISUAL", "The editor of `edit` and `desc --edit`; without it:"},
		{"EDITOR", "The editor."},
	};
	static const struct item files[] = {
		{"/var/lib/roost", "The guests of root, each in a folder below `guests`."},
		{"~/.local/share/roost", "Those of anybody else; see `XDG_DATA_HOME`."},
		{"/run/roost", "What belongs to guests that run."},
	};
	man_head(1, "roost", "QEMU guests without libvirtd");
	puts(".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n.Op Ar operands\n.Nm\n.Ar command\n"
	     ".Fl Fl help\n.Sh DESCRIPTION");
	man_text("roost runs QEMU guests on servers without libvirtd. One command defines a guest, "
		 "starts it, and comes back when it is really up: when its SSH server has shown "
		 "the host key that was made for it, and a login has worked. A guest is named by "
		 "its name, its UUID, or while it runs by its Id.");
	puts(".Pp");
	man_text("All commands know `--json`, which prints the answer, or the error, as JSON, and "
		 "`--help`.");
	puts(".Sh COMMANDS");
	for (enum verb_group g = GROUP_NONE + 1; g < GROUP_MAX; g++)
		verbs_of(g);
	puts(".Sh ENVIRONMENT");
	items("Ev", environment, ARRAY_SIZE(environment));
	puts(".Sh FILES");
	items("Pa", files, ARRAY_SIZE(files));
	exit_status();
	puts(".Sh SEE ALSO\n.Xr roost-definition 5 ,\n.Xr roost-qmp 7");
}

/* ---- roost-definition(5) -------------------------------------------------------------------------- */

static void add_words(struct buf *out, const struct words *words)
{
	for (unsigned i = 0, n = 0; i < words->count; i++)
		if (words->names[i])
			buf_fmt(out, "%s%s", n++ ? "|" : "", words->names[i]);
}

/* What is written there: "SIZE", "true|false", "auto|kvm|tcg". */
static void add_type(struct buf *out, const struct key *k)
{
	static const char *const names[KEY_TYPE_MAX] = {
		[KEY_TEXT] = "TEXT",
		[KEY_CHARS] = "TEXT",
		[KEY_FILE] = "FILE",
		[KEY_BOOL] = "true|false",
		[KEY_NUMBER] = "NUMBER",
		[KEY_SIZE] = "SIZE",
		[KEY_DURATION] = "DURATION",
		[KEY_WORD] = "",
		[KEY_MAP] = "mapping",
		[KEY_LIST] = "list",
		[KEY_OWN] = "VALUE",
	};
	if (k->words)
		add_words(out, k->words);
	else
		buf_fmt(out, "%s%s", k->flags & KEY_SWITCH ? "true|false|" : "", names[k->type]);
}

/* What it is when it is left out, where that is one value; `base` is as defaults() leaves it. */
static void add_default(struct buf *out, const struct key *k, const void *base)
{
	const void *at = (const char *)base + k->offset;
	const char *word = NULL;
	if (k->flags & KEY_REQUIRED)
		buf_str(out, " Required.");
	else if (k->type == KEY_BOOL)
		word = *(const bool *)at ? "true" : "false";
	else if (k->type == KEY_WORD)
		word = k->words->names[*(const unsigned *)at];
	if (word)
		buf_fmt(out, " Default: `%s`.", word);
	else if (k->type == KEY_NUMBER && *(const unsigned *)at)
		buf_fmt(out, " Default: %u.", *(const unsigned *)at);
	else if (k->type == KEY_SIZE && *(const uint64_t *)at)
		buf_fmt(out, " Default: %s.", str_size(*(const uint64_t *)at));
}

static void add_range(struct buf *out, const struct key *k)
{
	if (k->type == KEY_NUMBER && k->max)
		buf_fmt(out, " From %llu to %llu.", (unsigned long long)k->min,
			(unsigned long long)k->max);
	else if (k->type == KEY_LIST)
		buf_fmt(out, " At most %llu.", (unsigned long long)k->max);
}

static void keys_man(const struct keys *keys, const void *base);

/* The keys within a mapping, or within each of a list. */
static void keys_within(const struct key *k, const void *base)
{
	/* room for whatever a list's item is: no part is larger than the whole */
	_cleanup_free_ struct definition *item = xcalloc(1, sizeof(*item));
	const struct keys *keys = k->type == KEY_MAP ? k->keys : k->item ? k->item->keys : NULL;
	if (!keys)
		return;
	if (keys->defaults)
		keys->defaults(item);
	keys_man(keys, k->type == KEY_MAP && !keys->defaults ? (const char *)base + k->offset
							     : (const void *)item);
}

static void keys_man(const struct keys *keys, const void *base)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *k = &keys->rows[i];
		_cleanup_buf_ struct buf type = {0}, doc = {0};
		if (k->flags & KEY_RECORD)
			continue;
		add_type(&type, k);
		printf(".It Ic %s : Ar ", k->name);
		man_word(type.data);
		putchar('\n');
		buf_fmt(&doc, "%c%s.", toupper((unsigned char)k->doc[0]), k->doc + 1);
		add_range(&doc, k);
		add_default(&doc, k, base);
		man_text(doc.data);
		keys_within(k, base);
	}
	puts(".El");
}

void man_definition(void)
{
	_cleanup_definition_ struct definition *d = xcalloc(1, sizeof(*d));
	struct network network = {0};
	definition_keys.defaults(d);
	man_head(5, "roost-definition", "what a guest of roost is, and a network, in YAML");
	puts(".Sh DESCRIPTION");
	man_text("A definition is a mapping in YAML, or in JSON, with the keys below; a key that "
		 "is not among them is an error. `roost define` makes a guest of it, `roost run` "
		 "also starts it, `roost dumpyaml` prints that of a guest, and `roost edit` "
		 "changes it.");
	puts(".Pp");
	man_text("A SIZE needs a suffix: `512M`, `10G`; M and MiB are powers of 1024, MB of 1000. "
		 "A DURATION needs one, too: `500ms`, `90s`, `3m`, `1h`. A FILE that does not "
		 "begin with `/` or `~/` is taken from the folder of the definition.");
	puts(".Sh KEYS");
	keys_man(&definition_keys, d);
	puts(".Sh KEYS OF A NETWORK");
	man_text("A network is defined in the same way: `roost net-define` makes one, `roost "
		 "net-dumpyaml` prints it, and `roost net-edit` changes it. `default` is there "
		 "without.");
	network_keys.defaults(&network);
	keys_man(&network_keys, &network);
	puts(".Sh EXAMPLES");
	man_literal("name: web1\n"
		    "memory: 512M\n"
		    "max_memory: 2G\n"
		    "disks:\n"
		    "  - size: 10G\n"
		    "interfaces:\n"
		    "  - user: {hostfwd: [\"-22\", \"127.0.0.1:8080-80\"]}\n"
		    "  - network: default\n"
		    "    address: 192.168.122.50\n"
		    "    publish: [\"8443:443\", \"0.0.0.0:53:53/udp\"]\n"
		    "cloud_init: {user: alice}\n"
		    "ready: {rung: login, timeout: 180s}\n");
	puts(".Sh SEE ALSO\n.Xr roost 1");
}

/* ---- roost-qmp(7) --------------------------------------------------------------------------------- */

/* The table of another program of ours: `PROGRAM --commands`. */
static json_t *commands_of(const char *program, struct err *err)
{
	enum { ANSWER_MS = 5000 };
	const char *argv[] = {libexec_path(program), "--commands", NULL};
	json_t *list = child_answer(argv, NULL, 0, ANSWER_MS, err);
	if (!list)
		err_prefix(err, "%s --commands", program);
	return list;
}

static void commands_man(const json_t *list)
{
	size_t i, k;
	json_t *command, *arg;
	puts(".Bl -tag -width Ds");
	json_array_foreach (list, i, command) {
		const json_t *args = json_object_get(command, "args");
		printf(".It Ic %s\n", json_get_str(command, "name", ""));
		man_text(json_get_str(command, "doc", ""));
		if (!json_array_size(args))
			continue;
		puts(".Bl -tag -width Ds -compact");
		json_array_foreach (args, k, arg) {
			printf(".It Ar %s : %s%s\n", json_get_str(arg, "name", ""),
				json_get_str(arg, "type", ""),
				json_get_bool(arg, "optional", false) ? " Pq optional" : "");
			man_text(json_get_str(arg, "doc", ""));
		}
		puts(".El");
	}
	puts(".El");
}

int man_qmp(struct err *err)
{
	static const struct item events[] = {
		{"ROOST_STATE", "The guest's state has changed: `state` and `reason`."},
		{"ROOST_RUNG", "A rung of readiness is reached: `rung`, and `ms` since the start."},
		{"ROOST_PROGRESS", "An operation goes on: `operation`, `step`, `done` of `total`."},
		{"ROOST_ADOPTED", "A keeper has taken over a guest whose keeper had died."},
		{"ROOST_COMMAND", "Somebody has changed it: the `command`, his `uid` and `user`."},
		{"ROOST_DEFINED",
			"roostd's: there is a definition: `how` it came, added, updated or renamed."},
		{"ROOST_UNDEFINED",
			"roostd's: there is none of that name now: `how`, removed or renamed."},
		{"ROOST_RENEWED",
			"Before its first start or snapshot a clone was given an identity of its own: `renewed`; or why not: `reason`."},
		{"ROOST_INSTALLED",
			"Its installer has rebooted: the guest goes on, or `starts` anew, from its disk."},
		{"ROOST_ENDED", "The guest's QEMU has ended: `state` and `reason`."},
	};
	_cleanup_json_ json_t *keeper = commands_of("roost-keeper", err);
	_cleanup_json_ json_t *supervisor = keeper ? commands_of("roostd", err) : NULL;
	if (!supervisor)
		return -1;
	/* not where its libraries lack */
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *network = commands_of("roost-net", &ignored);
	man_head(7, "roost-qmp", "QMP, as roost speaks it");
	puts(".Sh DESCRIPTION");
	man_text("Every guest that runs has a keeper, and a keeper's socket, `guest.sock` in the "
		 "guest's folder below `/run/roost/g`, is itself a QMP server: greeting, "
		 "`qmp_capabilities`, then commands, replies and events, each a line of JSON. Any "
		 "number of clients may be connected. `roost qmp` sends one command, and the "
		 "command `query-commands` lists the keeper's own.");
	puts(".Pp");
	man_text("An error has QMP's shape; its `class` is roost's kind of error, or QEMU's own, "
		 "and its `hint`, if there is one, says what to do.");
	puts(".Sh COMMANDS OF A KEEPER");
	commands_man(keeper);
	puts(".Sh COMMANDS OF ROOSTD");
	man_text("Its socket is `roostd.sock` in `/run/roost`.");
	commands_man(supervisor);
	if (network) {
		puts(".Sh COMMANDS OF A NETWORK");
		man_text("The socket of a network's holder is `net.sock` in the network's folder "
			 "below `/run/roost/n`. Open files travel beside its answers.");
		commands_man(network);
	}
	puts(".Sh COMMANDS OF QEMU");
	man_text("Those that only look, and a few that change nothing that roost has on record, "
		 "pass through a keeper to its QEMU. What names a path or a host does not:");
	puts(".Bl -tag -width Ds -compact\n.It Ic query-*");
	for (size_t i = 0; policy_passes[i]; i++)
		printf(".It Ic %s\n", policy_passes[i]);
	puts(".El");
	puts(".Sh EVENTS");
	man_text("Besides QEMU's own, with the guest's name as `guest` in their data:");
	items("Ic", events, ARRAY_SIZE(events));
	puts(".Sh SEE ALSO\n.Xr roost 1");
	return 0;
}
