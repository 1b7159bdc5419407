/*
 * The disks of a guest that does not run, served to a program of ours over NBD by a QEMU without a machine:
 * in the jail, by the open files and with the node graph that the guest's own QEMU has (launch.h,
 * disk_open.h). What is in a disk's headers and tables is believed no more than when the guest runs, and
 * the image locks hold as then.
 *
 * It is not qemu-storage-daemon, which cannot be handed open files (there is no add-fd in it), and not FUSE,
 * which wants /dev/fuse, a helper with privilege or a user namespace, and a mount that outlives who dies.
 */
#ifndef ORCHESTRATOR_DISK_SERVER_H
#define ORCHESTRATOR_DISK_SERVER_H

#include "base/proc.h"
#include "orchestrator/disk_open.h"
#include "qmp/client.h"

struct disk_server {
	struct proc qemu;
	struct qmp *qmp;
	size_t count;
	int fds[DISKS_MAX]; /* owned: a connection for each disk, whose export has its target as name */
	int words;          /* what QEMU says */
};
#define DISK_SERVER_NONE                                                                           \
	(struct disk_server)                                                                       \
	{                                                                                          \
		.qemu = PROC_NONE, .words = -1                                                     \
	}

/*
 * Serves them, to be read and changed; the files are taken over, whatever happens. `dir` is the guest's folder:
 * the socket has a name there for a moment. It dies with this process.
 */
int disk_server_start(struct disk_server *s, int dir, const struct definition *d,
	const struct disk_def *disks, struct disk_files *files, size_t count, struct err *err);
/* Ends it, which closes the disks. For _cleanup_(disk_server_end). */
void disk_server_end(struct disk_server *s);

/*
 * A listener in a guest's folder, whose name goes before anybody else can have seen it, and connections to it:
 * all that it will ever have. They block; it does not.
 */
int private_listener(int dir, size_t count, int *listener, int *connections, struct err *err);
/* It has gone without an answer (ERR_GONE): its own words are the reason, if it had some. */
void disk_server_words(const struct disk_server *s, struct err *err);

#endif
