/*
 * Looking at one guest, for the verbs that only look.
 *
 * Files come first: they are always there, and reading them wakes nobody. What only QEMU knows is
 * asked through the keeper, which answers such questions during an operation, too. Nothing here waits
 * longer than QMP_LOOK_MS for one answer: whoever is silent for so long is told as `unresponsive`.
 *
 *	_cleanup_look_ struct look l = LOOK_NONE;
 *	if (look_running(&l, word, err) < 0 || look_ask(&l, "query-cpus-fast", NULL, &reply, err) < 0)
 *		return -1;
 */
#ifndef ORCHESTRATOR_LOOK_H
#define ORCHESTRATOR_LOOK_H

#include "orchestrator/connect.h"

struct look {
	struct found f;
	struct status s;
	struct qmp *keeper; /* NULL until something is asked */
};
#define LOOK_NONE                                                                                  \
	{                                                                                          \
		.keeper = NULL                                                                     \
	}

/* By name, Id or UUID. Takes over guests that were left without a keeper: what is told is true. */
int look_at(struct look *l, const char *word, struct err *err);
/* The same; ERR_REFUSED "guest 'x' is not running" if it does not. */
int look_running(struct look *l, const char *word, struct err *err);
bool look_runs(const struct look *l);
int look_refuse_stopped(const struct look *l, struct err *err);
void look_end(struct look *l);
#define _cleanup_look_ _cleanup_(look_end)

/* A command that only looks, to the keeper or through it to QEMU; `args` stolen, reply owned. */
int look_ask(struct look *l, const char *command, json_t *args, json_t **reply, struct err *err);
/* The same for one that the guest itself has to answer: `timeout-ms` is its argument. */
int look_ask_guest(
	struct look *l, const char *command, int64_t timeout_ms, json_t **reply, struct err *err);

/* What a guest runs by, with the media that are in its drives now; else what it will start by. With its seed. */
struct definition *look_definition(const struct found *f, struct err *err);
/* What was plugged since its start (attached.h); an empty list when it does not run. */
json_t *look_plugged(const struct found *f);

#endif
