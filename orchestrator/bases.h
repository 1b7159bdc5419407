/*
 * Bases: files that more than one guest stands on, because one was cloned of the other.
 *
 *	$STATE/guests/web1/disk0.qcow2	what web1 had written when it was cloned; disk-vda.1.qcow2 is its top now
 *	$STATE/bases/ID/disk0.qcow2	the same file by another name, which the clone's lineage tells; ID is web1's
 *
 * Nobody writes to such a file any more: it is frozen. It has no write bit, and under root it is root's,
 * not the keeper's in whose folder it lies. That is all that says so, there is no list. The name in the
 * guest's folder and the one here go by themselves: whoever goes first, the other still has the file. Names
 * of backing files, which are relative within a guest's folder, hold here as well: all that a frozen file
 * stands on is frozen, too.
 *
 * A base that nobody's lineage tells is removed by bases_sweep(); the file is the guest's own again then.
 *
 * One limit: a guest that is cloned while it runs keeps its open files. A QEMU that has been broken into can
 * write to what its clones stand on until it ends. They see it at their start, as of any changed base.
 */
#ifndef ORCHESTRATOR_BASES_H
#define ORCHESTRATOR_BASES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* May that file of a guest's folder not be written to, because other guests stand on it? */
bool base_is_frozen(int guest_dir, const char *file);
/*
 * Opens a disk's file of a guest's own folder, which is its keeper's, or frozen. ERR_REFUSED: it is somebody
 * else's, or frozen and opened for more than reading.
 */
int base_open_own(int guest_dir, const char *file, int flags, uid_t keeper, struct err *err);

/*
 * Held while bases come and go, until the record that tells them is there; made if missing. Released by
 * closing.
 */
int bases_lock(struct err *err);
/* "$STATE/bases/ID/FILE"; freed by the caller. */
char *base_path(const char *id, const char *file, struct err *err);
/* Is it the path of a base? Then `id` and `file` say which; the latter is borrowed from `path`. */
bool base_of_path(const char *path, char id[13], const char **file);
/*
 * Freezes the open file `fd`, which is `file` in the folder of the guest `id`, after all that it stands on. Who
 * writes to it must have another top already.
 */
int base_freeze(const char *id, const char *file, int fd, struct err *err);
/*
 * Removes the bases that nobody stands on: no guest, running or not, no disk that a guest has no more (unrecorded.h); if one of
 * those cannot be read, nothing. A template's stay. Calls `removed`, if not NULL, with the path of each. Takes
 * the lock unless it is the caller's already. SWEEP_LOOK: only tells what it would remove.
 */
enum sweep_how { SWEEP, SWEEP_LOCKED, SWEEP_LOOK };
typedef void base_removed_fn(void *about, const char *path);
int bases_sweep(enum sweep_how how, base_removed_fn *removed, void *about, struct err *err);

#endif
