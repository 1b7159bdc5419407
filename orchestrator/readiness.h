/*
 * Is a guest really up? A ladder of rungs, each with a deadline of its own, under one deadline for
 * all (DESIGN.md 8); from address on, `timeout_ms` of the caller may make our default for a rung longer:
 *
 *	process		its QEMU runs
 *	qmp		and answers
 *	running		its CPUs run
 *	console		it has written something on its serial line since this start
 *	address		there is an address to reach it by, and on a network somebody answers there
 *	tcp, banner, hostkey, login, cloud-init, probes		climbed by roost-ssh
 *
 * A rung that fails ends the climb with the rung, the likely cause and the evidence. Each rung
 * that is reached is told to the guest's keeper: an event for everyone, and the timeline.
 */
#ifndef ORCHESTRATOR_READINESS_H
#define ORCHESTRATOR_READINESS_H

#include "orchestrator/connect.h"
#include "orchestrator/definition.h"

enum { EVIDENCE_MAX = 12 };

struct readiness {
	const char *rung;   /* the last one to climb; NULL: the best that the definition allows */
	int64_t timeout_ms; /* 0: the definition's */
	/* Called for each rung reached (ms since the guest's start) or skipped (ms -1). */
	void (*tell)(const char *rung, int64_t ms, const char *detail);
	/* Filled when it fails. */
	char failed_rung[24];
	char cause[256];
	char *evidence[EVIDENCE_MAX]; /* owned; readiness_free() */
	size_t evidence_count;
	/* Filled when it succeeds. */
	const char *reached;
};

/* The rungs' names, in their order; NULL after the last. */
const char *readiness_rung(size_t i);
/* Is that the name of a rung? The error lists them. */
int readiness_check_rung(const char *rung, struct err *err);
int readiness_climb(const struct found *f, struct readiness *r, struct err *err);
void readiness_free(struct readiness *r);

#endif
