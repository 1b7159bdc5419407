/* Starting a guest from what was saved of it, on the client's side: what is looked at and opened. */
#ifndef ORCHESTRATOR_SAVED_H
#define ORCHESTRATOR_SAVED_H

#include "orchestrator/connect.h"

/* "$STATE/guests/NAME/managed.save"; freed by the caller. */
char *saved_managed_path(const char *name, struct err *err);
bool saved_exists(const char *name);
/*
 * Where the guest's next start goes on: its managed save, or the RAM of the snapshot that it went back to. Freed by the
 * caller.
 */
char *saved_path(const char *name, struct err *err);
/* Does root have to make, open and remove those for us? */
bool saved_is_for_root(void);
/* "$STATE/guests/NAME/FILE", where the RAM of a snapshot is; freed by the caller. */
char *saved_memory_path(const char *name, const char *file, struct err *err);
/* Is it there, sound, and of that guest? */
int saved_check_memory(const char *name, const char *file, struct err *err);
/* Removes both; *was: there was one. */
int saved_remove(const char *name, bool *was, struct err *err);
/* [{path, size, mtime_ns}] of all that the guest writes to, as they are now; NULL with *err. */
json_t *saved_disks(const struct definition *d, const json_t *plugged, struct err *err);

struct saved {
	int fds[SOCK_FDS_MAX]; /* owned: the file, then the plugged disks */
	size_t fd_count;
	json_t *facts;
};
/*
 * Opens and checks a save file, and that the guest's disks are as they were; opens what was plugged.
 * `guest`: it is that guest's own, found in its folder; NULL: a file of the user's.
 */
int saved_open(const char *path, const char *guest, struct saved *out, struct err *err);
void saved_close(struct saved *s);
/* "Guest 'x' goes on ...": from `file`, or its managed save if NULL; how far its clock is behind. */
int tell_restored(const char *name, const char *file, int64_t saved);
#define _cleanup_saved_ _cleanup_(saved_close)

#endif
