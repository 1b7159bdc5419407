/*
 * blockpull: a disk is made to stand alone; then its record is changed, too, so that the image that it stood on is
 * free. Once more does no harm: there is nothing to copy, and the record is mended.
 */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/lineage.h"
#include "orchestrator/long_call.h"
#include "orchestrator/look_block.h"
#include "orchestrator/record.h"

static int change_record(const struct look *l, const char *target, uint64_t size, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(l->f.name, err);
	struct disk_def *disk = d ? definition_disk(d, target) : NULL;
	if (!d)
		return -1;
	if (!disk || (disk->source != DISK_IMAGE && !disk->lineage_count))
		return 0; /* plugged for this run only, or nothing to tell */
	lineage_stand_alone(disk, size);
	return supervisor_call("roost-define",
		json_pack("{s:o, s:b}", "definition", definition_to_json(d), "rebased", 1), NULL,
		err);
}

static int pull_running(const struct cli *cli, struct look *l, json_t *disks, const json_t *disk,
	const char *target, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	uint64_t speed;
	if (long_call_speed(cli, &speed, err) < 0 || look_disk_sizes(l, disks, err) < 0)
		return -1;
	if (long_call(&l->f, "roost-blockpull",
		    json_pack(
			    "{s:s, s:I}", "target", target, "bytes-per-second", (json_int_t)speed),
		    NULL, 0, cli->json, &reply, err) < 0)
		return -1;
	return change_record(l, target, (uint64_t)json_get_int(disk, "capacity", 0), err);
}

static int pull_stopped(
	const struct cli *cli, const struct look *l, const char *target, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (cli_value(cli, "bandwidth", NULL))
		return err_set(err, ERR_USAGE,
			"blockpull: --bandwidth is for guests that run, and '%s' does not",
			l->f.name);
	return long_call_supervisor((struct long_about){"guest", l->f.name}, "roost-blockpull",
		json_pack("{s:s, s:s}", "name", l->f.name, "target", target), NULL, 0, cli->json,
		&reply, err);
}

static int run_blockpull(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *disks = look_disks(&l, err);
	const json_t *disk = disks ? look_disk(&l, disks, cli->operands[1], err) : NULL;
	if (!disk)
		return -1;
	_cleanup_free_ char *target = xstrdup(json_get_str(disk, "target", ""));
	if (look_runs(&l) ? pull_running(cli, &l, disks, disk, target, err) < 0
			  : pull_stopped(cli, &l, target, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "target", target));
	else
		printf("Disk '%s' of guest '%s' stands alone now\n", target, l.f.name);
	return 0;
}

const struct verb verb_blockpull = {"blockpull", "NAME TARGET",
	"Makes a disk stand alone, without its image, whether its guest runs or not.", 2, 2, false,
	{{"bandwidth", "SIZE", 0, "of a running guest: bytes per second, at most, such as 50M"}},
	run_blockpull, "roost blockpull web1 vda", GROUP_DEVICES, GUESTS_ALL};
