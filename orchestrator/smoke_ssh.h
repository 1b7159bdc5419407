/* What the steps of a test have done in the guest, by roost-ssh, or here, by a shell. */
#ifndef ORCHESTRATOR_SMOKE_SSH_H
#define ORCHESTRATOR_SMOKE_SSH_H

#include "orchestrator/smoke_steps.h"

enum { OUTPUT_MAX = 1024 * 1024 };

struct answer {
	int status;     /* the command's exit status; 255 if it, or roost-ssh, was killed */
	struct buf out; /* standard output, the first OUTPUT_MAX bytes */
	struct buf err; /* standard error, the same */
	bool cut;       /* there was more */
};
void answer_free(struct answer *a);
#define _cleanup_answer_ _cleanup_(answer_free)

/* For a login as `user`; NULL: the definition's. */
json_t *trial_params(const struct trial *t, const char *user, struct err *err);
/*
 * `roost-ssh exec` with these parameters (stolen), its standard input from `in`. Whatever the
 * command does is an answer; an error is that there is none: no login, or not within the time.
 */
int guest_exec(json_t *params, int in, int64_t deadline, struct answer *out, struct err *err);

#endif
