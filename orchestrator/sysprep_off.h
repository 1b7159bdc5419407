/*
 * The file systems on the disks of a guest that does not run, changed by roost-sysprep: for workers of roostd.
 *
 * The disks get a new top each, of which nobody knows yet, and a QEMU in its jail serves them with these
 * (disk_server.h) to roost-sysprep, another child in a jail, which reads and changes the file systems. When
 * that has gone well the new tops are the guest's, by one change of the record; then they are merged into
 * what they stand on. Until that change nothing has happened to the guest, whoever is killed.
 *
 *	struct sysprep s = SYSPREP_NONE;
 *	int result = off_begin(&s.off, ...);
 *	... off_tidy(), sysprep_put_tops(), sysprep_serve(), sysprep_run(), sysprep_take()
 *	sysprep_end(&s);
 *	off_end(&s.off, result);
 */
#ifndef ORCHESTRATOR_SYSPREP_OFF_H
#define ORCHESTRATOR_SYSPREP_OFF_H

#include "orchestrator/disk_server.h"
#include "orchestrator/snapshot_off.h"

struct sysprep {
	struct off off;
	struct disk_server server;
	struct disk_def disks[DISKS_MAX]; /* borrowed */
	size_t count;
	bool answered;  /* roost-sysprep has: its error, if that is one, is of the disks */
	json_t *answer; /* what it has done; owned */
};
#define SYSPREP_NONE                                                                               \
	(struct sysprep)                                                                           \
	{                                                                                          \
		.off = {.dir = -1}, .server = DISK_SERVER_NONE                                     \
	}

/* What roost-sysprep needs in between, as it says: a line, which is all that it gets. */
typedef int sysprep_wants_fn(void *about, const json_t *wants, int to, struct err *err);

/* Of these disks, a text of targets with spaces between them; NULL: of all that it writes to. */
int sysprep_put_tops(struct sysprep *s, const char *targets, struct err *err);
int sysprep_serve(struct sysprep *s, struct err *err);
/*
 * `plan` is stolen, and gets the disks; under the name `key` it gets the open file `fd`, which is taken over, unless
 * that is -1. `wants` may be NULL. s->answer is its "return".
 */
int sysprep_run(struct sysprep *s, json_t *plan, const char *key, int fd, sysprep_wants_fn *wants,
	void *about, struct err *err);
/* What has been done is the guest's. */
int sysprep_take(struct sysprep *s, struct err *err);
void sysprep_end(struct sysprep *s);

#endif
