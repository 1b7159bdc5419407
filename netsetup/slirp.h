/*
 * slirp4netns: a network stack in user space, which leads from a user's network namespace to the world as far as that user
 * himself may go, but not to the host's own loopback.
 *
 * It enters the user namespace of the process that it serves, and with that loses its death signal: so it watches a pipe whose
 * other end we hold, and ends when that is closed.
 */
#ifndef NETSETUP_SLIRP_H
#define NETSETUP_SLIRP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct slirp;

/* Its program, by ROOST_SLIRP4NETNS or PATH, freed by the caller; NULL: there is none. */
char *slirp_path(void);

struct slirp_plan {
	pid_t inner;           /* whose namespaces */
	const char *interface; /* of the tap that it makes there */
	const char *
		net; /* "10.0.2.0/24": there, .100 is the tap's own address, .2 the way out, .3 answers DNS */
	bool ipv6;
};
/* Returns when the tap is there, with address and default route; what it complains of is the error. Strings must stay. */
struct slirp *slirp_start(const struct slirp_plan *plan, struct err *err);
/* Ends it and waits for that. NULL is allowed. */
void slirp_stop(struct slirp *s);

/* 0: it is just not there. */
pid_t slirp_pid(const struct slirp *s);
/* What it said last, or "". */
const char *slirp_said(const struct slirp *s);

/* For the owner's poll(): at most 2 entries. */
size_t slirp_poll_fds(const struct slirp *s, struct pollfd *fds);
/* When slirp_look() is due though nothing stirs; DEADLINE_NONE as a rule. */
int64_t slirp_deadline(const struct slirp *s);
/* Takes what it says, sees that it ended, starts it anew, sooner or later. True: slirp_pid() has changed. */
bool slirp_look(struct slirp *s);

#endif
