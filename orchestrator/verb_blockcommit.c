/*
 * blockcommit: layers of a disk that nothing needs by themselves are merged into what they stand on: those that stay when
 * the clones of a guest have gone, or when the giving up of a snapshot was cut off. Snapshots stay; those are given up by
 * snapshot-delete.
 *
 * A disk that is a chain of the user's own files is committed into one of those: own_commit.h.
 */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/long_call.h"
#include "orchestrator/look_block.h"
#include "orchestrator/own_commit.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

static int check_bandwidth(const struct cli *cli, const struct look *l, struct err *err)
{
	if (!cli_value(cli, "bandwidth", NULL) || look_runs(l))
		return 0;
	return err_set(err, ERR_USAGE,
		"blockcommit: --bandwidth is for guests that run, and '%s' does not", l->f.name);
}

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

static int commit_stopped(
	const struct cli *cli, const struct look *l, const char *target, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	return long_call_supervisor((struct long_about){"guest", l->f.name}, "roost-snapshot-tidy",
		json_pack("{s:s, s:s}", "name", l->f.name, "target", target), NULL, 0, cli->json,
		&reply, err);
}

/* Is it a chain of the user's, and has nothing of ours over it? Then its top; freed by the caller. */
static char *own_top(const struct look *l, const char *target)
{
	struct err ignored = ERR_INIT;
	_cleanup_definition_ struct definition *d = look_definition(&l->f, &ignored);
	const struct disk_def *disk = d ? definition_disk(d, target) : NULL;
	_cleanup_close_ int dir = guest_dir_open(l->f.name, &ignored);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, &ignored);
	if (!disk || disk->source != DISK_PATH || !disk->lineage_count || !record ||
		snapshot_top(record, target)[0])
		return NULL;
	return xstrdup(disk->path);
}

static int commit_own(const struct cli *cli, const struct look *l, const char *target,
	const char *top, struct err *err)
{
	struct own_commit own = {.guest = l->f.name,
		.target = target,
		.top = top,
		.from = cli_value(cli, "top", NULL),
		.base = cli_value(cli, "base", NULL),
		.running = look_runs(l) ? &l->f : NULL,
		.delete = cli_flag(cli, "delete"),
		.json = cli->json};
	if (own.base && cli_flag(cli, "shallow"))
		return err_set(err, ERR_USAGE, "blockcommit: --base or --shallow, not both");
	return long_call_speed(cli, &own.speed, err) < 0 ? -1 : own_commit(&own, err);
}

/* ---- the verb ------------------------------------------------------------------------------------------- */

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
	_cleanup_free_ char *own = own_top(&l, target);
	if (check_bandwidth(cli, &l, err) < 0)
		return -1;
	if (own)
		return commit_own(cli, &l, target, own, err);
	if (!own && (cli_value(cli, "base", NULL) || cli_value(cli, "top", NULL) ||
			    cli_flag(cli, "delete")))
		return err_set(err, ERR_REFUSED,
			"disk '%s' of guest '%s' is no chain of your own files: what it merges roost knows",
			target, l.f.name);
	if (look_runs(&l) ? commit_running(cli, &l, target, err) < 0
			  : commit_stopped(cli, &l, target, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "target", target));
	else
		printf("Layers of disk '%s' of guest '%s' are merged\n", target, l.f.name);
	return 0;
}

const struct verb verb_blockcommit = {"blockcommit", "NAME TARGET",
	"Merges layers of a disk that no snapshot and no clone needs into what they stand on; a chain of your own files, too.",
	2, 2, false,
	{{"base", "FILE", 0,
		 "of your own files: the one that those above it go into, also as vda[1]; default: what the top stands on"},
		{"top", "FILE", 0,
			"of your own files: the uppermost that goes into it; default: the disk itself; of a running guest that, or what it stands on"},
		{"delete", NULL, 0, "of your own files: then remove those that went into it"},
		{"shallow", NULL, 0, "virsh's word: into what the top stands on, as ever"},
		{"bandwidth", "SIZE", 0,
			"of a running guest: bytes per second, at most, such as 50M"},
		{"active", NULL, 0, "virsh's word: the layer that is written to, too, as ever"},
		{"pivot", NULL, 0, "virsh's word: the guest goes on without it, as ever"},
		{"wait", NULL, 0, "virsh's word: it ends when all is merged, as ever"}},
	run_blockcommit, "roost blockcommit web1 vda", GROUP_DEVICES, GUESTS_ALL};
