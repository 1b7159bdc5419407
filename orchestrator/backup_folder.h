/*
 * A backup: a folder that holds all that is needed to have a guest again, and that is whole if it is
 * there under its name (until then it is called NAME.part). It is 0700: it holds all that the guest has.
 *
 *	backup.json	{"roost-backup":1, "name", "uuid", "taken" (seconds since 1970), "quiesced",
 *			"running", "definition" (as guest.json has it), "disks"}
 *	vda.qcow2, ...	each disk by its target, standing alone: any tool that reads qcow2 opens it
 *	vars.qcow2	the UEFI variables, if it has some
 *	host_key	its SSH host key, if roost has issued it and who made the backup may read it
 *
 * "disks" is [{"target", "file", "size", "bitmap"}]. "bitmap" is null: all of the disk is here. A later
 * increment will name the dirty bitmap there whose clusters alone it holds.
 *
 * Not in it: disks that the guest only reads (they stay named by their paths), what was plugged for one
 * run only, its RAM (`roost save`), the state of its TPM.
 */
#ifndef ORCHESTRATOR_BACKUP_FOLDER_H
#define ORCHESTRATOR_BACKUP_FOLDER_H

#include "orchestrator/definition.h"

#define BACKUP_FACTS "backup.json"
#define BACKUP_VARS  "vars.qcow2"
#define BACKUP_KEY   "host_key"

/* The folder to be filled, beside the name that it will get; ERR_REFUSED if that is taken. */
struct backup_folder {
	char *path, *part;
	int dir;
};
#define BACKUP_FOLDER_NONE                                                                         \
	{                                                                                          \
		.dir = -1                                                                          \
	}
int backup_make(const char *path, struct backup_folder *out, struct err *err);
/* Writes backup.json and gives the folder its name; it survives a loss of power. */
int backup_commit(struct backup_folder *b, const json_t *facts, struct err *err);
/* What was not committed is removed. */
void backup_end(struct backup_folder *b);
#define _cleanup_backup_ _cleanup_(backup_end)

/* Is that path a backup, rather than a file of `roost save`? */
bool backup_is(const char *path);
/* Its facts, each of the right type; NULL with *err. `dir` gets the folder, opened. */
json_t *backup_open(const char *path, int *dir, struct err *err);

/* Fills `part` with the disks of a guest that does not run, and its UEFI variables: backup_stopped.c. */
int backup_copy_stopped(const struct definition *def, const json_t *disks, const char *part,
	bool compress, bool quiet, struct err *err);

/* `restore` of a backup: restore_backup.c. */
struct cli;
int restore_backup(const struct cli *cli, struct err *err);

#endif
