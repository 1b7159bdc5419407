/*
 * A deadline over library code that blocks.
 *
 * libssh waits for the peer in calls of its own. We hold its socket: when the deadline passes, or
 * a signal asks us to end, the handler shuts the socket down, the call sees the end of the
 * connection and returns, and the caller finds out here why. Should it not return even then (an
 * SSH agent that never answers), the handler says the last words and ends the program.
 *
 * One watch at a time; the program has no other use for SIGALRM.
 */
#ifndef ORCHESTRATOR_SSH_WATCH_H
#define ORCHESTRATOR_SSH_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Installs the handlers, for SIGALRM and also for SIGINT, SIGTERM, SIGHUP if `ends`. */
void watch_init(bool ends);
/* What is written to `fd` before the program ends with `status` by force. `text` is kept. */
void watch_last_words(int fd, const char *text, int status);

/* From now on until watch_stop(), or moves the deadline of the running watch. */
void watch_start(int socket_fd, int64_t deadline);
void watch_move(int64_t deadline);
void watch_stop(void);
/* Did the running or the last watch reach its deadline? */
bool watch_expired(void);
/* The signal that asks us to end, or 0. Stays once set. */
int watch_signal(void);

#endif
