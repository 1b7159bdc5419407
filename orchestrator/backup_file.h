/*
 * A backup: one file that holds all that is needed to have a guest again, and that is whole if it is there
 * under its name. It is 0600: it holds all that the guest has. It is a tar archive (images/tar.h), which any tar
 * lists and unpacks; what is unpacked, changed and packed again, alone and without folders, is a backup, too.
 *
 *	vda.qcow2, ...	each disk by its target, standing alone: any tool that reads qcow2 opens it
 *	vars.qcow2	the UEFI variables, if it has some
 *	host_key	its SSH host key, if roost has issued it and who made the backup may read it
 *	tpm2-00.permall	the state of its TPM, as swtpm keeps it, if who made the backup may read it. Of a guest
 *			that runs it was read shortly before that instant: what the guest has changed in its TPM
 *			between the two is not in it
 *	backup.json	{"roost-backup":1, "name", "uuid", "taken" (seconds since 1970), "quiesced",
 *			"running", "definition" (as guest.json has it), "disks"}
 *
 * "disks" is [{"target", "file", "size", "bitmap"}]. "bitmap" is null: all of the disk is here. A later
 * increment will name the dirty bitmap there whose clusters alone it holds.
 *
 * Not in it: disks that the guest only reads (they stay named by their paths), what was plugged for one
 * run only, its RAM (`roost save`).
 *
 * How it is made: each disk is written, by QEMU or qemu-img, where it will lie, from a multiple of 4096 on, in a
 * room that is large enough for whatever it holds. The file is sparse, so rooms cost nothing, but ext4 has files of
 * at most 16 TiB. When all is written the rest of each room goes: what follows is brought down, by the file system
 * where it can do that (ext4, XFS), else by copying. Only then comes what roost believes when it reads it again, and
 * into a file that nobody else can write to: where somebody still has it open for writing, or that cannot be known
 * (NFS), the disks are moved into another one before.
 */
#ifndef ORCHESTRATOR_BACKUP_FILE_H
#define ORCHESTRATOR_BACKUP_FILE_H

#include "base/new_file.h"
#include "orchestrator/definition.h"

#define BACKUP_FACTS "backup.json"
#define BACKUP_VARS  "vars.qcow2"
#define BACKUP_KEY   "host_key"
#define BACKUP_TPM   TPM_STATE

enum { BACKUP_MEMBERS_MAX = 64, BACKUP_SMALL_MAX = 4 << 20 };

struct backup_member {
	char name[64];
	uint64_t at, size; /* its content; a disk's size is known when it is settled */
	uint64_t room;     /* of a disk that is being written */
};

/* ---- making one: backup_file.c ----------------------------------------------------------------------- */

struct backup_writer {
	const char *path; /* borrowed */
	struct new_file file;
	struct backup_member members[BACKUP_MEMBERS_MAX];
	size_t count;
	uint64_t end;
};
#define BACKUP_WRITER_NONE                                                                         \
	{                                                                                          \
		.file = NEW_FILE_NONE                                                              \
	}

/* ERR_REFUSED: that file is there. */
int backup_make(struct backup_writer *b, const char *path, struct err *err);
/* An empty qcow2 image that shows `size` bytes; *out is lent until the next one. All disks come first. */
int backup_add_disk(struct backup_writer *b, const char *name, uint64_t size,
	struct backup_member *out, struct err *err);
/* All disks are written: brings them together. */
int backup_settle(struct backup_writer *b, struct err *err);
int backup_add(
	struct backup_writer *b, const char *name, const void *data, size_t len, struct err *err);
/* Adds backup.json and gives the file its name; it survives a loss of power. */
int backup_commit(struct backup_writer *b, const json_t *facts, struct err *err);
/* What was not committed is gone. */
void backup_end(struct backup_writer *b);

/* How many bytes the UEFI variables of a guest show that does not run, and has some; -1. */
int64_t backup_vars_size(const struct definition *def, struct err *err);
/* Fills the disks of a guest that does not run, and its UEFI variables: backup_stopped.c. */
int backup_copy_stopped(const struct definition *def, const struct backup_writer *b,
	const json_t *disks, bool compress, bool quiet, struct err *err);

/* ---- reading one: backup_read.c ---------------------------------------------------------------------- */

struct backup {
	int fd;
	json_t *facts; /* each of the right type */
	struct backup_member members[BACKUP_MEMBERS_MAX];
	size_t count;
};
#define BACKUP_NONE                                                                                \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* Is that path a tar archive, so perhaps a backup, rather than a file of `roost save`? */
bool backup_is(const char *path);
int backup_open(struct backup *b, const char *path, struct err *err);
/* NULL: it has no such one. */
const struct backup_member *backup_find(const struct backup *b, const char *name);
void backup_close(struct backup *b);

/* `restore` of a backup: restore_backup.c. */
struct cli;
int restore_backup(const struct cli *cli, struct err *err);

#endif
