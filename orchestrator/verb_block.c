/* domblkinfo, domblkstat: how large a guest's disks are, and what was read from and written to them. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/look_block.h"
#include "orchestrator/table.h"

/* ---- domblkinfo ----------------------------------------------------------------------------------- */

/* "134217728", or "128.000 MiB"; "-" for what is not known, as of a drive without medium. */
static const char *size_text(const json_t *disk, const char *key, bool human, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	int64_t bytes = json_get_int(disk, key, -1);
	double scaled = (double)bytes;
	size_t unit = 0;
	while (scaled >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		scaled /= 1024;
		unit++;
	}
	if (bytes < 0)
		snprintf(out, 32, "-");
	else if (human)
		snprintf(out, 32, "%.3f %s", scaled, units[unit]);
	else
		snprintf(out, 32, "%lld", (long long)bytes);
	return out;
}

static void print_sizes(const json_t *disks, bool human)
{
	_cleanup_json_ json_t *rows = json_array();
	char capacity[32], allocation[32], physical[32];
	size_t i;
	json_t *disk;
	table_row(rows, "Target", "Capacity", "Allocation", "Physical");
	json_array_foreach (disks, i, disk)
		table_row(rows, json_get_str(disk, "target", ""),
			size_text(disk, "capacity", human, capacity),
			size_text(disk, "allocation", human, allocation),
			size_text(disk, "physical", human, physical));
	table_print(rows);
}

static int run_domblkinfo(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	char text[32];
	bool all = cli_flag(cli, "all"), human = cli_flag(cli, "human");
	if (all == (cli->count > 1))
		return err_set(err, ERR_USAGE, "roost domblkinfo: %s",
			       all ? "--all and a disk" : "which disk?"),
		       err_hint(err, "name one, or say --all");
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *disks = look_disks(&l, err);
	if (disks && !all) { /* others need not be readable */
		json_t *one = look_disk(&l, disks, cli->operands[1], err);
		json_t *list = one ? json_pack("[O]", one) : NULL;
		json_decref(disks);
		disks = list;
	}
	if (!disks || look_disk_sizes(&l, disks, err) < 0)
		return -1;
	const json_t *disk = json_array_get(disks, 0);
	if (cli->json)
		cli_print_json(json_incref(all ? disks : json_array_get(disks, 0)));
	else if (all)
		print_sizes(disks, human);
	else
		printf("%-16s%s\n%-16s%s\n%-16s%s\n",
			"Capacity:", size_text(disk, "capacity", human, text),
			"Allocation:", size_text(disk, "allocation", human, (char[32]){0}),
			"Physical:", size_text(disk, "physical", human, (char[32]){0}));
	return 0;
}

/* ---- domblkstat ----------------------------------------------------------------------------------- */

/* All of them together. */
static json_t *sum(const json_t *disks)
{
	json_t *total = json_object(), *disk;
	size_t i;
	for (size_t j = 0; j < DISK_COUNTERS; j++) {
		json_int_t n = 0;
		json_array_foreach (disks, i, disk)
			n += json_get_int(disk, disk_counters[j].name, 0);
		json_object_set_new(total, disk_counters[j].name, json_integer(n));
	}
	return total;
}

static void print_counters(const json_t *disk, bool human)
{
	const char *target = json_get_str(disk, "target", "");
	if (human && target[0])
		printf("Device: %s\n", target);
	for (size_t j = 0; j < DISK_COUNTERS; j++) {
		const struct disk_counter *c = &disk_counters[j];
		const json_t *value = json_object_get(disk, c->name);
		if (value && human)
			printf(" %s:%*s%lld\n", c->text, (int)(32 - strlen(c->text)), "",
				(long long)json_integer_value(value));
		else if (value)
			printf("%s%s%s %lld\n", target, target[0] ? " " : "", c->name,
				(long long)json_integer_value(value));
	}
}

static int run_domblkstat(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *disks = look_disks(&l, err);
	const json_t *disk = NULL;
	if (!disks || (cli->count > 1 && !(disk = look_disk(&l, disks, cli->operands[1], err))) ||
		look_refuse_stopped(&l, err) < 0 || look_disk_counters(&l, disks, err) < 0)
		return -1;
	_cleanup_json_ json_t *told = disk ? json_deep_copy(disk) : sum(disks);
	if (cli->json && !disk)
		json_object_set(told, "disks", disks);
	if (cli->json)
		cli_print_json(json_incref(told));
	else
		print_counters(told, cli_flag(cli, "human"));
	return 0;
}

const struct verb verb_domblkinfo = {"domblkinfo", "NAME [TARGET]",
	"Tells how large a guest's disk is: for the guest, and on the host.", 1, 2, false,
	{{"all", NULL, 0, "all its disks, as a table"},
		{"human", NULL, 0, "in KiB, MiB, GiB instead of bytes"}},
	run_domblkinfo, "roost domblkinfo web1 vda --human", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_domblkstat = {"domblkstat", "NAME [TARGET]",
	"Tells what a running guest has read from a disk and written to it, or from all together.",
	1, 2, false, {{"human", NULL, 0, "with words instead of names"}}, run_domblkstat,
	"roost domblkstat web1 vda", GROUP_LOOK, GUESTS_RUNNING};
