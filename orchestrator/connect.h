/*
 * How a command reaches roostd and the keepers.
 *
 * roostd is started when none runs and there is something to do for it, root's by root alone.
 * A guest that runs without a keeper (both were killed) gets one before a command goes on: that is
 * the whole recovery.
 */
#ifndef ORCHESTRATOR_CONNECT_H
#define ORCHESTRATOR_CONNECT_H

#include "orchestrator/definition.h"
#include "orchestrator/status.h"
#include "qmp/client.h"

enum {
	CONNECT_MS = 3000, /* for a greeting: what answers at all answers in far less */
	OPERATION_MS =
		900000, /* for an operation of a keeper, which has shorter deadlines of its own */
};

/* To roostd, which is started if it is not there. */
struct qmp *supervisor_connect(struct err *err);
/* One command to roostd and its reply. */
int supervisor_call(const char *command, json_t *args, json_t **reply, struct err *err);
/* Where a start goes on from, opened: saved.h. */
struct saved;
enum { START_PAUSED = 1, START_FORCE_BOOT = 2 /* whatever was saved by managedsave is given up */ };
/* Has a guest started from what was saved, or booted if `from` is NULL. */
int supervisor_start_from(
	const char *name, unsigned how, struct saved *from, json_t **reply, struct err *err);
/* Has a guest started with an installer: `facts`, borrowed, and files as install.h has them. */
int supervisor_start_install(const char *name, json_t *facts, const int *fds, size_t count,
	json_t **reply, struct err *err);
/*
 * Has a guest started; one with a managed save goes on from there, and the reply has "saved", the time
 * of that. ROOST_ACCEL_FALLBACK counts as the caller has it, not as roostd was born.
 */
int supervisor_start(const char *name, bool paused, json_t **reply, struct err *err);
/* The same for a caller who has others to start, and no patience with this one. */
int supervisor_start_within(
	int64_t ms, const char *name, bool paused, json_t **reply, struct err *err);
/* Is its socket listened on? A look that neither starts one nor waits for one. */
bool supervisor_listens(void);
/*
 * Was roostd killed, and none has come since? If one lives it is in *lives, which is PROC_NONE before. One that has ended in
 * order was not killed.
 */
struct proc;
bool supervisor_killed(struct proc *lives);

/* Where a guest runs; a guest that does not is ERR_REFUSED "not running". */
struct found {
	char name[64];
	char id[13];
};
/* NAME, Id or UUID of a defined guest. */
int guest_find(const char *word, struct found *out, struct err *err);
/* To the keeper of a running guest. */
struct qmp *guest_connect(const struct found *f, struct err *err);
/* Waits until a keeper serves it: one that is starting, or one that is put there to take it over. */
int guest_attend(const struct found *f, int64_t ms, struct err *err);
/* Is it running, for all that its files tell? */
bool guest_runs(const struct found *f);
/* Waits until roostd has removed what a guest that has ended left in $RUN; not longer than a moment. */
void guest_settle(const struct found *f);
/* One command to the keeper of the guest named by `word`. */
int guest_call(
	const char *word, const char *command, json_t *args, json_t **reply, struct err *err);
/* Ends a guest at once; *reply tells how it ended. */
int guest_destroy(const struct found *f, bool graceful, json_t **reply, struct err *err);
/*
 * The status of a guest: from its status file if it runs (`unresponsive` when the stamp is old),
 * else how it ended. ERR_NOT_FOUND when no such guest is defined.
 */
int guest_look(const struct found *f, struct status *out, struct err *err);
/* True when some guest in $RUN has no keeper, or a network no holder; the cheap look of every command. */
bool orphans_exist(void);
/* Has roostd take over all guests without a keeper, and waits until they are served. */
int orphans_adopt(struct err *err);

#endif
