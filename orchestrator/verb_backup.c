/*
 * backup: a file that holds a guest, disks and definition (backup_file.h tells what is in it).
 *
 * Of a guest that runs its keeper has QEMU copy, into the file that we make here with the caller's own rights:
 * op_backup.c. It gets its name when all of it is on the disk.
 * Of one that does not qemu-img does (backup_stopped.c). Whatever fails, or ^C, leaves nothing of it.
 */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/signals.h"
#include "orchestrator/backup_file.h"
#include "orchestrator/claim.h"
#include "orchestrator/long_call.h"
#include "orchestrator/look_block.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

enum { KEY_MAX = 65536, TPM_MAX = 1 << 20 };

struct backing_up {
	const struct cli *cli;
	struct look l;
	struct definition *def;
	struct backup_writer file;
	json_t *disks;   /* as backup.json has them */
	json_t *targets; /* what the keeper is to copy, and where to */
	struct buf tpm;  /* the state of its TPM; empty: it has none, or it is not ours to read */
};

/* ---- what there is to copy ------------------------------------------------------------------------- */

static bool is_copied(const struct disk_def *d)
{
	return !d->cdrom && !d->readonly;
}

static const json_t *found_disk(const json_t *there, const char *target)
{
	size_t i;
	json_t *disk;
	json_array_foreach (there, i, disk)
		if (str_eq(json_get_str(disk, "target", ""), target))
			return disk;
	return NULL;
}

static int plan(struct backing_up *b, struct err *err)
{
	b->def = record_read(b->l.f.name, err);
	_cleanup_json_ json_t *there = b->def ? look_disks(&b->l, err) : NULL;
	if (!there || look_disk_sizes(&b->l, there, err) < 0)
		return -1;
	for (size_t i = 0; i < b->def->disk_count; i++) {
		const struct disk_def *d = &b->def->disks[i];
		if (!is_copied(d))
			continue;
		int64_t size = json_get_int(found_disk(there, d->target), "capacity", 0);
		if (!size) {
			err_set(err, ERR_REFUSED,
				"guest '%s' has its disk '%s' from its next start on", b->def->name,
				d->target);
			return err_hint(err, "back it up after that, or while it does not run");
		}
		_cleanup_free_ char *file = str_fmt("%s.qcow2", d->target);
		json_array_append_new(
			b->disks, json_pack("{s:s, s:s, s:I, s:n}", "target", d->target, "file",
					  file, "size", (json_int_t)size, "bitmap"));
	}
	return 0;
}

/* What somebody might think to be in it. */
static void tell_left_out(const struct backing_up *b)
{
	_cleanup_json_ json_t *plugged = look_plugged(&b->l.f);
	size_t i;
	json_t *entry;
	json_array_foreach (plugged, i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "disk") &&
			!definition_disk(b->def, json_get_str(entry, "target", "")))
			fprintf(stderr, "roost: disk '%s', plugged for this run, is not in it\n",
				json_get_str(entry, "target", ""));
	if (b->def->tpm.enabled && !b->tpm.len)
		fprintf(stderr,
			"roost: the state of its TPM is not in it: it has none yet, or it is not yours to read\n");
}

/* ---- the file ---------------------------------------------------------------------------------------- */

static int add_disk(
	struct backing_up *b, const char *target, const char *file, uint64_t size, struct err *err)
{
	struct backup_member m;
	if (backup_add_disk(&b->file, file, size, &m, err) < 0)
		return -1;
	json_array_append_new(b->targets, json_pack("{s:s, s:I, s:I}", "target", target, "offset",
						  (json_int_t)m.at, "size", (json_int_t)m.room));
	return 0;
}

static int64_t node_size(struct look *l, const char *name, struct err *err)
{
	_cleanup_json_ json_t *nodes = NULL;
	size_t i;
	json_t *n;
	look_ask(l, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &nodes, err);
	json_array_foreach (nodes, i, n)
		if (str_eq(json_get_str(n, "node-name", ""), name))
			return json_get_int(json_object_get(n, "image"), "virtual-size", 0);
	return 0;
}

static int add_disks(struct backing_up *b, bool runs, struct err *err)
{
	size_t i;
	json_t *disk;
	json_array_foreach (b->disks, i, disk)
		if (add_disk(b, json_get_str(disk, "target", ""), json_get_str(disk, "file", ""),
			    (uint64_t)json_get_int(disk, "size", 0), err) < 0)
			return -1;
	if (b->def->firmware != FIRMWARE_UEFI)
		return 0;
	int64_t size = runs ? node_size(&b->l, "vars", err) : backup_vars_size(b->def, err);
	return size > 0 ? add_disk(b, "vars", BACKUP_VARS, (uint64_t)size, err) : -1;
}

/* A guest that is restored under its own name is known by the same key. */
static int keep_host_key(struct backing_up *b, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_secret_ struct buf key = {0};
	_cleanup_close_ int dir = guest_dir_open(b->def->name, &ignored);
	if (!b->def->cloud_init.enabled || dir < 0)
		return 0;
	/* the folder is its keeper's, but not that file */
	int fd = file_open_owned(dir, "host_key", O_RDONLY, geteuid(), &ignored);
	if (fd < 0 || file_read_open(fd, "host_key", KEY_MAX, &key, &ignored) < 0)
		return 0;
	return backup_add(&b->file, BACKUP_KEY, key.data, key.len, err);
}

/* swtpm replaces that file whole, so what is read is always a state that it had. */
static void read_tpm(struct backing_up *b)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(b->def->name, &ignored);
	_cleanup_close_ int folder =
		b->def->tpm.enabled && dir >= 0 ? dir_open(dir, "tpm", &ignored) : -1;
	if (folder < 0)
		return;
	int fd = file_open_owned(folder, TPM_STATE, O_RDONLY, b->def->issued.qemu_uid, &ignored);
	if (fd < 0 || file_read_open(fd, TPM_STATE, TPM_MAX, &b->tpm, &ignored) < 0)
		buf_wipe(&b->tpm);
}

/* ---- the backup -------------------------------------------------------------------------------------- */

static const char *quiesce(const struct cli *cli)
{
	return cli_flag(cli, "quiesce") ? "demand" : cli_flag(cli, "no-quiesce") ? "no" : "try";
}

static int copy_running(struct backing_up *b, json_t **told, struct err *err)
{
	uint64_t speed;
	if (long_call_speed(b->cli, &speed, err) < 0)
		return -1;
	return long_call(&b->l.f, "roost-backup",
		json_pack("{s:O, s:s, s:b, s:I}", "disks", b->targets, "quiesce", quiesce(b->cli),
			"compress", cli_flag(b->cli, "compress"), "bytes-per-second",
			(json_int_t)speed),
		&b->file.file.fd, 1, b->cli->json, told, err);
}

static int copy_stopped(struct backing_up *b, json_t **told, struct err *err)
{
	if (cli_flag(b->cli, "quiesce"))
		return look_refuse_stopped(&b->l, err);
	/* nobody starts it, or changes it, between one disk and the next */
	_cleanup_close_ int claim = claim_take(b->def->name, true, err);
	if (claim < 0 && err->kind == ERR_BUSY)
		return -1;
	if (look_runs(&b->l))
		return err_set(
			err, ERR_BUSY, "guest '%s' has been started at this moment", b->def->name);
	*told = json_pack("{s:I, s:b}", "taken", (json_int_t)time(NULL), "quiesced", 0);
	return backup_copy_stopped(
		b->def, &b->file, b->disks, cli_flag(b->cli, "compress"), b->cli->json, err);
}

static int backup(struct backing_up *b, json_t **told, struct err *err)
{
	bool runs = look_runs(&b->l);
	if (plan(b, err) < 0 || backup_make(&b->file, b->cli->operands[1], err) < 0 ||
		add_disks(b, runs, err) < 0)
		return -1;
	read_tpm(b);
	if ((runs ? copy_running(b, told, err) : copy_stopped(b, told, err)) < 0 ||
		backup_settle(&b->file, err) < 0 || keep_host_key(b, err) < 0)
		return -1;
	if (b->tpm.len && backup_add(&b->file, BACKUP_TPM, b->tpm.data, b->tpm.len, err) < 0)
		return -1;
	_cleanup_json_ json_t *definition = definition_to_json(b->def);
	_cleanup_json_ json_t *facts = json_pack("{s:i, s:s, s:s, s:O, s:O, s:b, s:O, s:O}",
		"roost-backup", 1, "name", b->def->name, "uuid", b->def->uuid, "taken",
		json_object_get(*told, "taken"), "quiesced", json_object_get(*told, "quiesced"),
		"running", runs, "definition", definition, "disks", b->disks);
	return backup_commit(&b->file, facts, err);
}

static void tell(const struct backing_up *b, const json_t *told)
{
	const char *said = json_get_str(told, "said", "");
	bool quiesced = json_get_bool(told, "quiesced", false);
	if (b->cli->json) {
		cli_print_json(json_pack("{s:s, s:I, s:O, s:O, s:O}", "file", b->file.path, "size",
			(json_int_t)b->file.end, "taken", json_object_get(told, "taken"),
			"quiesced", json_object_get(told, "quiesced"), "disks", b->disks));
		return;
	}
	printf("Guest '%s' backed up to %s\n", b->def->name, b->file.path);
	if (quiesced)
		printf("Its agent held its file systems still at that instant\n");
	else if (said[0])
		printf("Not quiesced: %s\n", said);
	tell_left_out(b);
}

static int run_backup(const struct cli *cli, struct err *err)
{
	struct backing_up b = {.cli = cli,
		.l = LOOK_NONE,
		.file = BACKUP_WRITER_NONE,
		.disks = json_array(),
		.targets = json_array()};
	json_t *told = NULL;
	signals_hold();
	int result =
		cli_flag(cli, "quiesce") && cli_flag(cli, "no-quiesce")
			? err_set(err, ERR_USAGE, "backup: --quiesce or --no-quiesce, not both")
			: look_at(&b.l, cli->operands[0], err);
	if (result == 0)
		result = backup(&b, &told, err);
	if (result == 0)
		tell(&b, told);
	backup_end(&b.file);
	buf_wipe(&b.tpm);
	definition_free(b.def);
	look_end(&b.l);
	json_decref(b.disks);
	json_decref(b.targets);
	json_decref(told);
	return result;
}

const struct verb verb_backup = {"backup", "NAME FILE",
	"Copies a guest, disks and definition, into one new file, which any tar unpacks.", 2, 2,
	false,
	{{"quiesce", NULL, 0, "demand that its agent holds its file systems still"},
		{"no-quiesce", NULL, 0, "do not ask its agent; default: if it answers"},
		{"compress", NULL, 0, "a smaller file, more work"},
		{"bandwidth", "SIZE", 0, "bytes of each disk per second, at most, such as 50M"}},
	run_backup, "roost backup web1 web1.tar", GROUP_LIFE, GUESTS_ALL};
