/*
 * A guest that does not run, opened to change what its disks stand on: for workers of roostd.
 *
 *	struct off o = {.dir = -1};
 *	int result = off_begin(&o, name, err);
 *	if (result == 0)
 *		result = ...	new tops, off_change(), off_tidy()
 *	off_end(&o, result);
 *
 * Who is killed before off_change() leaves everything as it was, but for files that no record names; after it
 * everything is changed, but for layers that are still to be merged. The next off_begin() and off_tidy() see
 * to both.
 */
#ifndef ORCHESTRATOR_SNAPSHOT_OFF_H
#define ORCHESTRATOR_SNAPSHOT_OFF_H

#include "orchestrator/snapshots.h"

struct off {
	int dir;
	struct definition *d;
	json_t *record;
	struct disk_def disks[SNAPSHOT_DISKS_MAX]; /* borrowed from `d` */
	size_t count;
	bool may_resume; /* asked for: it may have gone back to a snapshot with RAM, and not been started since */
};

/* ERR_REFUSED of a guest that has been saved: its RAM knows its disks as they are. */
int off_begin(struct off *o, const char *name, struct err *err);
/* If `result` is not 0, files that belong to nothing go. */
void off_end(struct off *o, int result);
const struct disk_def *off_disk(const struct off *o, const char *target, struct err *err);
/* The disk gets a new, empty top over that layer, in `record` only. */
int off_put_on_top(struct off *o, const struct disk_def *d, const char *over, struct err *err);
/* `record` is the record now: there is no way back. */
int off_change(struct off *o, struct err *err);
/* Merges and removes what the record does not need, of that disk alone, unless NULL. */
int off_tidy(struct off *o, const char *target, struct err *err);

#endif
