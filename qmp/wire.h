/*
 * The wire codec: JSON values, one a line, over a stream socket, with file descriptors beside them.
 *
 * One codec serves QEMU, the guest agent, the keeper and the supervisor. Nothing here waits: the
 * caller polls `fd` for wire_events() and calls wire_read()/wire_flush() when it is ready.
 *
 * Bounds: WIRE_LINE_MAX bytes and JSON_DEPTH_MAX levels per message. What exceeds them, or is not
 * JSON, breaks the wire: every later call says ERR_GONE with the reason. A peer that floods cannot
 * make us buffer more than one message beyond what the caller has taken.
 */
#ifndef QMP_WIRE_H
#define QMP_WIRE_H

#include <stdbool.h>

#include "base/json.h"
#include "base/sock.h"
#include "base/str.h"

#define WIRE_LINE_MAX ((size_t)16 * 1024 * 1024)
/* A peer that does not read is cut off when this much waits for it. */
#define WIRE_OUT_MAX ((size_t)32 * 1024 * 1024)

struct wire {
	int fd;			/* owned; -1 when closed */
	struct buf in;		/* bytes not yet taken as a message */
	size_t scanned;		/* how much of `in` is known to hold no new line */
	struct buf out;		/* bytes not yet written */
	int in_fds[SOCK_FDS_MAX];
	size_t in_fd_count;	/* received, not yet taken */
	int out_fds[SOCK_FDS_MAX];
	size_t out_fd_count;	/* go with the byte at out_fd_at of `out`; owned */
	size_t out_fd_at;
	bool eof;
	char broken[160];	/* why nothing more comes; empty while it works */
};

/* Takes the fd (a connected, non-blocking stream socket) over. */
void wire_init(struct wire *w, int fd);
/* Closes everything, received fds too. Safe on an all-zero one whose fd is -1. */
void wire_close(struct wire *w);

/* What to poll for: POLLIN, and POLLOUT while something waits to be written. */
short wire_events(const struct wire *w);
/* Reads what is there. 0, or -1 when the wire is broken (messages already buffered can be taken). */
int wire_read(struct wire *w, struct err *err);
/*
 * The next whole message: 1 and *msg (owned by the caller); 0 when none is complete yet; -1 when
 * the wire is broken or at its end and nothing whole is left.
 */
int wire_next(struct wire *w, json_t **msg, struct err *err);
/* Fds that came with or before the message last taken; the caller owns what it takes (-1: none). */
int wire_take_fd(struct wire *w);

/*
 * Queues one message and tries to write it. `fds` are duplicated, so the caller keeps its own. -1
 * when the wire is broken or WIRE_OUT_MAX is exceeded (which breaks it).
 */
int wire_send(struct wire *w, const json_t *msg, const int *fds, size_t fd_count, struct err *err);
/* The same with raw bytes (the agent's 0xFF marker). */
int wire_send_raw(struct wire *w, const void *data, size_t len, struct err *err);
int wire_flush(struct wire *w, struct err *err);

#endif
