/*
 * One piece of work for each of many guests at the same time: straight-line code in a forked child per
 * guest, which ends in one reply on a pipe. What hangs is killed at a deadline, so that nothing that
 * one of them meets keeps the others waiting.
 */
#ifndef ORCHESTRATOR_CHILDREN_H
#define ORCHESTRATOR_CHILDREN_H

#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"

struct work {
	const void *about; /* the caller's */
	json_t *reply;     /* owned by the caller; NULL when it failed, then `err` says why */
	struct err err;
	struct child child;
	struct buf output;
};

/* In the child; its files are the parent's, its output is the reply alone. */
typedef int work_fn(const void *about, int64_t deadline, json_t **reply, struct err *err);
/* In the parent, when one is done. */
typedef void work_done_fn(struct work *w, void *context);

/*
 * Does them all. `deadline` is what the work is told; what has not answered GRACE_MS later is killed
 * and has failed with ERR_TIMEOUT.
 */
void work_all(struct work *all, size_t count, work_fn *work, int64_t deadline, work_done_fn *done,
	void *context);

#endif
