/* setmem, setmaxmem, setvcpus, dommemstat: now (--live), at the next start (--config), or both. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/change.h"
#include "orchestrator/connect.h"

static int where(
	const struct cli *cli, const struct found *f, bool *live, bool *config, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	if (guest_look(f, &s, err) < 0)
		return -1;
	*live = cli_flag(cli, "live");
	*config = cli_flag(cli, "config");
	if (*live && !s.number)
		return err_set(err, ERR_REFUSED, "guest '%s' is not running", f->name);
	if (!*live && !*config) {
		*live = s.number != 0; /* as virsh: what is now the case changes */
		*config = !*live;
	}
	return 0;
}

static int told(const struct cli *cli, const struct found *f, json_t *answer, const char *fmt,
	const char *what)
{
	if (cli->json) {
		cli_print_json(answer);
		return 0;
	}
	json_decref(answer);
	printf(fmt, f->name, what);
	return 0;
}

static void change_memory(struct definition *d, const void *bytes)
{
	d->memory = *(const uint64_t *)bytes;
	if (d->max_memory < d->memory)
		d->max_memory = d->memory;
}

static int run_setmem(const struct cli *cli, struct err *err)
{
	struct found f;
	uint64_t bytes;
	bool live, config;
	if (str_parse_size(cli->operands[1], 0, "setmem", &bytes, err) < 0 ||
		guest_find(cli->operands[0], &f, err) < 0 ||
		where(cli, &f, &live, &config, err) < 0)
		return -1;
	if (live && guest_call(f.name, "roost-setmem",
			    json_pack("{s:I}", "bytes", (json_int_t)bytes), NULL, err) < 0)
		return -1;
	if (config && guest_change(&f, change_memory, &bytes, err) < 0)
		return -1;
	return told(cli, &f, json_pack("{s:I}", "memory", (json_int_t)bytes),
		live ? "Guest '%s' has %s of memory\n"
		     : "Guest '%s' will have %s of memory at its next start\n",
		str_size(bytes));
}

static void change_max_memory(struct definition *d, const void *bytes)
{
	d->max_memory = *(const uint64_t *)bytes;
	if (d->memory > d->max_memory)
		d->memory = d->max_memory;
}

static int run_setmaxmem(const struct cli *cli, struct err *err)
{
	struct found f;
	uint64_t bytes;
	if (str_parse_size(cli->operands[1], 0, "setmaxmem", &bytes, err) < 0 ||
		guest_find(cli->operands[0], &f, err) < 0 ||
		guest_change(&f, change_max_memory, &bytes, err) < 0)
		return -1;
	return told(cli, &f, json_pack("{s:I}", "max_memory", (json_int_t)bytes),
		"Guest '%s' may have %s of memory from its next start on\n", str_size(bytes));
}

static void change_vcpus(struct definition *d, const void *count)
{
	d->vcpus = *(const unsigned *)count;
	if (d->max_vcpus < d->vcpus)
		d->max_vcpus = d->vcpus;
}

static void change_max_vcpus(struct definition *d, const void *count)
{
	d->max_vcpus = *(const unsigned *)count;
	if (d->vcpus > d->max_vcpus)
		d->vcpus = d->max_vcpus;
}

static int run_setvcpus(const struct cli *cli, struct err *err)
{
	struct found f;
	uint64_t wanted;
	bool live, config, maximum = cli_flag(cli, "maximum");
	if (str_parse_u64(cli->operands[1], 1, VCPUS_MAX, "setvcpus", &wanted, err) < 0 ||
		guest_find(cli->operands[0], &f, err) < 0 ||
		where(cli, &f, &live, &config, err) < 0)
		return -1;
	unsigned count = (unsigned)wanted;
	if (maximum && cli_flag(cli, "live"))
		return err_set(err, ERR_REFUSED,
			       "the maximum of vCPUs changes at the next start only"),
		       err_hint(err, "use --maximum with --config");
	if (live && !maximum &&
		guest_call(f.name, "roost-setvcpus", json_pack("{s:i}", "count", (int)count), NULL,
			err) < 0)
		return -1;
	if ((config || maximum) &&
		guest_change(&f, maximum ? change_max_vcpus : change_vcpus, &count, err) < 0)
		return -1;
	return told(cli, &f, json_pack("{s:i}", "vcpus", (int)count),
		live && !maximum ? "Guest '%s' has %s vCPUs\n"
				 : "Guest '%s' will have %s vCPUs at its next start\n",
		cli->operands[1]);
}

static int run_dommemstat(const struct cli *cli, struct err *err)
{
	json_t *reply = NULL, *value;
	const char *key;
	if (guest_call(cli->operands[0], "roost-memstat", NULL, &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	json_object_foreach (reply, key, value)
		printf("%s %lld\n", key, (long long)json_integer_value(value));
	json_decref(reply);
	return 0;
}

#define LIVE_CONFIG                                                                                \
	{"live", NULL, 0, "change the running guest"},                                             \
	{                                                                                          \
		"config", NULL, 0, "change its next start"                                         \
	}

const struct verb verb_setmem = {"setmem", "NAME SIZE",
	"Changes a guest's memory; SIZE needs a suffix, as in 512M.", 2, 2, false, {LIVE_CONFIG},
	run_setmem, "roost setmem web1 256M", GROUP_DEVICES, GUESTS_ALL};
const struct verb verb_setmaxmem = {"setmaxmem", "NAME SIZE",
	"Changes the most memory a guest may have, from its next start on.", 2, 2, false,
	{{"config", NULL, 0, "which is what it does anyway"}}, run_setmaxmem,
	"roost setmaxmem web1 2G", GROUP_DEVICES, GUESTS_ALL};
const struct verb verb_setvcpus = {"setvcpus", "NAME COUNT", "Changes a guest's number of vCPUs.",
	2, 2, false,
	{LIVE_CONFIG, {"maximum", NULL, 0, "change the most it may have, at its next start"}},
	run_setvcpus, "roost setvcpus web1 2", GROUP_DEVICES, GUESTS_ALL};
const struct verb verb_dommemstat = {"dommemstat", "NAME",
	"Tells what a guest says of its memory, in KiB.", 1, 1, false, {{0}}, run_dommemstat,
	"roost dommemstat web1", GROUP_LOOK, GUESTS_RUNNING};
