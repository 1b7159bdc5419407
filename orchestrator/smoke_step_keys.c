/*
 * The steps of a suite: a kind of step is a row here, and its keys are rows as those of a definition
 * are. What a step needs of its guest is looked at, too, before anything is started.
 */
#include "orchestrator/smoke.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/reach.h"
#include "orchestrator/smoke_steps.h"
#include "orchestrator/guest_text.h"

/* ---- values ----------------------------------------------------------------------------------- */

static int check_pattern(const char *text, const struct node *n, struct err *err)
{
	regex_t re;
	char why[128];
	int code = regcomp(&re, text, SMOKE_REGEX);
	if (code == 0) {
		regfree(&re);
		return 0;
	}
	regerror(code, &re, why, sizeof(why));
	node_error(n, err, "'%.80s' is not a POSIX extended regular expression: %s", text, why);
	return err_hint(err, "in a pattern \\. \\[ \\( and so on stand for the character itself");
}

/* Any text, an empty one too. */
static int read_equals(const struct node *n, void *base, struct err *err)
{
	struct step *s = base;
	if (n->kind != NODE_TEXT)
		return node_wrong(n, "a text", err);
	s->equals = xstrdup(n->text);
	return 0;
}

static void drop_equals(void *base)
{
	free(TAKE(((struct step *)base)->equals));
}

/* As YAML 1.2's core schema reads a plain text; who wants the text "1" writes JSON. */
static json_t *json_of_text(const char *text, bool typed)
{
	struct err ignored = ERR_INIT;
	size_t digits = strspn(text + (text[0] == '-'), "0123456789");
	if (!typed)
		return json_string(text);
	if (str_eq(text, "true") || str_eq(text, "false"))
		return json_boolean(str_eq(text, "true"));
	if (digits && digits < 19 && !text[digits + (text[0] == '-')]) {
		json_t *number = json_text_parse(text, strlen(text), &ignored);
		if (number)
			return number;
	}
	return json_string(text);
}

static json_t *json_of_node(const struct node *n, bool typed)
{
	json_t *out;
	switch (n->kind) {
	case NODE_MAP:
		out = json_object();
		for (size_t i = 0; i < n->count; i++)
			json_object_set_new(
				out, n->children[i]->key, json_of_node(n->children[i], typed));
		return out;
	case NODE_LIST:
		out = json_array();
		for (size_t i = 0; i < n->count; i++)
			json_array_append_new(out, json_of_node(n->children[i], typed));
		return out;
	case NODE_TEXT:
		return json_of_text(n->text, typed);
	default:
		return json_null();
	}
}

/* A text that looks like JSON is JSON. */
static int read_json(const struct node *n, bool typed, json_t **out, struct err *err)
{
	bool json = n->kind == NODE_TEXT && n->text[0] && strchr("{[\"", n->text[0]);
	*out = json ? json_text_parse(n->text, strlen(n->text), err) : json_of_node(n, typed);
	if (*out)
		return 0;
	_cleanup_free_ char *path = node_path(n);
	err_prefix(err, "%s", path);
	return node_locate(n, err);
}

static int read_arguments(const struct node *n, void *base, struct err *err)
{
	struct step *s = base;
	if (read_json(n, true, &s->arguments, err) < 0)
		return -1;
	return json_is_object(s->arguments) ? 0 : node_error(n, err, "they are no mapping");
}

static int read_wanted(const struct node *n, void *base, struct err *err)
{
	return read_json(n, false, &((struct step *)base)->wanted, err);
}

static void drop_arguments(void *base)
{
	json_decref(TAKE(((struct step *)base)->arguments));
}

static void drop_wanted(void *base)
{
	json_decref(TAKE(((struct step *)base)->wanted));
}

int url_read(const char *text, struct url *out, struct err *err)
{
	struct url u = {.port = 80, .path = "/"};
	char host[64];
	struct in6_addr address;
	uint64_t port;
	if (!str_starts(text, "http://"))
		return err_set(err, ERR_USAGE, "'%.80s' does not begin with http://", text);
	const char *start = text + 7, *end = start + strcspn(start, "/");
	bool bracket = start[0] == '[';
	size_t len = bracket ? strcspn(start, "]") + 1 : strcspn(start, ":/");
	if (*end)
		u.path = end;
	if (start + len > end || len >= sizeof(host) || strpbrk(u.path, " \t\r\n"))
		return err_set(err, ERR_USAGE, "'%.80s' is not a URL", text);
	snprintf(host, sizeof(host), "%.*s", (int)len - 2 * bracket, start + bracket);
	if (start[len] == ':') {
		_cleanup_free_ char *number =
			strndup(start + len + 1, (size_t)(end - start) - len - 1);
		if (str_parse_u64(number, 1, 65535, "port", &port, err) < 0)
			return -1;
		u.port = (unsigned)port;
	}
	u.forwarded = str_eq(host, "guest");
	if (!u.forwarded && inet_pton(bracket ? AF_INET6 : AF_INET, host, &address) != 1)
		return err_set(err, ERR_USAGE, "'%s' is neither 'guest' nor an address", host);
	memcpy(u.host, host, sizeof(host));
	*out = u;
	return 0;
}

static int check_url(const char *text, const struct node *n, struct err *err)
{
	struct url ignored;
	_cleanup_free_ char *path = node_path(n);
	if (url_read(text, &ignored, err) == 0)
		return 0;
	err_prefix(err, "%s", path);
	node_locate(n, err);
	return err_hint(err,
		"write http://guest:8080/x for the port that is forwarded to the "
		"guest's 8080, or http://127.0.0.1:8080/x for what the guest itself sees");
}

static int check_address(const char *text, const struct node *n, struct err *err)
{
	struct in6_addr ignored;
	if (inet_pton(AF_INET, text, &ignored) == 1 || inet_pton(AF_INET6, text, &ignored) == 1)
		return 0;
	return node_error(n, err, "'%.60s' is not an IP address", text);
}

static int check_event(const char *text, const struct node *n, struct err *err)
{
	if (!text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")])
		return 0;
	node_error(n, err, "'%.60s' is not the name of an event", text);
	return err_hint(err, "QMP writes them so: SHUTDOWN, RESET, ROOST_STATE");
}

/* ---- keys ------------------------------------------------------------------------------------- */

#define AT(member) .offset = offsetof(struct step, member)
#define EVERY_STEP                                                                                 \
	{"name", KEY_TEXT, AT(name), .doc = "what reports call the step"},                         \
	{                                                                                          \
		"timeout", KEY_DURATION, AT(timeout_ms), .doc = "for this step"                    \
	}
#define BODY                                                                                       \
	{"equals", KEY_OWN, .read = read_equals, .drop = drop_equals, .doc = "all of it"},         \
		{"contains", KEY_TEXT, KEY_LINES, AT(contains), .doc = "a part of it"},            \
	{                                                                                          \
		"matches", KEY_TEXT, KEY_LINES, AT(matches),                                       \
			.check = check_pattern, .doc = "a POSIX extended regular expression"       \
	}
#define COMMAND                                                                                    \
	{"status", KEY_NUMBER, AT(status), .max = 255, .doc = "the exit status"},                  \
		{"retry", KEY_DURATION, AT(retry_ms), .doc = "again until it holds, for so long"}, \
		BODY, EVERY_STEP
#define LOGIN                                                                                      \
	{                                                                                          \
		"user", KEY_TEXT, AT(user), .check = check_user, .doc = "who logs in"              \
	}

static const struct key run_rows[] = {
	{"run", KEY_TEXT, KEY_REQUIRED | KEY_LINES, AT(text), .doc = "a command"}, LOGIN, COMMAND};
static const struct key host_rows[] = {
	{"host", KEY_TEXT, KEY_REQUIRED | KEY_LINES, AT(text), .doc = "a command, here"}, COMMAND};
static const struct key script_rows[] = {
	{"script", KEY_FILE, KEY_REQUIRED, AT(text), .doc = "a local file"},
	{"shell", KEY_TEXT, AT(shell), .doc = "who reads it in the guest"}, LOGIN, COMMAND};
static const struct key copy_parts[] = {
	{"in", KEY_FILE, AT(copy_in), .doc = "a local file, into the guest"},
	{"out", KEY_TEXT, AT(copy_out), .doc = "a path in the guest, out of it"},
	{"to", KEY_TEXT, KEY_REQUIRED, AT(copy_to), .doc = "where to"},
	{"recursive", KEY_BOOL, AT(recursive), .doc = "folders, too"},
	{"user", KEY_TEXT, AT(user), .check = check_user, .doc = "who logs in"},
};
static const struct key port_rows[] = {
	{"port", KEY_NUMBER, KEY_REQUIRED, AT(port), .min = 1, .max = 65535, .doc = "TCP"},
	{"address", KEY_TEXT, AT(address), .check = check_address, .doc = "as seen in the guest"},
	{"open", KEY_BOOL, AT(open), .doc = "false: nothing may accept there"}, EVERY_STEP};
static const struct key http_rows[] = {
	{"http", KEY_TEXT, KEY_REQUIRED, AT(text), .check = check_url, .doc = "a URL"},
	{"status", KEY_NUMBER, AT(status), .min = 100, .max = 999, .doc = "of the answer"},
	{"retry", KEY_DURATION, AT(retry_ms), .doc = "again until it holds, for so long"}, BODY,
	EVERY_STEP};
static const struct key console_rows[] = {
	{"console", KEY_TEXT, KEY_REQUIRED, AT(text), .check = check_pattern, .doc = "a pattern"},
	{"absent", KEY_BOOL, AT(absent), .doc = "it has not been there"}, EVERY_STEP};
static const struct key qmp_rows[] = {{"qmp", KEY_TEXT, KEY_REQUIRED, AT(text), .doc = "a command"},
	{"arguments", KEY_OWN, .read = read_arguments, .drop = drop_arguments, .doc = "its own"},
	{"reply", KEY_OWN, .read = read_wanted, .drop = drop_wanted, .doc = "is in the reply"},
	{"error", KEY_TEXT, AT(error), .check = check_pattern, .doc = "it fails, so"},
	{"retry", KEY_DURATION, AT(retry_ms), .doc = "again until it holds, for so long"},
	EVERY_STEP};
static const struct key event_rows[] = {
	{"event", KEY_TEXT, KEY_REQUIRED, AT(text), .check = check_event, .doc = "its name"},
	{"data", KEY_OWN, .read = read_wanted, .drop = drop_wanted, .doc = "is in its data"},
	{"count", KEY_NUMBER, AT(count), .min = 1, .max = 100000, .doc = "so often at least"},
	EVERY_STEP};
static const struct key reboot_parts[] = {
	{"mode", KEY_TEXT, AT(mode), .doc = "only 'agent' or only 'acpi'"},
	{"for", KEY_TEXT, AT(rung), .check = check_rung, .doc = "the rung to wait for"},
};
static const struct key max_boot_rows[] = {
	{"max_boot", KEY_DURATION, KEY_REQUIRED, AT(within_ms), .doc = "since the start"},
	{"rung", KEY_TEXT, AT(rung), .check = check_rung, .doc = "default: the ready one"},
	EVERY_STEP};

/* A script, or what is copied into the guest, is there and may be read. */
static int check_local(const char *file, bool folders, const struct node *n, struct err *err)
{
	struct stat st;
	_cleanup_free_ char *path = node_path(n);
	if (stat(file, &st) < 0 || faccessat(AT_FDCWD, file, R_OK, AT_EACCESS) < 0)
		err_errno(err, "%s: cannot read '%s'", path, file);
	else if (S_ISDIR(st.st_mode) && !folders)
		err_set(err, ERR_USAGE, "%s: '%s' is a folder", path, file);
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return 0;
	else
		err_set(err, ERR_USAGE, "%s: '%s' is not a regular file", path, file);
	return node_locate(n, err);
}

/* The folder that something is copied out to is there. */
static int check_target(const char *file, const struct node *n, struct err *err)
{
	_cleanup_free_ char *path = node_path(n), *folder = xstrdup(file);
	*(strrchr(folder, '/') + 1) = '\0';
	if (access(folder, W_OK | X_OK) == 0)
		return 0;
	err_errno(err, "%s: cannot write into '%s'", path, folder);
	return node_locate(n, err);
}

static int check_script(void *thing, const struct node *map, struct err *err)
{
	const struct step *s = thing;
	return check_local(s->text, false, node_get(map, "script"), err);
}

static int take_folder(void *thing, const struct node *map, struct err *err)
{
	(void)err;
	((struct step *)thing)->folder = xstrdup(map->origin->folder);
	return 0;
}

static int check_copy(void *thing, const struct node *map, struct err *err)
{
	struct step *s = thing;
	if (!s->copy_in == !s->copy_out)
		return node_error(map, err, "either 'in' or 'out' is wanted");
	if (s->copy_in && check_local(s->copy_in, s->recursive, node_get(map, "in"), err) == 0)
		return 0;
	if (s->copy_in)
		return s->recursive ? -1 : err_hint(err, "`recursive: true` copies folders, too");
	free(s->copy_to);
	s->copy_to = node_file(node_get(map, "to"), err);
	return s->copy_to ? check_target(s->copy_to, node_get(map, "to"), err) : -1;
}

static int check_reboot(void *thing, const struct node *map, struct err *err)
{
	const struct step *s = thing;
	if (!s->mode || str_eq(s->mode, "acpi") || str_eq(s->mode, "agent"))
		return 0;
	return node_error(
		node_get(map, "mode"), err, "'%.40s' is neither 'agent' nor 'acpi'", s->mode);
}

static const struct keys copy_part_keys = {copy_parts, ARRAY_SIZE(copy_parts), NULL, check_copy};
static const struct keys reboot_part_keys = {
	reboot_parts, ARRAY_SIZE(reboot_parts), NULL, check_reboot};
static const struct keys no_keys = {NULL, 0, NULL, NULL};
#define ALONE(word, parts)                                                                         \
	{                                                                                          \
		word, KEY_MAP, KEY_REQUIRED | KEY_SWITCH | KEY_BARE,                               \
			.aux = offsetof(struct step, bare), .keys = parts, .doc = "what is done"   \
	}
static const struct key copy_rows[] = {
	{"copy", KEY_MAP, KEY_REQUIRED, .keys = &copy_part_keys, .doc = "what, and where to"},
	EVERY_STEP};
static const struct key reboot_rows[] = {ALONE("reboot", &reboot_part_keys), EVERY_STEP};
static const struct key suspend_rows[] = {ALONE("suspend", &no_keys), EVERY_STEP};
static const struct key resume_rows[] = {ALONE("resume", &no_keys), EVERY_STEP};
#undef AT

static void port_defaults(void *step)
{
	((struct step *)step)->open = true;
}

static void http_defaults(void *step)
{
	((struct step *)step)->status = 200;
}

static void event_defaults(void *step)
{
	((struct step *)step)->count = 1;
}

static int check_alone(void *thing, const struct node *map, struct err *err)
{
	if (((struct step *)thing)->bare)
		return 0;
	return node_error(map, err, "a step that is not to be done is left out");
}

static int check_qmp(void *thing, const struct node *map, struct err *err)
{
	const struct step *s = thing;
	if (!s->error || !s->wanted)
		return 0;
	return node_error(node_get(map, "error"), err, "'reply' and 'error' exclude one another");
}

#define KEYS(rows, defaults, check)                                                                \
	{                                                                                          \
		rows, ARRAY_SIZE(rows), defaults, check                                            \
	}
static const struct {
	const char *word;
	struct keys keys;
	bool alone; /* may be a word without a mapping */
	bool ssh;   /* by a login */
} kinds[] = {
	[STEP_RUN] = {.word = "run", .keys = KEYS(run_rows, NULL, NULL), .ssh = true},
	[STEP_SCRIPT] = {.word = "script",
		.keys = KEYS(script_rows, NULL, check_script),
		.ssh = true},
	[STEP_HOST] = {.word = "host", .keys = KEYS(host_rows, NULL, take_folder)},
	[STEP_COPY] = {.word = "copy", .keys = KEYS(copy_rows, NULL, NULL), .ssh = true},
	[STEP_PORT] = {.word = "port", .keys = KEYS(port_rows, port_defaults, NULL), .ssh = true},
	[STEP_HTTP] = {.word = "http", .keys = KEYS(http_rows, http_defaults, NULL)},
	[STEP_CONSOLE] = {.word = "console", .keys = KEYS(console_rows, NULL, NULL)},
	[STEP_QMP] = {.word = "qmp", .keys = KEYS(qmp_rows, NULL, check_qmp)},
	[STEP_EVENT] = {.word = "event", .keys = KEYS(event_rows, event_defaults, NULL)},
	[STEP_REBOOT] = {.word = "reboot",
		.keys = KEYS(reboot_rows, NULL, check_alone),
		.alone = true},
	[STEP_SUSPEND] = {.word = "suspend",
		.keys = KEYS(suspend_rows, NULL, check_alone),
		.alone = true},
	[STEP_RESUME] = {.word = "resume",
		.keys = KEYS(resume_rows, NULL, check_alone),
		.alone = true},
	[STEP_MAX_BOOT] = {.word = "max_boot", .keys = KEYS(max_boot_rows, NULL, NULL)},
};
static_assert(ARRAY_SIZE(kinds) == STEP_KIND_MAX, "a kind of step lacks its row");

/* ---- what a step needs of its guest ----------------------------------------------------------- */

static int check_login(const struct definition *d, const struct node *n, struct err *err)
{
	if (!reach_defined(d, 22)) {
		node_error(n, err, "it needs SSH, and no port leads to the guest's port 22");
		return err_hint(err, "add `hostfwd: [\"-22\"]` to a `user` interface of the guest");
	}
	if (!d->cloud_init.enabled) {
		node_error(n, err, "it needs SSH, and without cloud_init no host key is known");
		return err_hint(err, "add `cloud_init: true` to the guest's definition");
	}
	return 0;
}

static int check_needs(
	const struct step *s, const struct definition *d, const struct node *n, struct err *err)
{
	struct url url = {.forwarded = true};
	if (s->kind == STEP_HTTP && url_read(s->text, &url, err) < 0)
		return node_locate(n, err);
	if (s->kind == STEP_HTTP && url.forwarded && !reach_defined(d, url.port)) {
		node_error(n, err, "no port is forwarded to the guest's port %u", url.port);
		return err_hint(err,
			"add `hostfwd: [\"-%u\"]` to a `user` interface, or ask 127.0.0.1 for what "
			"the guest itself sees",
			url.port);
	}
	if (s->kind == STEP_CONSOLE && !d->console_count)
		return node_error(n, err, "the guest has no console");
	return kinds[s->kind].ssh || !url.forwarded ? check_login(d, n, err) : 0;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static const char *all_kinds(void)
{
	static char text[256];
	size_t len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "%s%s", i ? ", " : "", kinds[i].word);
	return text;
}

static int unknown_step(const struct node *n, const char *word, struct err *err)
{
	const char *known[ARRAY_SIZE(kinds) + 1] = {NULL};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		known[i] = kinds[i].word;
	node_error(n, err, "'%.40s' is no step", word);
	const char *near = str_nearest(word, known);
	return near ? err_hint(err, "did you mean '%s'?", near)
		    : err_hint(err, "the steps are %s", all_kinds());
}

/* The kind of a step that is a mapping: the one key that says what is done. */
static int kind_of(const struct node *map, enum step_kind *out, struct err *err)
{
	static const char *const every[] = {"name", "timeout"};
	const struct node *found = NULL, *stranger = NULL;
	for (size_t i = 0; i < map->count; i++) {
		const char *key = map->children[i]->key;
		bool known = str_eq(key, every[0]) || str_eq(key, every[1]);
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			if (!str_eq(key, kinds[k].word))
				continue;
			if (found)
				return node_error(map->children[i], err,
					"a step does one thing, and this one does '%s' already",
					found->key);
			found = map->children[i];
			*out = (enum step_kind)k;
			known = true;
		}
		stranger = known || stranger ? stranger : map->children[i];
	}
	if (found)
		return 0;
	if (stranger)
		return unknown_step(stranger, stranger->key, err);
	node_error(map, err, "it does nothing");
	return err_hint(err, "the steps are %s", all_kinds());
}

static char *label_of(const struct step *s)
{
	const char *word = kinds[s->kind].word;
	const char *about = s->copy_in ? s->copy_in : s->copy_out ? s->copy_out : s->text;
	_cleanup_free_ char *shown = about ? text_line(about, strlen(about), 60) : NULL;
	if (s->name)
		return text_line(s->name, strlen(s->name), 80);
	if (s->kind == STEP_PORT)
		return str_fmt("port %u", s->port);
	if (s->kind == STEP_HTTP || s->kind == STEP_QMP || s->kind == STEP_EVENT)
		return str_fmt("%s %s", word, shown);
	return shown ? str_fmt("%s '%s'", word, shown) : xstrdup(word);
}

static int read_step(struct step *s, const struct node *n, struct err *err)
{
	if (n->kind == NODE_MAP) {
		if (kind_of(n, &s->kind, err) < 0)
			return -1;
		return keys_read(&kinds[s->kind].keys, n, s, err);
	}
	if (n->kind != NODE_TEXT)
		return node_wrong(n, "a step", err);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!str_eq(n->text, kinds[i].word))
			continue;
		s->kind = (enum step_kind)i;
		s->bare = true;
		if (kinds[i].alone)
			return 0;
		node_error(n, err, "'%s' says nothing alone", n->text);
		return err_hint(err, "write `- %s: ...`", n->text);
	}
	return unknown_step(n, n->text, err);
}

int steps_read(struct test *t, const struct node *list, int64_t timeout_ms, struct err *err)
{
	if (list->kind != NODE_LIST)
		return node_wrong(list, "a list of steps", err);
	size_t size = (t->step_count + list->count) * sizeof(*t->steps);
	t->steps = xrealloc(t->steps, size ? size : 1);
	for (size_t i = 0; i < list->count; i++) {
		/* counted first, so that a half-read one is freed too */
		struct step *s = &t->steps[t->step_count++];
		*s = (struct step){0};
		if (read_step(s, list->children[i], err) < 0 ||
			check_needs(s, t->def, list->children[i], err) < 0)
			return -1;
		s->label = label_of(s);
		if (!s->timeout_ms)
			s->timeout_ms = timeout_ms;
	}
	return 0;
}

void step_free(struct step *s)
{
	keys_drop(&kinds[s->kind].keys, s);
	free(s->folder);
	free(s->label);
}
