/* The steps of a test, and what they share. All of this happens in the test's own process. */
#ifndef ORCHESTRATOR_SMOKE_STEPS_H
#define ORCHESTRATOR_SMOKE_STEPS_H

#include <regex.h>
#include <sys/types.h>

#include "base/str.h"
#include "orchestrator/connect.h"
#include "orchestrator/smoke.h"

/* How patterns are compiled. */
enum { SMOKE_REGEX = REG_EXTENDED | REG_NEWLINE };

/* A test on its way. */
struct trial {
	const struct test *test;
	struct found guest;
	struct definition *def; /* as recorded, with the host key that was issued */
	int out;                /* the runner's pipe */
	const char *reached;    /* the rung that the last climb ended with */
	json_t *boot;           /* {RUNG: ms} of the last boot */
	off_t console_from;     /* where it begins in the console's log */
};

/* One step. The error is what was expected and what came, without the step's label. */
int smoke_step(struct trial *t, const struct step *s, struct err *err);
/* Waits until the guest is ready, or has reached `rung`; tells the rungs. */
int smoke_climb(
	struct trial *t, const char *rung, int64_t deadline, json_t **evidence, struct err *err);

/* The steps that log in: smoke_ssh.c, smoke_http.c. */
int step_run(struct trial *t, const struct step *s, int64_t deadline, struct err *err);
int step_copy(struct trial *t, const struct step *s, int64_t deadline, struct err *err);
int step_port(struct trial *t, const struct step *s, int64_t deadline, struct err *err);
int step_http(struct trial *t, const struct step *s, int64_t deadline, struct err *err);

/* Waits a moment, until something happens to the guest; ERR_GONE when it does not run any more. */
int trial_pause(struct trial *t, struct qmp *keeper, int64_t deadline, struct err *err);
/* smoke_expect.c. Does `data` hold what the step wants? `what`: "output", "body". */
int step_expect(const struct step *s, const char *what, const struct buf *data, struct err *err);
/* A pattern anywhere in it; it was compiled before. */
bool pattern_found(const char *pattern, const char *data, size_t len);
/* Is `wanted` in `got`? Else an error that names the place in it. */
int json_holds(const json_t *wanted, const json_t *got, const char *what, struct err *err);

/* http://HOST[:PORT][/PATH]: smoke_step_keys.c. */
struct url {
	char host[64];
	unsigned port;
	const char *path; /* into the text, or "/" */
	bool forwarded;   /* the host is "guest" */
};
int url_read(const char *text, struct url *out, struct err *err);

#endif
