/* virsh's commands to a guest's agent: each is one of its commands, sent by `roost agent`. */
#include "orchestrator/compat/virsh.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orchestrator/guest_text.h"

enum { NS = 1000000000 };

int virsh_agent_failed(const struct err *err)
{
	if (strstr(err->message, "no agent runs"))
		return virsh_error(
			"Guest agent is not responding: QEMU guest agent is not connected");
	if (strstr(err->message, "no agent channel"))
		return virsh_error("argument unsupported: QEMU guest agent is not configured");
	return virsh_reason(err);
}

/* Of one whose command may hold a secret: its words are wiped. */
static int call(
	const struct found *f, json_t *args, const char *command, json_t **answer, struct err *err)
{
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *request = json_pack("{s:s}", "execute", command);
	if (args)
		json_object_set_new(request, "arguments", args);
	char *text = json_line(request);
	words_add(&w, f->name);
	words_text(&w, text);
	int result = words_ask(&w, "agent", answer, err);
	explicit_bzero(w.list[w.count - 1], strlen(text));
	explicit_bzero(text, strlen(text));
	free(text);
	return result;
}

int virsh_agent_ask(const struct found *f, const char *command, json_t *args, json_t **answer,
	const char *failed)
{
	struct err err = ERR_INIT;
	if (call(f, args, command, answer, &err) == 0) {
		if (answer)
			text_lines(*answer);
		return 0;
	}
	if (failed)
		virsh_error("%s", failed);
	return virsh_agent_failed(&err);
}

int virsh_awake(const struct virsh *v, struct found *f, const char *failed)
{
	if (virsh_domain(v, f) < 0)
		return -1;
	if (guest_runs(f))
		return 0;
	if (failed)
		virsh_error("%s", failed);
	return virsh_error("Requested operation is not valid: domain is not running");
}

/* ---- file systems ------------------------------------------------------------------------------------------ */

/* "/dev/vda1" is on "vda", as the guest calls it. */
static const char *device_of(const json_t *disk)
{
	const char *device = json_get_str(disk, "dev", ""), *slash = strrchr(device, '/');
	return slash ? slash + 1 : device;
}

static int run_fsinfo(struct virsh *v)
{
	static const char failed[] = "Unable to get filesystem information";
	struct found f;
	_cleanup_json_ json_t *list = NULL, *rows = json_pack("[[s, s, s, s]]", "Mountpoint",
						    "Name", "Type", "Target");
	size_t i, j;
	json_t *fs, *disk;
	if (virsh_awake(v, &f, failed) < 0 ||
		virsh_agent_ask(&f, "guest-get-fsinfo", NULL, &list, failed) < 0)
		return -1;
	json_array_foreach (list, i, fs) {
		_cleanup_buf_ struct buf targets = {0};
		buf_str(&targets, "");
		json_array_foreach (json_object_get(fs, "disk"), j, disk)
			buf_fmt(&targets, "%s%s", j ? "," : "", device_of(disk));
		json_array_append_new(
			rows, json_pack("[s, s, s, s]", json_get_str(fs, "mountpoint", ""),
				      json_get_str(fs, "name", ""), json_get_str(fs, "type", ""),
				      targets.data));
	}
	if (json_array_size(list))
		virsh_table(v, rows);
	else
		virsh_say(v, "No filesystems are mounted in the domain");
	return 0;
}

/* freeze, thaw: all, or those that are named. A guest thaws what it has frozen all together. */
static int run_freeze(struct virsh *v)
{
	bool freeze = str_eq(v->command->name, "domfsfreeze");
	const char *failed = freeze ? "Unable to freeze filesystems" : "Unable to thaw filesystems";
	struct found f;
	_cleanup_json_ json_t *answer = NULL;
	json_t *args = NULL;
	if (virsh_awake(v, &f, failed) < 0)
		return -1;
	if (!freeze && v->many_count) {
		virsh_error("%s", failed);
		return virsh_error("argument unsupported: all are thawed together");
	}
	if (v->many_count) {
		json_t *points = json_array();
		for (size_t i = 0; i < v->many_count; i++)
			json_array_append_new(points, json_string(v->many[i]));
		args = json_pack("{s:o}", "mountpoints", points);
	}
	if (virsh_agent_ask(&f,
		    !freeze         ? "guest-fsfreeze-thaw"
		    : v->many_count ? "guest-fsfreeze-freeze-list"
				    : "guest-fsfreeze-freeze",
		    args, &answer, failed) < 0)
		return -1;
	virsh_say(v, freeze ? "Froze %lld filesystem(s)" : "Thawed %lld filesystem(s)",
		(long long)json_integer_value(answer));
	return 0;
}

static int run_trim(struct virsh *v)
{
	static const char failed[] = "Unable to invoke fstrim";
	struct found f;
	uint64_t least = 0;
	if (virsh_awake(v, &f, failed) < 0 || virsh_scaled(v, "minimum", 1, &least) < 0 ||
		virsh_agent_ask(&f, "guest-fstrim",
			json_pack("{s:I}", "minimum", (json_int_t)least), NULL, failed) < 0)
		return -1;
	return 0;
}

/* ---- clock, host name, password ----------------------------------------------------------------------------- */

static int set_time(const struct virsh *v, const struct found *f)
{
	struct timespec now;
	int64_t seconds = 0;
	if (virsh_number(v, "time", 0, INT64_MAX / NS, &seconds) < 0)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	json_int_t ns = virsh_flag(v, "now") ? (json_int_t)now.tv_sec * NS + now.tv_nsec
					     : (json_int_t)seconds * NS;
	/* without a time it takes that of its real-time clock */
	json_t *args = virsh_flag(v, "sync") ? NULL : json_pack("{s:I}", "time", ns);
	return virsh_agent_ask(f, "guest-set-time", args, NULL, NULL);
}

static int run_time(struct virsh *v)
{
	static const char *const either[] = {"time", "now", "sync"};
	struct found f;
	_cleanup_json_ json_t *ns = NULL;
	const char *seen = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(either); i++) {
		if (!virsh_flag(v, either[i]))
			continue;
		if (seen)
			return virsh_error(
				"Options --%s and --%s are mutually exclusive", seen, either[i]);
		seen = either[i];
	}
	if (virsh_awake(v, &f, NULL) < 0)
		return -1;
	if (seen)
		return set_time(v, &f);
	if (virsh_agent_ask(&f, "guest-get-time", NULL, &ns, NULL) < 0)
		return -1;
	time_t seconds = (time_t)(json_integer_value(ns) / NS);
	struct tm parts;
	char text[32] = "";
	if (virsh_flag(v, "pretty") && gmtime_r(&seconds, &parts) &&
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts))
		printf("Time: %s\n", text);
	else
		printf("Time: %lld\n", (long long)seconds);
	return 0;
}

static int run_hostname(struct virsh *v)
{
	static const char failed[] = "failed to get hostname";
	struct found f;
	_cleanup_json_ json_t *answer = NULL;
	if (virsh_awake(v, &f, failed) < 0 ||
		virsh_agent_ask(&f, "guest-get-host-name", NULL, &answer, failed) < 0)
		return -1;
	puts(json_get_str(answer, "host-name", ""));
	return 0;
}

static char *base64(const char *text)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text);
	char *out = xcalloc(1, (len + 2) / 3 * 4 + 1), *to = out;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		unsigned bits = (unsigned)(unsigned char)text[i] << 16;
		bits |= left > 1 ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
		bits |= left > 2 ? (unsigned char)text[i + 2] : 0;
		*to++ = letters[bits >> 18];
		*to++ = letters[bits >> 12 & 63];
		*to++ = left > 1 ? letters[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? letters[bits & 63] : '=';
	}
	return out;
}

static int run_password(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	const char *user = virsh_text(v, "user"), *password = virsh_text(v, "password");
	if (virsh_running(v, &f) < 0)
		return -1;
	char *coded = base64(password);
	int result = call(&f,
		json_pack("{s:s, s:s, s:b}", "username", user, "password", coded, "crypted",
			virsh_flag(v, "encrypted")),
		"guest-set-user-password", NULL, &err);
	explicit_bzero(coded, strlen(coded));
	free(coded);
	if (result < 0)
		return virsh_agent_failed(&err);
	virsh_say(v, "Password set successfully for %s in %s", user, f.name);
	return 0;
}

/* ---- sleep --------------------------------------------------------------------------------------------------- */

static int run_sleep(struct virsh *v)
{
	static const struct {
		const char *target, *command;
	} kinds[] = {{"mem", "guest-suspend-ram"}, {"disk", "guest-suspend-disk"},
		{"hybrid", "guest-suspend-hybrid"}};
	struct found f;
	size_t i = 0;
	const char *target = virsh_text(v, "target");
	while (i < ARRAY_SIZE(kinds) && !str_eq(kinds[i].target, target))
		i++;
	if (i == ARRAY_SIZE(kinds))
		return virsh_error("Invalid target");
	_cleanup_free_ char *failed =
		str_fmt("Domain '%s' could not be suspended", virsh_text(v, "domain"));
	if (virsh_awake(v, &f, failed) < 0 ||
		virsh_agent_ask(&f, kinds[i].command, NULL, NULL, failed) < 0)
		return -1;
	virsh_say(v, "Domain '%s' successfully suspended", f.name);
	return 0;
}

static int run_wake(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	if (virsh_running(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	words_add(&w, "system_wakeup");
	if (words_ask(&w, "qmp", NULL, &err) < 0)
		return virsh_error("Domain '%s' could not be woken up", f.name), virsh_reason(&err);
	virsh_say(v, "Domain '%s' successfully woken up", f.name);
	return 0;
}

/* ---- raw ------------------------------------------------------------------------------------------------------ */

/* All words of --cmd, as one text. */
static char *command_text(const struct virsh *v)
{
	struct buf text = {0};
	buf_str(&text, "");
	for (size_t i = 0; i < v->many_count; i++)
		buf_fmt(&text, "%s%s", i ? " " : "", v->many[i]);
	return text.data;
}

static void print_raw(const struct virsh *v, json_t *answer)
{
	_cleanup_json_ json_t *whole =
		json_pack("{s:o}", "return", answer ? answer : json_object());
	size_t form = virsh_flag(v, "pretty") ? JSON_INDENT(2) : JSON_COMPACT;
	/* in ASCII: the text is the guest's, and a terminal must not obey it */
	_cleanup_free_ char *text = json_dumps(whole, form | JSON_ENSURE_ASCII);
	puts(text);
}

static int run_agent_command(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	json_t *answer = NULL;
	int64_t seconds = 0;
	_cleanup_free_ char *text = command_text(v);
	_cleanup_words_ struct words w = {0};
	if (virsh_number(v, "timeout", 1, 86400, &seconds) < 0)
		return -1;
	if (virsh_flag(v, "timeout") && virsh_flag(v, "block"))
		return virsh_error("Options --timeout and --block are mutually exclusive");
	if (virsh_running(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	words_text(&w, text);
	if (virsh_flag(v, "block"))
		seconds = 86400;
	if (seconds)
		words_fmt(&w, "--timeout=%" PRId64 "s", seconds);
	if (words_ask(&w, "agent", &answer, &err) < 0)
		return virsh_agent_failed(&err);
	print_raw(v, answer);
	return 0;
}

static int run_monitor_command(struct virsh *v)
{
	struct found f;
	json_t *answer = NULL;
	_cleanup_free_ char *text = command_text(v);
	_cleanup_words_ struct words w = {0};
	if (virsh_running(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	words_text(&w, text);
	if (virsh_ask(v, NULL, &w, "qmp", &answer) < 0)
		return -1;
	print_raw(v, answer);
	return 0;
}

const struct virsh_command virsh_agents[] = {
	{"domfsinfo", {V_DOMAIN}, run_fsinfo, "Get information of domain's mounted filesystems.",
		NULL, false},
	{"domfsfreeze", {V_DOMAIN, {"mountpoint", V_MANY}}, run_freeze,
		"Freeze domain's mounted filesystems.", NULL, true},
	{"domfsthaw", {V_DOMAIN, {"mountpoint", V_MANY}}, run_freeze,
		"Thaw domain's mounted filesystems.", NULL, true},
	{"domfstrim", {V_DOMAIN, {"minimum", V_INT}}, run_trim,
		"Invoke fstrim on domain's mounted filesystems.", NULL, true},
	{"domhostname", {V_DOMAIN}, run_hostname, "print the domain's hostname", NULL, false},
	{"domtime",
		{V_DOMAIN, {"now", V_FLAG}, {"pretty", V_FLAG}, {"sync", V_FLAG}, {"time", V_INT}},
		run_time, "domain time", NULL, true},
	{"dompmsuspend", {V_DOMAIN, {"target", V_NEED}}, run_sleep,
		"suspend a domain gracefully using power management functions", NULL, true},
	{"dompmwakeup", {V_DOMAIN}, run_wake, "wakeup a domain from pmsuspended state", NULL, true},
	{"set-user-password",
		{V_DOMAIN, {"user", V_NEED}, {"password", V_NEED}, {"encrypted", V_FLAG}},
		run_password, "set the user password inside the domain", NULL, true},
	{"qemu-agent-command",
		{V_DOMAIN, {"timeout", V_NAMED_INT}, {"block", V_FLAG}, {"pretty", V_FLAG},
			{"cmd", V_WORDS}},
		run_agent_command, "QEMU Guest Agent Command", NULL, true},
	{"qemu-monitor-command", {V_DOMAIN, {"pretty", V_FLAG}, {"cmd", V_WORDS}},
		run_monitor_command, "QEMU Monitor Command", NULL, true},
	{0},
};
