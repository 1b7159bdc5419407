/*
 * domstats: all numbers of guests that run, or of those named, by virsh's names. Of a guest that does
 * not answer, or does not run, what can be told without it is told, and the rest is left out.
 */
#include "orchestrator/verbs.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/fs.h"
#include "orchestrator/look_block.h"
#include "orchestrator/look_cpu.h"
#include "orchestrator/look_net.h"
#include "orchestrator/paths.h"
#include "orchestrator/usage.h"

enum { GUEST_COUNTS_MS = 2000 }; /* a busy agent under TCG takes more than half a second */

/* One guest's answer: a flat object, "vcpu.0.time": N, in the order in which it is printed. */
struct stats {
	struct look *l;
	const struct definition *d; /* what it runs by */
	json_t *out;
};

static void add(const struct stats *s, int64_t value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void add(const struct stats *s, int64_t value, const char *fmt, ...)
{
	char key[64];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(key, sizeof(key), fmt, ap);
	va_end(ap);
	if (value >= 0)
		json_object_set_new(s->out, key, json_integer(value));
}

static void add_text(const struct stats *s, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void add_text(const struct stats *s, const char *value, const char *fmt, ...)
{
	char key[64];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(key, sizeof(key), fmt, ap);
	va_end(ap);
	if (value)
		json_object_set_new(s->out, key, json_string(value));
}

/* ---- state ---------------------------------------------------------------------------------------- */

/* libvirt's numbers (virDomainState); what it has no word for is "no state". */
static const int states[GUEST_STATE_MAX] = {
	[GUEST_SHUT_OFF] = 5,
	[GUEST_STARTING] = 3,
	[GUEST_RUNNING] = 1,
	[GUEST_PAUSED] = 3,
	[GUEST_IN_SHUTDOWN] = 4,
	[GUEST_MIGRATING] = 3,
	[GUEST_CRASHED] = 6,
	[GUEST_UNRESPONSIVE] = 0,
	[GUEST_IO_ERROR] = 3,
	[GUEST_BROKEN] = 0,
};

/* And of why it is so (virDomainRunningReason and so on); 0 is "unknown". */
static int reason_number(const struct status *s)
{
	static const struct {
		enum guest_state state;
		const char *begins;
		int number;
	} reasons[] = {
		{GUEST_RUNNING, "booted", 1},
		{GUEST_RUNNING, "unpaused", 5},
		{GUEST_PAUSED, "user", 1},
		{GUEST_STARTING, "", 11},
		{GUEST_MIGRATING, "", 2},
		{GUEST_IO_ERROR, "", 5},
		{GUEST_IN_SHUTDOWN, "", 1},
		{GUEST_CRASHED, "panic", 1},
		{GUEST_SHUT_OFF, "guest poweroff", 1},
		{GUEST_SHUT_OFF, "shut down", 1},
		{GUEST_SHUT_OFF, "destroyed", 2},
		{GUEST_SHUT_OFF, "failed to start", 6},
	};
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].state == s->state && str_starts(s->reason, reasons[i].begins))
			return reasons[i].number;
	return 0;
}

static void add_state(const struct stats *s)
{
	add(s, states[s->l->s.state], "state.state");
	add(s, reason_number(&s->l->s), "state.reason");
	add_text(s, guest_state_name(s->l->s.state), "state.name");
}

/* ---- CPU, memory ---------------------------------------------------------------------------------- */

static void add_cpu(const struct stats *s)
{
	struct err ignored = ERR_INIT;
	struct cpu_time t;
	if (!look_runs(s->l) || cpu_time_read(s->l->s.qemu_pid, 0, &t, &ignored) < 0)
		return;
	add(s, t.user_ns + t.system_ns, "cpu.time");
	add(s, t.user_ns, "cpu.user");
	add(s, t.system_ns, "cpu.system");
}

/* In bytes; -1 if it cannot be told. Plugged memory is no part of what QEMU calls "actual". */
static int64_t memory_now(const struct stats *s)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *balloon = NULL, *sizes = NULL;
	if (!look_runs(s->l))
		return (int64_t)s->d->memory;
	if (look_ask(s->l, "query-balloon", NULL, &balloon, &ignored) < 0 ||
		look_ask(s->l, "query-memory-size-summary", NULL, &sizes, &ignored) < 0)
		return -1;
	return json_get_int(balloon, "actual", 0) + json_get_int(sizes, "plugged-memory", 0);
}

/* In KiB, as virsh has them. */
static void add_balloon(const struct stats *s)
{
	int64_t now = memory_now(s),
		resident = look_runs(s->l) ? resident_bytes(s->l->s.qemu_pid) : -1;
	add(s, now < 0 ? -1 : now / 1024, "balloon.current");
	add(s, (int64_t)s->d->max_memory / 1024, "balloon.maximum");
	add(s, resident < 0 ? -1 : resident / 1024, "balloon.rss");
}

static void add_vcpus(const struct stats *s)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *vcpus = NULL;
	size_t i;
	json_t *v;
	add(s, look_runs(s->l) ? s->l->s.vcpus : s->d->vcpus, "vcpu.current");
	add(s, s->d->max_vcpus, "vcpu.maximum");
	if (!look_runs(s->l) || look_vcpus(s->l, &vcpus, &ignored) < 0)
		return;
	json_array_foreach (vcpus, i, v) {
		add(s, 1, "vcpu.%zu.state", i); /* VIR_VCPU_RUNNING */
		add(s, json_get_int(v, "time", -1), "vcpu.%zu.time", i);
	}
}

/* ---- interfaces, disks ---------------------------------------------------------------------------- */

static void add_counters(const struct stats *s, size_t i, const json_t *counters)
{
	static const char *const names[] = {"rx.bytes", "rx.pkts", "rx.errs", "rx.drop", "tx.bytes",
		"tx.pkts", "tx.errs", "tx.drop"};
	for (size_t j = 0; counters && j < ARRAY_SIZE(names); j++)
		add(s, json_get_int(counters, nic_counters[j], -1), "net.%zu.%s", i, names[j]);
}

static bool any_of_user(const json_t *nics)
{
	size_t i;
	json_t *nic;
	json_array_foreach (nics, i, nic)
		if (!json_get_str(nic, "tap", NULL))
			return true;
	return false;
}

/* Only who asks for interfaces waits for the guest: it alone counts, and may be slow. */
static void add_interfaces(const struct stats *s, bool ask_guest)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *nics = look_nics(s->l, &ignored), *guests = NULL;
	size_t i;
	json_t *nic;
	if (ask_guest && look_runs(s->l) && any_of_user(nics))
		look_guest_interfaces(s->l, GUEST_COUNTS_MS, &guests, &ignored);
	add(s, (int64_t)json_array_size(nics), "net.count");
	json_array_foreach (nics, i, nic) {
		add_text(s, json_get_str(nic, "interface", NULL), "net.%zu.name", i);
		add_text(s, json_get_str(nic, "mac", NULL), "net.%zu.mac", i);
		add_text(s, json_get_str(nic, "tap", NULL), "net.%zu.tap", i);
		_cleanup_json_ json_t *counted =
			json_get_str(nic, "tap", NULL) ? look_nic_count(s->l, nic, &ignored) : NULL;
		add_counters(s, i, counted ? counted : look_nic_counters(guests, nic, &ignored));
	}
}

static void add_disks(const struct stats *s)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *disks = look_disks(s->l, &ignored);
	size_t i;
	json_t *disk;
	look_disk_sizes(s->l, disks, &ignored);
	if (look_runs(s->l))
		look_disk_counters(s->l, disks, &ignored);
	add(s, (int64_t)json_array_size(disks), "block.count");
	json_array_foreach (disks, i, disk) {
		static const char *const sizes[] = {"allocation", "capacity", "physical"};
		/* virsh's: what was read, what was written, what was flushed */
		static const size_t order[DISK_COUNTERS] = {0, 1, 5, 2, 3, 6, 4, 7};
		add_text(s, json_get_str(disk, "target", NULL), "block.%zu.name", i);
		add_text(s, json_get_str(disk, "source", NULL), "block.%zu.path", i);
		for (size_t j = 0; j < DISK_COUNTERS; j++) {
			const struct disk_counter *c = &disk_counters[order[j]];
			add(s, json_get_int(disk, c->name, -1), "block.%zu.%s", i, c->stats);
		}
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++)
			add(s, json_get_int(disk, sizes[j], -1), "block.%zu.%s", i, sizes[j]);
		add(s, json_get_int(disk, "highest", -1), "block.%zu.highest", i);
	}
}

/* ---- which guests, which groups ------------------------------------------------------------------- */

static bool any_of(const struct cli *cli, const char *const words[])
{
	bool any = false;
	for (size_t i = 0; words[i]; i++)
		any = any || cli_flag(cli, words[i]);
	return any;
}

static void add_groups(const struct cli *cli, const struct stats *s)
{
	static const char *const groups[] = {
		"state", "cpu-total", "balloon", "vcpu", "interface", "block", NULL};
	bool all = !any_of(cli, groups);
	if (all || cli_flag(cli, "state"))
		add_state(s);
	if (all || cli_flag(cli, "cpu-total"))
		add_cpu(s);
	if (all || cli_flag(cli, "balloon"))
		add_balloon(s);
	if (all || cli_flag(cli, "vcpu"))
		add_vcpus(s);
	if (all || cli_flag(cli, "interface"))
		add_interfaces(s, !all);
	if (all || cli_flag(cli, "block"))
		add_disks(s);
}

static const char *const lists[] = {"list-active", "list-inactive", "list-running", "list-paused",
	"list-shutoff", "list-other", NULL};

/* Those that run, unless --list-* says which. */
static bool is_listed(const struct cli *cli, const struct look *l)
{
	bool runs = look_runs(l);
	enum guest_state state = l->s.state;
	if (!any_of(cli, lists))
		return runs;
	return (cli_flag(cli, "list-active") && runs) ||
	       (cli_flag(cli, "list-inactive") && !runs) ||
	       (cli_flag(cli, "list-running") && state == GUEST_RUNNING) ||
	       (cli_flag(cli, "list-paused") && state == GUEST_PAUSED) ||
	       (cli_flag(cli, "list-shutoff") && state == GUEST_SHUT_OFF) ||
	       (cli_flag(cli, "list-other") && state != GUEST_RUNNING && state != GUEST_PAUSED &&
		       state != GUEST_SHUT_OFF);
}

static int add_guest(
	const struct cli *cli, const char *word, bool named, json_t *all, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, word, err) < 0)
		return -1;
	if (!named && !is_listed(cli, &l))
		return 0;
	_cleanup_definition_ struct definition *d = look_definition(&l.f, err);
	if (!d)
		return -1;
	struct stats s = {&l, d, json_pack("{s:s}", "name", l.f.name)};
	add_groups(cli, &s);
	json_array_append_new(all, s.out);
	return 0;
}

/* One that has ended or been undefined meanwhile, or is broken, does not hide the others. */
static int add_listed(const struct cli *cli, json_t *all, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct err ignored = ERR_INIT;
		add_guest(cli, *name, false, all, &ignored);
	}
	return 0;
}

static void print_guest(const json_t *guest)
{
	const char *key;
	json_t *value;
	printf("Guest: '%s'\n", json_get_str(guest, "name", ""));
	json_object_foreach ((json_t *)guest, key, value) {
		if (json_is_integer(value))
			printf("  %s=%lld\n", key, (long long)json_integer_value(value));
		else if (!str_eq(key, "name"))
			printf("  %s=%s\n", key, json_string_value(value));
	}
}

static int run_domstats(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *all = json_array();
	size_t i;
	json_t *guest;
	if (cli->count && any_of(cli, lists))
		return err_set(err, ERR_USAGE, "roost domstats: either names or --list-*");
	for (int n = 0; n < cli->count; n++)
		if (add_guest(cli, cli->operands[n], true, all, err) < 0)
			return -1;
	if (!cli->count && add_listed(cli, all, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(json_incref(all));
		return 0;
	}
	json_array_foreach (all, i, guest) {
		if (i)
			putchar('\n');
		print_guest(guest);
	}
	return 0;
}

const struct verb verb_domstats = {"domstats", "[NAME...]",
	"Tells all numbers of guests at once: of those that run, or of those named.", 0, -1, false,
	{{"state", NULL, 0, "only state and reason, by libvirt's numbers"},
		{"cpu-total", NULL, 0, "only the CPU time, in ns"},
		{"balloon", NULL, 0, "only the memory, in KiB"},
		{"vcpu", NULL, 0, "only the vCPUs"},
		{"interface", NULL, 0,
			"only the interfaces; counters if the guest's agent tells them"},
		{"block", NULL, 0, "only the disks"}, {"list-active", NULL, 0, "those that run"},
		{"list-inactive", NULL, 0, "those that do not"},
		{"list-running", NULL, 0, "those in that state"},
		{"list-paused", NULL, 0, "those whose CPUs somebody stopped"},
		{"list-shutoff", NULL, 0, "those that are shut off"},
		{"list-other", NULL, 0, "those in any other state"}},
	run_domstats, "roost domstats web1 --state --balloon", GROUP_LOOK, GUESTS_ALL};
