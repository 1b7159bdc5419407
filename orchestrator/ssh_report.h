/*
 * How roost-ssh tells what happened: the reasons a connection can fail for, and JSON lines.
 */
#ifndef ORCHESTRATOR_SSH_REPORT_H
#define ORCHESTRATOR_SSH_REPORT_H

#include <jansson.h>

#include "base/err.h"

/* Why an attempt came to its end. The word goes to machines, the cause to people. */
enum reason {
	REASON_NONE,
	REASON_REFUSED,       /* connect() was refused */
	REASON_UNREACHABLE,   /* no route, or an ICMP error */
	REASON_UNANSWERED,    /* no answer to the SYN */
	REASON_SILENT,        /* accepted, not a byte */
	REASON_CLOSED,        /* accepted, then closed without a banner */
	REASON_DRIBBLE,       /* part of a banner */
	REASON_TURNED_AWAY,   /* sshd says: not now */
	REASON_NOT_SSH,       /* another protocol */
	REASON_KEY_EXCHANGE,  /* a banner, but no key exchange */
	REASON_KEY_UNKNOWN,   /* no key was issued and none may be trusted */
	REASON_KEY_MISMATCH,  /* not the key that was issued */
	REASON_LOGIN_REFUSED, /* no identity was accepted */
	REASON_LOST,          /* the connection ended in the middle */
	REASON_SLOW,          /* a step did not end in its time */
	REASON_NO_COMMAND,    /* the server runs no command for us */
	REASON_CLOUD_RUNNING, /* cloud-init is not done */
	REASON_CLOUD_ERROR,   /* cloud-init is done and failed */
	REASON_PROBE,         /* a probe failed */
	REASON_MAX
};
/* "connection-refused" */
const char *reason_word(enum reason why);
/* A sentence: the likely cause. "" for REASON_NONE. */
const char *reason_cause(enum reason why);
/* The error kind it has when nobody waits any longer. */
enum err_kind reason_kind(enum reason why);

/* Fills *why and *err in one; returns -1. */
#define FAIL(why, reason, err, ...)                                                                \
	(*(why) = (reason), err_set(err, reason_kind(reason), __VA_ARGS__))

/* One line on standard output; consumes `line`. A reader that has gone ends the program. */
void report(json_t *line);
/* {"error":...} on standard output. Returns the exit status. */
int report_error(const struct err *err);

#endif
