/* vcpuinfo, vcpucount: a guest's vCPUs, what they do and how many there are. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <unistd.h>

#include "orchestrator/look_cpu.h"
#include "orchestrator/record.h"

/* ---- vcpuinfo ------------------------------------------------------------------------------------- */

/* "yy-y": for each CPU of the host, whether the vCPU may run there. */
static void print_affinity(const json_t *allowed)
{
	long host = sysconf(_SC_NPROCESSORS_CONF);
	printf("%-16s", "CPU Affinity:");
	for (long cpu = 0; cpu < host; cpu++) {
		bool may = !allowed;
		size_t i;
		json_t *value;
		json_array_foreach (allowed, i, value)
			may = may || json_integer_value(value) == cpu;
		putchar(may ? 'y' : '-');
	}
	putchar('\n');
}

static void print_vcpu(const json_t *v, bool running)
{
	printf("%-16s%lld\n", "VCPU:", (long long)json_get_int(v, "vcpu", 0));
	if (running)
		printf("%-16s%lld\n%-16s%s\n%-16s%.1fs\n",
			"CPU:", (long long)json_get_int(v, "cpu", 0),
			"State:", json_get_str(v, "state", ""),
			"CPU time:", (double)json_get_int(v, "time", 0) / 1e9);
	else
		printf("%-16sN/A\n%-16sN/A\n%-16sN/A\n", "CPU:", "State:", "CPU time:");
	print_affinity(json_object_get(v, "affinity"));
}

/* Of a guest that does not run only the number of its vCPUs is known. */
static int future_vcpus(const struct look *l, json_t **out, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(l->f.name, err);
	if (!d)
		return -1;
	*out = json_array();
	for (unsigned i = 0; i < d->vcpus; i++)
		json_array_append_new(*out,
			json_pack("{s:i, s:n, s:n, s:n}", "vcpu", (int)i, "cpu", "state", "time"));
	return 0;
}

static int run_vcpuinfo(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *v;
	if (look_at(&l, cli->operands[0], err) < 0 ||
		(look_runs(&l) ? look_vcpus(&l, &list, err) : future_vcpus(&l, &list, err)) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(json_incref(list));
		return 0;
	}
	json_array_foreach (list, i, v) {
		if (i)
			putchar('\n');
		print_vcpu(v, look_runs(&l));
	}
	return 0;
}

/* ---- vcpucount ------------------------------------------------------------------------------------ */

enum { ASK_GUEST_MS = 5000 };

struct counts {
	unsigned maximum, current;
};

static int count(const struct look *l, struct counts *config, struct counts *live, struct err *err)
{
	_cleanup_definition_ struct definition *next = record_read(l->f.name, err);
	if (!next)
		return -1;
	*config = (struct counts){next->max_vcpus, next->vcpus};
	_cleanup_definition_ struct definition *now = look_definition(&l->f, err);
	if (!now)
		return -1;
	*live = (struct counts){now->max_vcpus, (unsigned)l->s.vcpus};
	return 0;
}

static int check_words(const struct cli *cli, struct err *err)
{
	static const char *const either[][2] = {{"maximum", "active"}, {"live", "config"},
		{"current", "live"}, {"current", "config"}};
	for (size_t i = 0; i < ARRAY_SIZE(either); i++)
		if (cli_flag(cli, either[i][0]) && cli_flag(cli, either[i][1]))
			return err_set(err, ERR_USAGE, "roost vcpucount: either --%s or --%s",
				either[i][0], either[i][1]);
	return 0;
}

static void print_all(const struct counts *config, const struct counts *live)
{
	static const char form[] = "%-12s %-12s %3u\n";
	printf(form, "maximum", "config", config->maximum);
	if (live)
		printf(form, "maximum", "live", live->maximum);
	printf(form, "current", "config", config->current);
	if (live)
		printf(form, "current", "live", live->current);
}

static json_t *all_as_json(const struct counts *config, const struct counts *live)
{
	json_t *maximum = json_pack("{s:i}", "config", (int)config->maximum);
	json_t *current = json_pack("{s:i}", "config", (int)config->current);
	if (live) {
		json_object_set_new(maximum, "live", json_integer(live->maximum));
		json_object_set_new(current, "live", json_integer(live->current));
	}
	return json_pack("{s:o, s:o}", "maximum", maximum, "current", current);
}

/* What the guest itself uses: under TCG a vCPU that was taken away is still plugged. */
static int ask_guest(const struct cli *cli, struct look *l, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	if (cli_flag(cli, "config") || cli_flag(cli, "maximum"))
		return err_set(err, ERR_USAGE,
			"roost vcpucount: --guest tells what the running guest uses");
	if (look_refuse_stopped(l, err) < 0 ||
		look_ask_guest(l, "roost-guest-vcpus", ASK_GUEST_MS, &answer, err) < 0)
		return -1;
	json_int_t online = json_get_int(answer, "online", 0);
	if (cli->json)
		cli_print_json(json_pack("{s:I}", "vcpus", online));
	else
		printf("%lld\n", (long long)online);
	return 0;
}

static int run_vcpucount(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	struct counts config, live;
	if (check_words(cli, err) < 0 || look_at(&l, cli->operands[0], err) < 0)
		return -1;
	if (cli_flag(cli, "guest"))
		return ask_guest(cli, &l, err);
	if ((cli_flag(cli, "live") && look_refuse_stopped(&l, err) < 0) ||
		count(&l, &config, &live, err) < 0)
		return -1;
	bool one = false, runs = look_runs(&l);
	for (int i = 0; i < OPTIONS_MAX; i++)
		one = one || cli->values[i];
	const struct counts *asked = runs && !cli_flag(cli, "config") ? &live : &config;
	unsigned number = cli_flag(cli, "maximum") ? asked->maximum : asked->current;
	if (one && cli->json)
		cli_print_json(json_pack("{s:i}", "vcpus", (int)number));
	else if (one)
		printf("%u\n", number);
	else if (cli->json)
		cli_print_json(all_as_json(&config, runs ? &live : NULL));
	else
		print_all(&config, runs ? &live : NULL);
	return 0;
}

const struct verb verb_vcpuinfo = {"vcpuinfo", "NAME",
	"Tells of each vCPU what it does, where it runs, and the CPU time it has used.", 1, 1,
	false, {{0}}, run_vcpuinfo, "roost vcpuinfo web1", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_vcpucount = {"vcpucount", "NAME",
	"Tells how many vCPUs a guest has and may have, now and at its next start.", 1, 1, false,
	{{"maximum", NULL, 0, "only the number that it may have"},
		{"active", NULL, 0, "only the number that it has"},
		{"live", NULL, 0, "of the running guest"}, {"config", NULL, 0, "of its next start"},
		{"guest", NULL, 0, "as many as the guest itself uses, by its agent"},
		{"current", NULL, 0, "of the running guest if it runs, else of its next start"}},
	run_vcpucount, "roost vcpucount web1", GROUP_LOOK, GUESTS_ALL};
