/*
 * blockcommit: layers of a disk that nothing needs by themselves are merged into what they stand on: those that stay when
 * the clones of a guest have gone, or when the giving up of a snapshot was cut off. Snapshots stay; those are given up by
 * snapshot-delete.
 *
 * A disk that is a chain of the user's own files is committed into the one that its top stands on, or a lower one, by its
 * running guest (op_blockcommit.c). That file we open, with the rights of who asks; nobody else may stand on any of
 * those that change their meaning.
 */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/chain.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/long_call.h"
#include "orchestrator/look_block.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

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

/* `own`: its top, if it is a chain of the user's own files. */
static int commit_stopped(const struct cli *cli, const struct look *l, const char *target,
	const char *own, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (cli_value(cli, "bandwidth", NULL))
		return err_set(err, ERR_USAGE,
			"blockcommit: --bandwidth is for guests that run, and '%s' does not",
			l->f.name);
	if (own) {
		err_set(err, ERR_REFUSED,
			"'%s' is a file of your own, which is committed while guest '%s' runs", own,
			l->f.name);
		return err_hint(err, "`roost start %s` first", l->f.name);
	}
	return long_call_supervisor((struct long_about){"guest", l->f.name}, "roost-snapshot-tidy",
		json_pack("{s:s, s:s}", "name", l->f.name, "target", target), NULL, 0, cli->json,
		&reply, err);
}

/* ---- the user's own files -------------------------------------------------------------------------------- */

struct own {
	const char *guest, *target;
	struct chain c;
	size_t base; /* which of them is written to */
};

/* By --base, else the one that the top stands on. */
static int choose_base(struct own *o, const struct cli *cli, struct err *err)
{
	const char *word = cli_value(cli, "base", NULL);
	if (word && cli_flag(cli, "shallow"))
		return err_set(err, ERR_USAGE, "blockcommit: --base or --shallow, not both");
	_cleanup_free_ char *path = word ? chain_backing_path(word, word) : NULL;
	o->base = 1;
	while (word && o->base < o->c.count && !str_eq(o->c.links[o->base].path, path) &&
		!str_eq(o->c.links[o->base].path, word))
		o->base++;
	return o->base < o->c.count ? 0
				    : err_set(err, ERR_REFUSED, "disk '%s' does not stand on '%s'",
					      o->target, word);
}

/* Those above the one that is written to mean nothing afterwards. */
static int check_others(const struct own *o, struct err *err)
{
	const struct image_own own = {o->guest, o->target};
	for (size_t i = 0; i <= o->base; i++)
		if (image_check_changeable(
			    &o->c.links[i], true, i ? &o->c.links[i - 1] : NULL, &own, err) < 0)
			return -1;
	return 0;
}

static int open_base(const struct chain_link *link, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd =
		open(link->path, O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot write to '%s'", link->path);
	if (st.st_ino != link->inode || st.st_dev != link->device)
		return err_set(err, ERR_BUSY, "'%s' was replaced at this moment", link->path);
	return TAKE_FD(fd);
}

static int commit(const struct cli *cli, const struct look *l, const struct own *o, struct err *err)
{
	_cleanup_json_ json_t *marked = NULL, *reply = NULL;
	struct err late = ERR_INIT;
	const char *base = o->c.links[o->base].path;
	uint64_t speed;
	_cleanup_close_ int fd = open_base(&o->c.links[o->base], err);
	if (fd < 0 || long_call_speed(cli, &speed, err) < 0 ||
		supervisor_call("roost-commit-record",
			json_pack("{s:s, s:s, s:s}", "name", o->guest, "target", o->target, "base",
				base),
			&marked, err) < 0)
		return -1;
	int result = long_call(&l->f, "roost-blockcommit-into",
		json_pack("{s:s, s:s, s:s, s:I}", "target", o->target, "base", base, "mark",
			json_get_str(marked, "mark", ""), "bytes-per-second", (json_int_t)speed),
		&fd, 1, cli->json, &reply, err);
	int settled = supervisor_call("roost-commit-record", json_pack("{s:s}", "name", o->guest),
		NULL, result < 0 ? &late : err);
	return result < 0 || settled < 0 ? -1 : 0;
}

static int told(const struct cli *cli, const struct own *o)
{
	const char *base = o->c.links[o->base].path;
	json_t *needless = json_array();
	for (size_t i = 0; i < o->base; i++)
		json_array_append_new(needless, json_string(o->c.links[i].path));
	if (cli->json) {
		cli_print_json(json_pack("{s:s, s:s, s:o, s:b}", "target", o->target, "base", base,
			"needless", needless, "deleted", cli_flag(cli, "delete")));
		return 0;
	}
	json_decref(needless);
	printf("Disk '%s' of guest '%s' is committed into '%s'\n", o->target, o->guest, base);
	for (size_t i = 0; i < o->base && !cli_flag(cli, "delete"); i++)
		fprintf(stderr, "nothing needs '%s' any more, and nothing may stand on it again\n",
			o->c.links[i].path);
	return 0;
}

/* `path`: the top, as the guest's record has it. */
static int commit_own(const struct cli *cli, const struct look *l, const char *target,
	const char *path, struct err *err)
{
	struct own o = {.guest = l->f.name, .target = target};
	int result = chain_resolve(path, true, &o.c, err);
	if (result == 0)
		result = image_check_chain(&o.c, err);
	if (result == 0)
		result = choose_base(&o, cli, err);
	if (result == 0)
		result = check_others(&o, err);
	if (result == 0)
		result = commit(cli, l, &o, err);
	if (result < 0)
		err_prefix(err, "'%s' is not committed", path);
	for (size_t i = 0; result == 0 && i < o.base && cli_flag(cli, "delete"); i++)
		if (unlink(o.c.links[i].path) < 0)
			result = err_errno(err, "cannot remove '%s'", o.c.links[i].path);
	if (result == 0)
		told(cli, &o);
	chain_free(&o.c);
	return result;
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
	if (own && look_runs(&l))
		return commit_own(cli, &l, target, own, err);
	if (!own && (cli_value(cli, "base", NULL) || cli_flag(cli, "delete")))
		return err_set(err, ERR_REFUSED,
			"disk '%s' of guest '%s' is no chain of your own files: what it merges roost knows",
			target, l.f.name);
	if (look_runs(&l) ? commit_running(cli, &l, target, err) < 0
			  : commit_stopped(cli, &l, target, own, err) < 0)
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
		 "of your own files: the one that all above it go into; default: what the top stands on"},
		{"delete", NULL, 0, "of your own files: then remove those above it"},
		{"shallow", NULL, 0, "virsh's word: into what the top stands on, as ever"},
		{"bandwidth", "SIZE", 0,
			"of a running guest: bytes per second, at most, such as 50M"},
		{"active", NULL, 0, "virsh's word: the layer that is written to, too, as ever"},
		{"pivot", NULL, 0, "virsh's word: the guest goes on without it, as ever"},
		{"wait", NULL, 0, "virsh's word: it ends when all is merged, as ever"}},
	run_blockcommit, "roost blockcommit web1 vda", GROUP_DEVICES, GUESTS_ALL};
