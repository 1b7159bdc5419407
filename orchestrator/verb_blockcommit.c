/*
 * blockcommit: layers of a disk that nothing needs by themselves are merged into what they stand on: those that stay when
 * the clones of a guest have gone, or when the giving up of a snapshot was cut off. Snapshots stay; those are given up by
 * snapshot-delete.
 */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/long_call.h"
#include "orchestrator/look_block.h"

static int commit_running(
	const struct cli *cli, const struct look *l, const char *target, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	uint64_t speed;
	if (long_call_speed(cli, &speed, err) < 0)
		return -1;
	return long_call(&l->f, "roost-blockcommit",
		json_pack("{s:s, s:I}", "target", target, "bytes-per-second", (json_int_t)speed),
		NULL, 0, cli->json, &reply, err);
}

static int run_blockcommit(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *disks = look_disks(&l, err);
	const json_t *disk = disks ? look_disk(&l, disks, cli->operands[1], err) : NULL;
	if (!disk)
		return -1;
	const char *target = json_get_str(disk, "target", "");
	if (look_runs(&l) ? commit_running(cli, &l, target, err) < 0
			  : supervisor_call("roost-snapshot-tidy",
				    json_pack("{s:s}", "name", l.f.name), NULL, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "target", target));
	else
		printf("Layers of disk '%s' of guest '%s' are merged\n", target, l.f.name);
	return 0;
}

const struct verb verb_blockcommit = {"blockcommit", "NAME TARGET",
	"Merges layers of a disk that no snapshot and no clone needs into what they stand on.", 2,
	2, false,
	{{"bandwidth", "SIZE", 0, "of a running guest: bytes per second, at most, such as 50M"},
		{"active", NULL, 0, "virsh's word: the layer that is written to, too, as ever"},
		{"pivot", NULL, 0, "virsh's word: the guest goes on without it, as ever"},
		{"wait", NULL, 0, "virsh's word: it ends when all is merged, as ever"}},
	run_blockcommit, "roost blockcommit web1 vda", GROUP_DEVICES, GUESTS_ALL};
