/* virsh's guestinfo and guestvcpus: lists of what a guest's agent tells, "KEY : VALUE" a line. */
#include "orchestrator/compat/virsh.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line; what has not been told is none. In `text` nothing is left that a terminal would obey. */
static void line(const char *key, const json_t *value)
{
	char number[32];
	const char *text = json_string_value(value);
	if (json_is_integer(value))
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
	else if (!text)
		return;
	_cleanup_free_ char *shown = xstrdup(text ? text : number);
	for (char *p = shown; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	printf("%-20s: %s\n", key, shown);
}

static void line_of(const json_t *o, const char *theirs, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void line_of(const json_t *o, const char *theirs, const char *fmt, ...)
{
	char key[96];
	va_list args;
	va_start(args, fmt);
	vsnprintf(key, sizeof(key), fmt, args);
	va_end(args);
	line(key, json_object_get(o, theirs));
}

static void count(const char *key, const json_t *list)
{
	_cleanup_json_ json_t *n = json_integer((json_int_t)json_array_size(list));
	line(key, n);
}

static void print_users(const json_t *list)
{
	size_t i;
	json_t *user;
	count("user.count", list);
	json_array_foreach (list, i, user) {
		_cleanup_json_ json_t *ms = json_integer((
			json_int_t)(json_number_value(json_object_get(user, "login-time")) * 1000));
		_cleanup_free_ char *key = str_fmt("user.%zu.login-time", i);
		line_of(user, "user", "user.%zu.name", i);
		line(key, ms);
	}
}

static void print_os(const json_t *os)
{
	static const char *const keys[] = {"id", "name", "pretty-name", "version", "version-id",
		"kernel-release", "kernel-version", "machine", "variant", "variant-id"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		line_of(os, keys[i], "os.%s", keys[i]);
}

static void print_timezone(const json_t *zone)
{
	line_of(zone, "zone", "timezone.name");
	line_of(zone, "offset", "timezone.offset");
}

static void print_host_name(const json_t *answer)
{
	line_of(answer, "host-name", "hostname");
}

static void print_file_systems(const json_t *list)
{
	size_t i, j;
	json_t *fs, *disk;
	count("fs.count", list);
	json_array_foreach (list, i, fs) {
		const json_t *disks = json_object_get(fs, "disk");
		_cleanup_free_ char *of_disks = str_fmt("fs.%zu.disk.count", i);
		line_of(fs, "name", "fs.%zu.name", i);
		line_of(fs, "mountpoint", "fs.%zu.mountpoint", i);
		line_of(fs, "type", "fs.%zu.fstype", i);
		line_of(fs, "total-bytes", "fs.%zu.total-bytes", i);
		line_of(fs, "used-bytes", "fs.%zu.used-bytes", i);
		count(of_disks, disks);
		json_array_foreach (disks, j, disk) {
			line_of(disk, "serial", "fs.%zu.disk.%zu.serial", i, j);
			line_of(disk, "dev", "fs.%zu.disk.%zu.device", i, j);
		}
	}
}

static void print_interfaces(const json_t *list)
{
	size_t i, j;
	json_t *nic, *a;
	count("if.count", list);
	json_array_foreach (list, i, nic) {
		const json_t *all = json_object_get(nic, "ip-addresses");
		_cleanup_free_ char *of_them = str_fmt("if.%zu.addr.count", i);
		line_of(nic, "name", "if.%zu.name", i);
		line_of(nic, "hardware-address", "if.%zu.hwaddr", i);
		count(of_them, all);
		json_array_foreach (all, j, a) {
			line_of(a, "ip-address-type", "if.%zu.addr.%zu.type", i, j);
			line_of(a, "ip-address", "if.%zu.addr.%zu.addr", i, j);
			line_of(a, "prefix", "if.%zu.addr.%zu.prefix", i, j);
		}
	}
}

/* Without an option all that this agent has; what is asked for by name must be there. */
static int run_guestinfo(struct virsh *v)
{
	static const struct {
		const char *option, *command;
		void (*print)(const json_t *answer);
	} parts[] = {{"user", "guest-get-users", print_users}, {"os", "guest-get-osinfo", print_os},
		{"timezone", "guest-get-timezone", print_timezone},
		{"hostname", "guest-get-host-name", print_host_name},
		{"filesystem", "guest-get-fsinfo", print_file_systems},
		{"interface", "guest-network-get-interfaces", print_interfaces}};
	struct found f;
	bool some = false;
	if (virsh_running(v, &f) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		some = some || virsh_flag(v, parts[i].option);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_json_ json_t *answer = NULL;
		if (some && !virsh_flag(v, parts[i].option))
			continue;
		if (virsh_agent_ask(&f, parts[i].command, NULL, &answer, NULL) < 0)
			return -1;
		parts[i].print(answer);
	}
	return 0;
}

/* ---- vCPUs ---------------------------------------------------------------------------------------------------- */

enum { GUEST_VCPUS_MAX = 1024 };

/* "0-2,4" */
char *virsh_cpu_list(const bool *in, size_t count)
{
	struct buf text = {0};
	buf_str(&text, "");
	for (size_t i = 0; i < count; i++) {
		size_t last = i;
		if (!in[i])
			continue;
		while (last + 1 < count && in[last + 1])
			last++;
		buf_fmt(&text, "%s%zu", text.len ? "," : "", i);
		if (last > i)
			buf_fmt(&text, "-%zu", last);
		i = last;
	}
	return text.data;
}

void virsh_print_cpus(const bool *in, size_t count, bool as_list)
{
	_cleanup_free_ char *list = as_list ? virsh_cpu_list(in, count) : NULL;
	for (size_t i = 0; i < count && !list; i++)
		putchar(in[i] ? 'y' : '-');
	fputs(list ? list : "", stdout);
}

/* The same read; -1, printed, if it is none. */
static int list_read(const char *text, bool *in)
{
	const char *p = text;
	while (*p) {
		char *end;
		long first = strtol(p, &end, 10), last = first;
		bool bad = end == p;
		if (*end == '-') {
			p = end + 1;
			last = strtol(p, &end, 10);
			bad = bad || end == p;
		}
		if (bad || first < 0 || last < first || last >= GUEST_VCPUS_MAX ||
			(*end && *end != ','))
			return virsh_error("invalid argument: Failed to parse bitmap '%s'", text);
		for (long i = first; i <= last; i++)
			in[i] = true;
		p = *end ? end + 1 : end;
	}
	return 0;
}

static void add_switch(json_t *list, int64_t id, bool online)
{
	json_array_append_new(
		list, json_pack("{s:I, s:b}", "logical-id", (json_int_t)id, "online", online));
}

/* All of a list, or it has failed. */
static int switch_all(const struct found *f, json_t *list)
{
	_cleanup_json_ json_t *answer = NULL;
	if (virsh_agent_ask(
		    f, "guest-set-vcpus", json_pack("{s:O}", "vcpus", list), &answer, NULL) < 0)
		return -1;
	if ((size_t)json_integer_value(answer) < json_array_size(list))
		return virsh_error("internal error: failed to set state of cpu via guest agent");
	return 0;
}

static int switch_vcpus(const struct virsh *v, const struct found *f, bool online)
{
	bool in[GUEST_VCPUS_MAX] = {0};
	_cleanup_json_ json_t *list = json_array();
	if (list_read(virsh_text(v, "cpulist"), in) < 0)
		return -1;
	for (int i = 0; i < GUEST_VCPUS_MAX; i++)
		if (in[i])
			add_switch(list, i, online);
	return switch_all(f, list);
}

/* The first that are off are put to use, or the last that may be are taken out of it. */
static json_t *choose_vcpus(const json_t *cpus, int64_t count)
{
	size_t i, all = json_array_size(cpus);
	int64_t online = 0;
	json_t *c, *list = json_array();
	json_array_foreach (cpus, i, c)
		online += json_get_bool(c, "online", false);
	json_array_foreach (cpus, i, c)
		if (online < count && !json_get_bool(c, "online", false)) {
			add_switch(list, json_get_int(c, "logical-id", 0), true);
			online++;
		}
	while (all-- > 0 && online > count) {
		c = json_array_get(cpus, all);
		if (!json_get_bool(c, "online", false) || !json_get_bool(c, "can-offline", false))
			continue;
		add_switch(list, json_get_int(c, "logical-id", 0), false);
		online--;
	}
	if (online == count)
		return list;
	json_decref(list);
	return NULL;
}

int virsh_guest_use_vcpus(const struct found *f, int64_t count)
{
	_cleanup_json_ json_t *cpus = NULL, *list = NULL;
	if (virsh_agent_ask(f, "guest-get-vcpus", NULL, &cpus, NULL) < 0)
		return -1;
	if (count > (int64_t)json_array_size(cpus))
		return virsh_error("invalid argument: guest agent reports less cpu than requested");
	if (!(list = choose_vcpus(cpus, count)))
		return virsh_error("invalid argument: Cannot offline enough CPUs");
	return json_array_size(list) ? switch_all(f, list) : 0;
}

static int run_guestvcpus(struct virsh *v)
{
	static const char *const names[] = {"vcpus", "online", "offlinable"};
	bool in[ARRAY_SIZE(names)][GUEST_VCPUS_MAX] = {0};
	bool enable = virsh_flag(v, "enable"), disable = virsh_flag(v, "disable");
	struct found f;
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *c;
	if (enable && disable)
		return virsh_error("Options --enable and --disable are mutually exclusive");
	if ((enable || disable) && !virsh_text(v, "cpulist"))
		return virsh_error("Option --cpulist is required by option --%s",
			enable ? "enable" : "disable");
	if (virsh_text(v, "cpulist") && !enable && !disable)
		return virsh_error("One of options --enable or --disable is required by option "
				   "--cpulist");
	if (virsh_running(v, &f) < 0)
		return -1;
	if (enable || disable)
		return switch_vcpus(v, &f, enable);
	if (virsh_agent_ask(&f, "guest-get-vcpus", NULL, &list, NULL) < 0)
		return -1;
	json_array_foreach (list, i, c) {
		int64_t id = json_get_int(c, "logical-id", -1);
		if (id < 0 || id >= GUEST_VCPUS_MAX)
			continue;
		in[0][id] = true;
		in[1][id] = json_get_bool(c, "online", false);
		in[2][id] = json_get_bool(c, "can-offline", false);
	}
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *text = virsh_cpu_list(in[i], GUEST_VCPUS_MAX);
		printf("%-15s: %s\n", names[i], text);
	}
	return 0;
}

const struct virsh_command virsh_guestinfos[] = {
	{"guestinfo",
		{V_DOMAIN, {"user", V_FLAG}, {"os", V_FLAG}, {"timezone", V_FLAG},
			{"hostname", V_FLAG}, {"filesystem", V_FLAG}, {"interface", V_FLAG}},
		run_guestinfo, "query information about the guest (via agent)", NULL, false},
	{"guestvcpus", {V_DOMAIN, {"cpulist", V_TEXT}, {"enable", V_FLAG}, {"disable", V_FLAG}},
		run_guestvcpus, "query or modify state of vcpu in the guest (via agent)", NULL,
		true},
	{0},
};
