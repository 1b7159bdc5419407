/* change-media: the file is opened with our own rights and handed over, as with attach-disk. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/change.h"
#include "orchestrator/connect.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/record.h"

struct wish {
	const char *drive, *mode;
	char *medium; /* owned; NULL: none */
	bool force;
};

/* What of --eject, --insert and --update is meant; without any, as virsh does it, --update. */
static int mode_of(const struct cli *cli, const char **mode, struct err *err)
{
	bool eject = cli_flag(cli, "eject"), put = cli_flag(cli, "insert"), file = cli->count > 2;
	if (eject + put + cli_flag(cli, "update") > 1)
		return err_set(
			err, ERR_USAGE, "change-media: only one of --eject, --insert and --update");
	if (eject && file)
		return err_set(err, ERR_USAGE, "change-media: --eject takes no file");
	if (put && !file)
		return err_set(err, ERR_USAGE, "change-media: --insert needs a file");
	*mode = eject ? "eject" : put ? "insert" : "update";
	return 0;
}

static int send_medium(const struct found *f, const struct wish *w, struct err *err)
{
	_cleanup_disk_files_ struct disk_files files = {0};
	struct disk_def d = {.source = DISK_PATH,
		.path = w->medium,
		.format = FORMAT_RAW,
		.readonly = true,
		.cdrom = true};
	if (w->medium && disk_open(&d, AT_FDCWD, &files, err) < 0)
		return -1;
	_cleanup_qmp_ struct qmp *q = guest_connect(f, err);
	if (!q)
		return -1;
	return qmp_call_fds(q, "roost-change-media",
		json_pack("{s:s, s:s, s:s?, s:b}", "drive", w->drive, "mode", w->mode, "medium",
			w->medium, "force", w->force),
		&files.layers[0].fd, files.count, deadline_in(OPERATION_MS), NULL, err);
}

/* The same at the next start. */
static int check_config(const struct found *f, const struct wish *w, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d)
		return -1;
	const struct disk_def *disk = definition_disk(d, w->drive);
	if (!disk || !disk->cdrom)
		return err_set(err, disk ? ERR_REFUSED : ERR_NOT_FOUND,
			disk ? "guest '%s': '%s' is no CD-ROM drive at its next start"
			     : "guest '%s' has no drive '%s' at its next start",
			f->name, w->drive);
	if (str_eq(w->mode, "insert") && disk->path)
		return err_set(err, ERR_REFUSED,
			"the drive '%s' of guest '%s' has a medium already at its next start",
			w->drive, f->name);
	if (str_eq(w->mode, "eject") && !disk->path)
		return err_set(err, ERR_REFUSED,
			"the drive '%s' of guest '%s' has no medium at its next start", w->drive,
			f->name);
	return 0;
}

static void put_in(struct definition *d, const void *how)
{
	const struct wish *w = how;
	struct disk_def *disk = definition_disk(d, w->drive);
	if (!disk)
		return;
	free(disk->path);
	disk->path = w->medium ? xstrdup(w->medium) : NULL;
}

static int change(const struct cli *cli, const struct wish *w, struct err *err)
{
	struct found f;
	_cleanup_status_ struct status s = {0};
	if (guest_find(cli->operands[0], &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return -1;
	bool live = cli_flag(cli, "live"), config = cli_flag(cli, "config");
	if (!live && !config)
		*(s.number ? &live : &config) = true;
	if ((config && check_config(&f, w, err) < 0) || (live && send_medium(&f, w, err) < 0) ||
		(config && guest_change(&f, put_in, w, err) < 0))
		return -1;
	return 0;
}

static int run_change_media(const struct cli *cli, struct err *err)
{
	struct wish w = {.drive = cli->operands[1], .force = cli_flag(cli, "force")};
	if (mode_of(cli, &w.mode, err) < 0)
		return -1;
	if (cli->count > 2 && !(w.medium = realpath(cli->operands[2], NULL)))
		return err_errno(err, "cannot find the medium '%s'", cli->operands[2]);
	int result = change(cli, &w, err);
	if (result == 0 && cli->json)
		cli_print_json(json_pack("{s:s, s:s?}", "drive", w.drive, "medium", w.medium));
	else if (result == 0)
		printf("Successfully %s media.\n", str_eq(w.mode, "eject")    ? "ejected"
						   : str_eq(w.mode, "insert") ? "inserted"
									      : "updated");
	free(w.medium);
	return result;
}

const struct verb verb_change_media = {"change-media", "NAME TARGET [FILE]",
	"Changes the medium in a guest's CD-ROM drive.", 2, 3, false,
	{{"eject", NULL, 0, "take it out"}, {"insert", NULL, 0, "put FILE into an empty drive"},
		{"update", NULL, 0, "put FILE in, or take out what is in it; the default"},
		{"force", NULL, 0, "although the guest holds its tray locked"},
		{"live", NULL, 0, "now; the default of a guest that runs"},
		{"config", NULL, 0, "at its next start; the default of one that does not"}},
	run_change_media, "roost change-media web1 sda data.iso", GROUP_DEVICES, GUESTS_ALL};
