/*
 * restore of a backup: a guest is defined anew from it, with copies of its disks in its own folder.
 *
 * Under its own name it is the same guest: UUID, addresses, SSH host key. With --name it is another one.
 * What there is already is never touched: neither a guest nor a file. roostd makes the guest, wholly or not
 * at all (define_files.c); we open the backup, with the caller's own rights, and tell where in it each file is.
 */
#include "orchestrator/backup_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "orchestrator/another.h"
#include "orchestrator/long_call.h"
#include "orchestrator/verb.h"

struct restoring {
	const char *path;
	struct backup backup;
	json_t *files; /* as roost-define wants them */
	bool quiet;
};

static int exists(const char *what, const char *name, struct err *err)
{
	err_set(err, ERR_REFUSED, "%s '%s' exists already", what, name);
	return err_hint(err, "`roost restore --name NAME` makes another guest of the backup");
}

static int check_free(const struct definition *d, struct err *err)
{
	struct found f;
	struct err ignored = ERR_INIT;
	if (guest_find(d->name, &f, &ignored) == 0)
		return exists("guest", d->name, err);
	if (d->uuid[0] && guest_find(d->uuid, &f, &ignored) == 0)
		return exists("with the same UUID, guest", f.name, err);
	return 0;
}

static int add_file(struct restoring *r, const char *what, const char *file, struct err *err)
{
	const struct backup_member *m = backup_find(&r->backup, file);
	if (!m)
		return err_set(err, ERR_REFUSED, "'%s' lacks '%s'", r->path, file);
	json_array_append_new(r->files, json_pack("{s:s, s:I, s:I}", "what", what, "offset",
						(json_int_t)m->at, "size", (json_int_t)m->size));
	return 0;
}

/* A copied disk is the guest's own from now on, whatever it was. */
static int take_disk(struct restoring *r, struct definition *d, const json_t *row, struct err *err)
{
	const char *target = json_get_str(row, "target", "");
	struct disk_def *disk = definition_disk(d, target);
	if (!disk || disk->cdrom || disk->readonly)
		return err_set(
			err, ERR_REFUSED, "'%s': its definition has no disk '%s'", r->path, target);
	free(disk->path);
	free(disk->file);
	disk->path = disk->file = NULL;
	disk->source = DISK_BLANK;
	disk->format = FORMAT_NONE;
	disk->size = (uint64_t)json_get_int(row, "size", 0);
	return add_file(r, target, json_get_str(row, "file", ""), err);
}

static int take_files(struct restoring *r, struct definition *d, bool another, struct err *err)
{
	size_t i;
	json_t *row;
	json_array_foreach (json_object_get(r->backup.facts, "disks"), i, row)
		if (take_disk(r, d, row, err) < 0)
			return -1;
	for (i = 0; i < d->disk_count; i++)
		if (d->disks[i].source != DISK_BLANK && !d->disks[i].readonly)
			return err_set(err, ERR_REFUSED, "'%s' lacks the disk '%s'", r->path,
				d->disks[i].target);
	if (d->firmware == FIRMWARE_UEFI && add_file(r, "vars", BACKUP_VARS, err) < 0)
		return -1;
	if (d->tpm.enabled && backup_find(&r->backup, BACKUP_TPM) &&
		add_file(r, "tpm", BACKUP_TPM, err) < 0)
		return -1;
	if (!another && backup_find(&r->backup, BACKUP_KEY))
		return add_file(r, "host_key", BACKUP_KEY, err);
	return 0;
}

static int define(struct restoring *r, const struct definition *d, json_t **reply, struct err *err)
{
	return long_call_supervisor((struct long_about){"guest", d->name}, "roost-define",
		json_pack("{s:o, s:O}", "definition", definition_to_json(d), "files", r->files),
		&r->backup.fd, 1, r->quiet, reply, err);
}

static int restore(struct restoring *r, const char *name, json_t **reply, struct err *err)
{
	_cleanup_json_ json_t *json =
		json_deep_copy(json_object_get(r->backup.facts, "definition"));
	if (name)
		definition_make_another(json, name);
	_cleanup_definition_ struct definition *d = definition_from_json(json, err);
	if (!d)
		return err_prefix(err, "'%s'", r->path);
	if (check_free(d, err) < 0 || take_files(r, d, name != NULL, err) < 0)
		return -1;
	return define(r, d, reply, err);
}

static void tell(const struct restoring *r, const json_t *reply)
{
	const json_t *definition = json_object_get(r->backup.facts, "definition");
	printf("Guest '%s' defined from the backup %s\n", json_get_str(reply, "name", ""), r->path);
	if (json_object_get(definition, "tpm") && !backup_find(&r->backup, BACKUP_TPM))
		fprintf(stderr, "roost: the state of its TPM is not in it: it gets a new one\n");
}

int restore_backup(const struct cli *cli, struct err *err)
{
	struct restoring r = {.path = cli->operands[0],
		.backup = BACKUP_NONE,
		.files = json_array(),
		.quiet = cli->json};
	json_t *reply = NULL;
	int result = 0;
	if (cli_flag(cli, "running") || cli_flag(cli, "paused"))
		result = err_set(err, ERR_USAGE,
			"restore: '%s' is a backup, which holds no RAM to go on with", r.path);
	if (result == 0)
		result = backup_open(&r.backup, r.path, err);
	if (result == 0)
		result = restore(&r, cli_value(cli, "name", NULL), &reply, err);
	if (result == 0 && cli->json)
		cli_print_json(json_incref(reply));
	else if (result == 0)
		tell(&r, reply);
	backup_close(&r.backup);
	json_decref(r.files);
	json_decref(reply);
	return result;
}
