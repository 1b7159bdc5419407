/*
 * The client's face: commands out, replies and events in. For QEMU, a keeper, and roostd alike.
 *
 * Two ways to use it.
 *
 * Blocking, for programs with one peer (the CLI):
 *
 *	struct qmp *q = qmp_connect(path, deadline_in(2000), err);
 *	json_t *reply;
 *	if (qmp_call(q, "query-status", NULL, deadline_in(500), &reply, err) < 0) ...
 *
 * Driven, for a process that waits for many things (the keeper's guest_wait): poll qmp_fd() for
 * qmp_events(), call qmp_pump() when ready, and take replies and events as they come:
 *
 *	uint64_t call = qmp_send(q, "stop", NULL, NULL, 0, err);
 *	... poll, qmp_pump() ...
 *	switch (qmp_take_reply(q, call, &reply, err)) { case 1: done; case 0: not yet; case -1: ... }
 *
 * Ids are "PREFIX-N" with a random prefix per connection: QEMU gives a reply to a client that has
 * gone to the next one, so a reply with an id that is not ours is dropped and counted.
 * An error reply of the peer becomes an err as wire_error() says: "COMMAND: DESC" with ERR_QEMU for
 * QEMU's own, one of roost's own unchanged. When the peer goes, every pending call fails with
 * ERR_GONE and one synthetic event {"event":"QMP_GONE","data":{"reason":...}} is queued.
 *
 * Nothing is written before the greeting (but by qmp_start_eager()): a peer that never serves us
 * must not find our commands in its socket when we are gone. At most QMP_EVENTS_MAX events wait to
 * be taken (and 8 MiB of them); older ones are dropped and counted as strays.
 */
#ifndef QMP_CLIENT_H
#define QMP_CLIENT_H

#include "qmp/wire.h"

struct qmp;

/* How long commands may take, in ms (DESIGN.md 2). */
enum { QMP_LOOK_MS = 500, QMP_BLOCK_MS = 5000, QMP_HEAVY_MS = 30000 };
enum { QMP_EVENTS_MAX = 1024 };

/*
 * Connects, reads the greeting and negotiates capabilities, all before `deadline`. Events that
 * come meanwhile are queued. Path's errors as in sock_connect(); a silent peer is ERR_TIMEOUT. Here and in all that waits
 * below: if the host stands still meanwhile, the other side has what was left once more.
 */
struct qmp *qmp_connect(const char *path, int64_t deadline, struct err *err);
/* The same on a connected socket, which it takes over even on failure. */
struct qmp *qmp_open(int fd, int64_t deadline, struct err *err);
/*
 * The same without waiting: the greeting and the negotiation happen inside qmp_pump();
 * commands may be sent at once and go out when the peer is ready for them.
 */
struct qmp *qmp_start(int fd);
/*
 * The same for a peer that serves nobody else, such as a child just spawned: nothing waits for its
 * greeting, so that it finds its commands when it comes to look.
 */
struct qmp *qmp_start_eager(int fd);
void qmp_close(struct qmp *q);
static inline void qmp_cleanup(struct qmp **q)
{
	qmp_close(*q);
}
#define _cleanup_qmp_ _cleanup_(qmp_cleanup)

int qmp_fd(const struct qmp *q);
short qmp_events(const struct qmp *q);
/* Reads, writes and sorts what is there; never waits. -1 once the peer has gone. */
int qmp_pump(struct qmp *q, struct err *err);
/* Negotiated: the peer has answered qmp_capabilities. */
bool qmp_ready(const struct qmp *q);
bool qmp_gone(const struct qmp *q);
/* The greeting's "QMP" object; NULL before it came; borrowed. */
const json_t *qmp_greeting(const struct qmp *q);

/*
 * Sends a command; `args` (may be NULL) is stolen; fds travel with it and stay the caller's.
 * Returns a call number (> 0) to take the reply with, or 0 on failure.
 */
uint64_t qmp_send(struct qmp *q, const char *command, json_t *args, const int *fds, size_t fd_count,
	struct err *err);
/* 1: *reply is the "return" value, owned; 0: not yet; -1: the error reply, or the peer has gone. */
int qmp_take_reply(struct qmp *q, uint64_t call, json_t **reply, struct err *err);
/*
 * The whole reply object ({"return":...} or {"error":...}, without id) for passing through; same
 * results; -1 only when the peer has gone.
 */
int qmp_take_raw_reply(struct qmp *q, uint64_t call, json_t **reply, struct err *err);
/* We no longer want it; it is dropped when it comes. What is still held is never sent. */
void qmp_forget(struct qmp *q, uint64_t call);
/* Is any call unanswered? Since when (clock_ms) is the oldest one waiting? 0 if none. */
int64_t qmp_oldest_call(const struct qmp *q);
/* Fds that came with replies (from a peer that passes some); -1 if none. */
int qmp_take_fd(struct qmp *q);

/* The next queued event (the whole object), owned by the caller; NULL if none is queued. */
json_t *qmp_next_event(struct qmp *q);
/* Waits for the next event of that name (NULL: any); others before it are dropped. */
json_t *qmp_wait_event(struct qmp *q, const char *name, int64_t deadline, struct err *err);

/* Sends and waits; only for programs with nothing else to wait for. *reply may be NULL. */
int qmp_call(struct qmp *q, const char *command, json_t *args, int64_t deadline, json_t **reply,
	struct err *err);
int qmp_call_fds(struct qmp *q, const char *command, json_t *args, const int *fds, size_t fd_count,
	int64_t deadline, json_t **reply, struct err *err);

/* Replies and messages that matched no call of ours, and events dropped because nobody took them. */
uint64_t qmp_strays(const struct qmp *q);

#endif
