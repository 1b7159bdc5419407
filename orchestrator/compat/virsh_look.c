/* virsh's commands that tell what a guest is and does. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <string.h>

enum { SHUT_OFF = 5 /* libvirt's number for it, in domstats */ };

static const char not_running[] = "Requested operation is not valid: domain is not running";

/* The answer of a verb about <domain>. */
static int look(const struct virsh *v, const char *verb, json_t **answer)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (virsh_domain(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	return virsh_ask(v, NULL, &w, verb, answer);
}

static long long kib(const json_t *o, const char *key)
{
	return (long long)(json_get_int(o, key, 0) / 1024);
}

/* "autostart" is true, or how: an order, a delay. */
static bool starts_with_host(const json_t *info)
{
	const json_t *autostart = json_object_get(info, "autostart");
	return (json_is_true(autostart) || json_is_object(autostart)) &&
	       !json_get_bool(info, "transient", false);
}

static int run_dominfo(struct virsh *v)
{
	_cleanup_json_ json_t *info = NULL;
	if (look(v, "dominfo", &info) < 0)
		return -1;
	bool runs = json_object_get(info, "number");
	if (runs)
		virsh_fact(16, "Id:", "%lld", (long long)json_get_int(info, "number", 0));
	else
		virsh_fact(16, "Id:", "-");
	virsh_fact(16, "Name:", "%s", json_get_str(info, "name", ""));
	virsh_fact(16, "UUID:", "%s", json_get_str(info, "uuid", ""));
	virsh_fact(16, "OS Type:", "hvm");
	virsh_fact(16, "State:", "%s", compat_state(json_get_str(info, "state", "")));
	virsh_fact(16, "CPU(s):", "%lld",
		(long long)json_get_int(info, runs ? "current_vcpus" : "vcpus", 0));
	if (runs)
		virsh_fact(
			16, "CPU time:", "%.1fs", (double)json_get_int(info, "cpu_time", 0) / 1e9);
	virsh_fact(16, "Max memory:", "%lld KiB",
		kib(info, runs ? "current_max_memory" : "max_memory"));
	virsh_fact(16, "Used memory:", "%lld KiB", kib(info, runs ? "current_memory" : "memory"));
	virsh_fact(16, "Persistent:", "%s", json_get_bool(info, "transient", false) ? "no" : "yes");
	virsh_fact(16, "Autostart:", "%s", starts_with_host(info) ? "enable" : "disable");
	virsh_fact(16, "Managed save:", "%s",
		json_get_bool(info, "managed_save", false) ? "yes" : "no");
	virsh_fact(16, "Security model:", "none");
	virsh_fact(16, "Security DOI:", "0");
	return 0;
}

/* libvirt's words for why; roost's are richer. */
static const char *reason_of(const char *state, const char *reason)
{
	static const struct {
		const char *state, *begins, *libvirts;
	} words[] = {
		{"running", "restored", "restored"},
		{"running", "unpaused", "unpaused"},
		{"running", "", "booted"},
		{"paused", "watchdog", "watchdog"},
		{"paused", "", "user"},
		{"shut off", "destroyed", "destroyed"},
		{"shut off", "failed to start", "failed"},
		{"shut off", "saved", "saved"},
		{"shut off", "guest poweroff", "shutdown"},
		{"shut off", "guest-shutdown", "shutdown"},
		{"shut off", "guest-reset", "shutdown"},
		{"shut off", "guest-panic", "crashed"},
		{"shut off", "", "unknown"},
		{"crashed", "panic", "panicked"},
		{"in shutdown", "", "user"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(words[i].state, state) && str_starts(reason, words[i].begins))
			return words[i].libvirts;
	return "unknown";
}

static int run_domstate(struct virsh *v)
{
	_cleanup_json_ json_t *answer = NULL;
	if (look(v, "domstate", &answer) < 0)
		return -1;
	const char *ours = json_get_str(answer, "state", ""), *state = compat_state(ours);
	const char *reason = reason_of(state, json_get_str(answer, "reason", ""));
	if (str_eq(ours, "io-error"))
		reason = "I/O error";
	if (virsh_flag(v, "reason"))
		printf("%s (%s)\n", state, reason);
	else
		puts(state);
	return 0;
}

static int run_domid(struct virsh *v)
{
	_cleanup_json_ json_t *answer = NULL;
	if (look(v, "domid", &answer) < 0)
		return -1;
	if (json_is_integer(json_object_get(answer, "id")))
		printf("%lld\n", (long long)json_get_int(answer, "id", 0));
	else
		puts("-");
	return 0;
}

static int run_domname(struct virsh *v)
{
	struct found f;
	return virsh_domain(v, &f) < 0 ? -1 : (puts(f.name), 0);
}

static int run_domuuid(struct virsh *v)
{
	_cleanup_json_ json_t *answer = NULL;
	if (look(v, "domuuid", &answer) < 0)
		return -1;
	puts(json_get_str(answer, "uuid", ""));
	return 0;
}

static int look_running(const struct virsh *v, struct status *out)
{
	struct found f;
	struct err err = ERR_INIT;
	if (virsh_running(v, &f) < 0)
		return -1;
	return guest_look(&f, out, &err) < 0 ? virsh_reason(&err) : 0;
}

/* What is asked of a guest is answered by its keeper: one that is busy says with what. */
static int run_domcontrol(struct virsh *v)
{
	_cleanup_status_ struct status s = {0};
	if (look_running(v, &s) < 0)
		return -1;
	puts(s.state == GUEST_UNRESPONSIVE ? "error: monitor failure" : s.busy[0] ? "job" : "ok");
	return 0;
}

/* The time is of all the host's CPUs together. */
static int run_cpu_stats(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!guest_runs(&f))
		return virsh_error("Failed to retrieve CPU statistics for domain '%s'", f.name),
		       virsh_error("%s", not_running);
	words_add(&w, "--cpu-total");
	words_add(&w, f.name);
	if (virsh_ask(v, NULL, &w, "domstats", &list) < 0)
		return -1;
	static const char *const rows[][2] = {
		{"cpu_time", "cpu.time"}, {"user_time", "cpu.user"}, {"system_time", "cpu.system"}};
	puts("Total:");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		long long ns = (long long)json_get_int(json_array_get(list, 0), rows[i][1], 0);
		printf("\t%-12s %9lld.%09lld seconds\n", rows[i][0], ns / 1000000000,
			ns % 1000000000);
	}
	return 0;
}

/* Operations of the keeper by libvirt's names (virDomainJobOperation). */
static int run_domjobinfo(struct virsh *v)
{
	static const char *const names[][2] = {{"roost-save", "Save"}, {"roost-backup", "Backup"},
		{"roost-snapshot", "Snapshot"}, {"roost-revert", "Snapshot revert"}};
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	if (virsh_running(v, &f) < 0)
		return -1;
	if (guest_look(&f, &s, &err) < 0)
		return virsh_reason(&err);
	printf("%-17s %-12s\n", "Job type:", s.busy[0] ? "Unbounded" : "None");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_starts(s.busy, names[i][0]))
			printf("%-17s %-12s\n", "Operation:", names[i][1]);
	return 0;
}

/* "vda: no space" of a guest that a disk has stopped. */
static int run_domblkerror(struct virsh *v)
{
	_cleanup_status_ struct status s = {0};
	if (look_running(v, &s) < 0)
		return -1;
	if (s.state == GUEST_IO_ERROR)
		printf("%.*s: %s\n", (int)strcspn(s.reason, ":"), s.reason,
			strstr(s.reason, "no space") ? "no space" : "unspecified error");
	else
		virsh_say(v, "No errors found");
	return 0;
}

/* ---- CPUs ------------------------------------------------------------------------------------------------ */

static void print_count(const json_t *counts, const char *which, const char *when)
{
	const json_t *count = json_object_get(json_object_get(counts, which), when);
	if (count)
		printf("%-12s %-12s %3lld\n", which, when, (long long)json_integer_value(count));
}

static int count_in_guest(const struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	if (virsh_running(v, &f) < 0)
		return -1;
	if (verb_ask("vcpucount", (const char *const[]){f.name, "--guest", NULL}, &answer, &err) <
		0)
		return virsh_agent_failed(&err);
	printf("%lld\n", (long long)json_get_int(answer, "vcpus", 0));
	return 0;
}

static int run_vcpucount(struct virsh *v)
{
	_cleanup_json_ json_t *counts = NULL;
	bool maximum = virsh_flag(v, "maximum"), active = virsh_flag(v, "active");
	bool live = virsh_flag(v, "live"), config = virsh_flag(v, "config");
	if (maximum && active)
		return virsh_error("Options --active and --maximum are mutually exclusive");
	if (virsh_flag(v, "guest"))
		return count_in_guest(v);
	if (look(v, "vcpucount", &counts) < 0)
		return -1;
	if (live && !json_object_get(json_object_get(counts, "current"), "live"))
		return virsh_error("%s", not_running);
	if (!maximum && !active) {
		print_count(counts, "maximum", "config");
		print_count(counts, "maximum", "live");
		print_count(counts, "current", "config");
		print_count(counts, "current", "live");
		return 0;
	}
	const json_t *count = json_object_get(counts, maximum ? "maximum" : "current");
	const json_t *now = json_object_get(count, "live");
	printf("%lld\n", (long long)json_integer_value(
				 config || !now ? json_object_get(count, "config") : now));
	return 0;
}

/* Of the host's CPUs those that it may run on; all, where nothing is told. */
static void print_affinity(const json_t *cpus, bool pretty)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *node = NULL;
	size_t i;
	json_t *cpu;
	if (compat_ask("nodeinfo", NULL, &node, &ignored) < 0)
		return;
	size_t count = (size_t)json_get_int(node, "cpus", 1);
	_cleanup_free_ bool *in = xcalloc(count + 1, sizeof(*in));
	for (i = 0; i < count; i++)
		in[i] = !cpus;
	json_array_foreach (cpus, i, cpu)
		if ((size_t)json_integer_value(cpu) < count)
			in[json_integer_value(cpu)] = true;
	printf("%-16s", "CPU Affinity:");
	virsh_print_cpus(in, count, pretty);
	if (pretty)
		printf(" (out of %zu)", count);
	putchar('\n');
}

static int run_vcpuinfo(struct virsh *v)
{
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *c;
	if (look(v, "vcpuinfo", &list) < 0)
		return -1;
	json_array_foreach (list, i, c) {
		if (i)
			putchar('\n');
		virsh_fact(16, "VCPU:", "%lld", (long long)json_get_int(c, "vcpu", 0));
		if (json_is_integer(json_object_get(c, "cpu"))) {
			virsh_fact(16, "CPU:", "%lld", (long long)json_get_int(c, "cpu", 0));
			virsh_fact(16, "State:", "%s", json_get_str(c, "state", "running"));
			virsh_fact(
				16, "CPU time:", "%.1fs", (double)json_get_int(c, "time", 0) / 1e9);
		} else {
			virsh_fact(16, "CPU:", "N/A");
			virsh_fact(16, "State:", "N/A");
			virsh_fact(16, "CPU time", "N/A");
		}
		print_affinity(json_object_get(c, "affinity"), virsh_flag(v, "pretty"));
	}
	return 0;
}

/* ---- memory, all together ---------------------------------------------------------------------------------- */

static int run_dommemstat(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *stats = NULL;
	const char *key;
	json_t *value;
	if (virsh_flag(v, "period"))
		return virsh_error("--period is not there: the balloon is asked whenever you ask");
	_cleanup_free_ char *failed =
		str_fmt("Failed to get memory statistics for domain %s", virsh_text(v, "domain"));
	if (virsh_awake(v, &f, failed) < 0)
		return -1;
	words_add(&w, f.name);
	if (words_ask(&w, "dommemstat", &stats, &err) < 0)
		return virsh_error("%s", failed), virsh_reason(&err);
	bool told = false; /* it stands before these; 0: the balloon has never told */
	json_object_foreach (stats, key, value) {
		if (!told && (str_eq(key, "disk_caches") || str_eq(key, "rss")))
			printf("last_update %lld\n",
				(long long)json_get_int(stats, "last_update", 0));
		told = told || str_eq(key, "disk_caches");
		if (!str_eq(key, "last_update"))
			printf("%s %lld\n", key, (long long)json_integer_value(value));
	}
	return 0;
}

/* "net.0.tap" of "net.0.name". */
static const json_t *beside(const json_t *guest, const char *key, const char *name)
{
	_cleanup_free_ char *other = str_fmt("%.*s.%s", (int)(strrchr(key, '.') - key), key, name);
	return json_object_get(guest, other);
}

/* virsh calls an interface by its device on the host, and has the sizes of a disk as domblkinfo tells them. */
static const json_t *as_virsh_has_it(const json_t *guest, const char *key, const json_t *value)
{
	const json_t *other = NULL;
	if (str_starts(key, "net.") && str_ends(key, ".name"))
		other = beside(guest, key, "tap");
	else if (str_ends(key, ".physical") && beside(guest, key, "highest"))
		other = beside(guest, key, "allocation");
	else if (str_ends(key, ".allocation"))
		other = beside(guest, key, "highest");
	return other && (json_is_string(other) || json_integer_value(other)) ? other : value;
}

/* Of roost's numbers those that libvirt has, too; of interfaces those of a guest that runs. */
static void print_stats(const json_t *guest, bool first)
{
	static const char *const ours[] = {".mac", ".tap", ".highest", "state.name"};
	bool off = json_get_int(guest, "state.state", 0) == SHUT_OFF;
	const char *key;
	json_t *v;
	printf("%sDomain: '%s'\n", first ? "" : "\n", json_get_str(guest, "name", ""));
	json_object_foreach ((json_t *)guest, key, v) {
		bool is_ours = str_eq(key, "name") || (off && str_starts(key, "net."));
		for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
			is_ours = is_ours || str_ends(key, ours[i]);
		if (is_ours)
			continue;
		const json_t *value = as_virsh_has_it(guest, key, v);
		if (json_is_string(value))
			printf("  %s=%s\n", key, json_string_value(value));
		else if (json_is_integer(value))
			printf("  %s=%lld\n", key, (long long)json_integer_value(value));
	}
}

static int run_domstats(struct virsh *v)
{
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *guest;
	for (int j = 0; j < VIRSH_OPTIONS_MAX && v->command->options[j].name; j++)
		if (v->command->options[j].kind == V_FLAG && v->values[j] &&
			!str_eq(v->command->options[j].name, "raw") &&
			!str_eq(v->command->options[j].name, "nowait"))
			words_fmt(&w, "--%s", v->command->options[j].name);
	for (size_t j = 0; j < v->many_count; j++)
		words_text(&w, v->many[j]);
	if (words_ask(&w, "domstats", &list, &err) < 0)
		return (err.kind == ERR_NOT_FOUND || err.kind == ERR_USAGE) && v->many_count == 1
			       ? virsh_error("failed to get domain '%s'", v->many[0])
			       : virsh_reason(&err);
	json_array_foreach (list, i, guest)
		print_stats(guest, i == 0);
	return 0;
}

/* ---- displays ------------------------------------------------------------------------------------------------ */

static int run_vncdisplay(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!guest_runs(&f))
		return virsh_error("Domain is not running");
	if (compat_ask("vncdisplay", f.name, &answer, &err) < 0)
		return virsh_error("Failed to get VNC port. Is this domain using VNC?");
	puts(json_get_str(answer, "socket", "")); /* it listens there alone */
	return 0;
}

static int run_domdisplay(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	const char *type = virsh_text(v, "type");
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!guest_runs(&f))
		return virsh_error("Domain is not running");
	if ((type && !str_eq(type, "vnc")) || compat_ask("domdisplay", f.name, &answer, &err) < 0)
		return virsh_error("No graphical display found");
	printf("%s", json_get_str(answer, "uri", ""));
	return 0;
}

const struct virsh_command virsh_looks[] = {
	{"dominfo", {V_DOMAIN}, run_dominfo, "domain information", NULL, false},
	{"domstate", {V_DOMAIN, {"reason", V_FLAG}}, run_domstate, "domain state", NULL, false},
	{"domid", {V_DOMAIN}, run_domid, "convert a domain name or UUID to domain id", NULL, false},
	{"domname", {V_DOMAIN}, run_domname, "convert a domain id or UUID to domain name", NULL,
		false},
	{"domuuid", {V_DOMAIN}, run_domuuid, "convert a domain name or id to domain UUID", NULL,
		false},
	{"domcontrol", {V_DOMAIN}, run_domcontrol, "domain control interface state", NULL, false},
	{"cpu-stats", {V_DOMAIN, {"total", V_FLAG}}, run_cpu_stats, "show domain cpu statistics",
		NULL, false},
	{"domjobinfo", {V_DOMAIN}, run_domjobinfo, "domain job information", NULL, false},
	{"domblkerror", {V_DOMAIN}, run_domblkerror, "Show errors on block devices", NULL, false},
	{"vcpucount",
		{V_DOMAIN, {"maximum", V_FLAG}, {"active", V_FLAG}, {"live", V_FLAG},
			{"config", V_FLAG}, {"current", V_FLAG}, {"guest", V_FLAG}},
		run_vcpucount, "domain vcpu counts", NULL, false},
	{"vcpuinfo", {V_DOMAIN, {"pretty", V_FLAG}}, run_vcpuinfo,
		"detailed domain vcpu information", NULL, false},
	{"dommemstat", {V_DOMAIN, {"period", V_NAMED_INT}, V_CURRENT}, run_dommemstat,
		"get memory statistics for a domain", NULL, false},
	{"domstats",
		{{"state", V_FLAG}, {"cpu-total", V_FLAG}, {"balloon", V_FLAG}, {"vcpu", V_FLAG},
			{"interface", V_FLAG}, {"block", V_FLAG}, {"list-active", V_FLAG},
			{"list-inactive", V_FLAG}, {"list-running", V_FLAG},
			{"list-paused", V_FLAG}, {"list-shutoff", V_FLAG}, {"list-other", V_FLAG},
			{"raw", V_FLAG}, {"nowait", V_FLAG}, {"domain", V_REST}},
		run_domstats, "get statistics about one or multiple domains", NULL, false},
	{"vncdisplay", {V_DOMAIN}, run_vncdisplay, "vnc display", NULL, false},
	{"domdisplay", {V_DOMAIN, {"include-password", V_FLAG}, {"type", V_NAMED}, {"all", V_FLAG}},
		run_domdisplay, "domain display connection URI", NULL, false},
	{0},
};
