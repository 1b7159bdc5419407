/*
 * QEMU's block jobs (blockdev-backup, block-commit, block-stream, blockdev-mirror), tracked to their end.
 *
 * A job stays in QEMU's list until it is dismissed, so its result outlives a keeper. All jobs of one
 * operation have ids that begin alike; that beginning (`prefix`) is how they are found again:
 *
 *	journal_begin(g, "flatten", facts, err);
 *	if (block_job_start(g, "block-stream", "flatten-vda", args, err) < 0 ||
 *		block_jobs_await(g, "copying", "flatten-", err) < 0) ...
 *	journal_end(g);
 *
 * and in the operation's row of op_adopt.c:
 *
 *	bool done = block_jobs_undo(g, "flatten-");
 *
 * Several jobs that shall begin at one instant are made by `transaction`: block_job_args() for each.
 * Nodes and fdsets are the caller's: QEMU lets go of them when the jobs are dismissed, which they are
 * whenever one of these functions has returned.
 */
#ifndef ORCHESTRATOR_BLOCK_JOB_H
#define ORCHESTRATOR_BLOCK_JOB_H

#include "orchestrator/guest.h"

/* What every job of ours is told besides `args` (stolen, returned): its id, and that it stays. */
json_t *block_job_args(const char *id, json_t *args);
int block_job_start(
	struct guest *g, const char *command, const char *id, json_t *args, struct err *err);
/*
 * Waits in guest_wait() until all jobs of `prefix` have ended well, telling ROOST_PROGRESS in bytes. A
 * job that is ready (a mirror, a commit of the active layer) is completed. When one fails, or somebody
 * cancels, all are undone as below; -1. ERR_GONE when QEMU has ended.
 */
int block_jobs_await(struct guest *g, const char *step, const char *prefix, struct err *err);
/* The same, but only until they have ended or are ready: then block_jobs_await() completes them. */
int block_jobs_await_ready(struct guest *g, const char *step, const char *prefix, struct err *err);
/*
 * Cancels those that run and dismisses all. True when there were some and each had ended well before
 * it could be cancelled: then what they do is done. After it the operation cannot be cancelled.
 */
bool block_jobs_undo(struct guest *g, const char *prefix);

#endif
