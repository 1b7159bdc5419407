/*
 * The other side of a connection, played by a test: it says bytes, hears messages, and replays what
 * was recorded from QEMU (tests/replies). Everything happens in the test's own thread, so what
 * comes when is exactly what the test says.
 */
#ifndef TESTS_UNIT_PEER_H
#define TESTS_UNIT_PEER_H

#include "qmp/wire.h"

struct peer {
	struct wire wire; /* its end: used for hearing; what it says goes to wire.fd directly */
};

/* A pair of sockets: the peer gets one end, the other is returned. */
int peer_new(struct peer *p);
void peer_end(struct peer *p);
/* Says all of it; fails the test when it does not fit into the socket. */
void peer_say(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void peer_say_bytes(struct peer *p, const void *data, size_t len);
/* Says as much as fits; returns how much that was. */
size_t peer_say_some(struct peer *p, const void *data, size_t len);
/* What the peer has heard next; NULL when that is nothing. Owned by the caller. */
json_t *peer_hear(struct peer *p);
/* The same, but it must be there, and must be the command `command`; its id is stored in `id`. */
void peer_expect(struct peer *p, const char *command, char id[64]);
/* Says a greeting. */
void peer_greet(struct peer *p);

/* How many fds this process has open: for showing that none leaks. */
size_t open_fds(void);

/* ---- recordings ---- */

struct line {
	bool from_qemu;
	char *text; /* of the message, as it was said */
	bool raw;   /* said by the client as it stands, because it is no command */
	int64_t fds;
};

/* tests/replies/NAME.jsonl; *count lines, freed by replies_free(). Fails the test otherwise. */
struct line *replies_read(const char *name, size_t *count);
void replies_free(struct line *lines, size_t count);

#endif
