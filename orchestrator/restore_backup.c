/*
 * restore of a backup: a guest is defined anew from it, with copies of its disks in its own folder.
 *
 * Under its own name it is the same guest: UUID, addresses, SSH host key. With --name it is another one.
 * What there is already is never touched: neither a guest nor a file. roostd makes the guest, wholly or not
 * at all (define_files.c); we open the files, with the caller's own rights.
 */
#include "orchestrator/backup_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/another.h"
#include "orchestrator/long_call.h"
#include "orchestrator/verb.h"

struct restoring {
	const char *path;
	int dir;
	json_t *facts, *names; /* names: what each fd is */
	int fds[SOCK_FDS_MAX];
	size_t count;
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

static int add_file(struct restoring *r, const char *name, const char *file, struct err *err)
{
	if (r->count == SOCK_FDS_MAX)
		return err_set(
			err, ERR_REFUSED, "'%s' has more than %d files", r->path, SOCK_FDS_MAX);
	int fd = openat(r->dir, file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_errno(err, "cannot open '%s/%s'", r->path, file);
	r->fds[r->count++] = fd;
	json_array_append_new(r->names, json_string(name));
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
	json_array_foreach (json_object_get(r->facts, "disks"), i, row)
		if (take_disk(r, d, row, err) < 0)
			return -1;
	for (i = 0; i < d->disk_count; i++)
		if (d->disks[i].source != DISK_BLANK && !d->disks[i].readonly)
			return err_set(err, ERR_REFUSED, "'%s' lacks the disk '%s'", r->path,
				d->disks[i].target);
	if (d->firmware == FIRMWARE_UEFI && add_file(r, "vars", BACKUP_VARS, err) < 0)
		return -1;
	if (!another && faccessat(r->dir, BACKUP_KEY, R_OK, 0) == 0)
		return add_file(r, "host_key", BACKUP_KEY, err);
	return 0;
}

static int define(struct restoring *r, const struct definition *d, json_t **reply, struct err *err)
{
	return long_call_supervisor((struct long_about){"guest", d->name}, "roost-define",
		json_pack("{s:o, s:O}", "definition", definition_to_json(d), "files", r->names),
		r->fds, r->count, r->quiet, reply, err);
}

static int restore(struct restoring *r, const char *name, json_t **reply, struct err *err)
{
	_cleanup_json_ json_t *json = json_deep_copy(json_object_get(r->facts, "definition"));
	if (name)
		definition_make_another(json, name);
	_cleanup_definition_ struct definition *d = definition_from_json(json, err);
	if (!d)
		return err_prefix(err, "'%s'", r->path);
	if (check_free(d, err) < 0 || take_files(r, d, name != NULL, err) < 0)
		return -1;
	return define(r, d, reply, err);
}

int restore_backup(const struct cli *cli, struct err *err)
{
	struct restoring r = {
		.path = cli->operands[0], .dir = -1, .names = json_array(), .quiet = cli->json};
	json_t *reply = NULL;
	int result = 0;
	if (cli_flag(cli, "running") || cli_flag(cli, "paused"))
		result = err_set(err, ERR_USAGE,
			"restore: '%s' is a backup, which holds no RAM to go on with", r.path);
	if (result == 0)
		r.facts = backup_open(r.path, &r.dir, err);
	result = r.facts ? restore(&r, cli_value(cli, "name", NULL), &reply, err) : -1;
	if (result == 0 && cli->json)
		cli_print_json(json_incref(reply));
	else if (result == 0)
		printf("Guest '%s' defined from the backup %s\n", json_get_str(reply, "name", ""),
			r.path);
	for (size_t i = 0; i < r.count; i++)
		cleanup_close(&r.fds[i]);
	cleanup_close(&r.dir);
	json_decref(r.names);
	json_decref(r.facts);
	json_decref(reply);
	return result;
}
