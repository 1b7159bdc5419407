/*
 * The wire codec: JSON objects over a stream socket, with file descriptors beside them.
 *
 * One codec serves QEMU, the guest agent, the keeper and the supervisor. Nothing here waits: the
 * caller polls `fd` for wire_events() and calls wire_read()/wire_flush() when it is ready.
 *
 * We write one object a line. We read as QEMU does: an object ends where its brackets close, with
 * or without a new line (the python qemu.qmp package sends none), and the byte 0xFF, which no
 * UTF-8 holds, makes both sides forget what was begun before it.
 *
 * Bounds: `limit` bytes and JSON_DEPTH_MAX levels per message. What exceeds them breaks the wire:
 * every later call says ERR_GONE with the reason. What is within them but is not JSON is dropped
 * and told by ERR_USAGE; the wire works on, and its owner decides (a server answers with an error,
 * the agent's client skips it, QEMU's client gives up by wire_break()). A peer that floods cannot
 * make us buffer more than one message beyond what the caller has taken.
 */
#ifndef QMP_WIRE_H
#define QMP_WIRE_H

#include <stdbool.h>

#include "base/json.h"
#include "base/sock.h"
#include "base/str.h"

#define WIRE_LINE_MAX ((size_t)16 * 1024 * 1024)
/* A peer that does not read is cut off when this much, or so many fds, wait for it. */
#define WIRE_OUT_MAX     ((size_t)32 * 1024 * 1024)
#define WIRE_OUT_FDS_MAX (2 * SOCK_FDS_MAX)

/* What the scanner is in the midst of. */
enum wire_state { WIRE_BETWEEN, WIRE_VALUE, WIRE_STRING, WIRE_ESCAPE, WIRE_JUNK };

/* An fd and the place in the stream, counted from its beginning, that it belongs to. */
struct wire_fd {
	uint64_t at;
	int fd;
};

struct wire {
	int fd;       /* owned; -1 when closed */
	size_t limit; /* of one message: WIRE_LINE_MAX, or what the owner sets */

	struct buf in;         /* what was read */
	size_t taken;          /* how much of `in` was taken as messages */
	size_t scanned;        /* how much of `in` the scanner has seen */
	enum wire_state state; /* of the scanner */
	unsigned depth;
	uint64_t received;                   /* bytes read since the beginning */
	struct wire_fd in_fds[SOCK_FDS_MAX]; /* received, not yet taken */
	size_t in_fd_count;

	struct buf out;                           /* what is to be written */
	size_t written;                           /* how much of `out` is on its way already */
	uint64_t sent;                            /* bytes written since the beginning */
	struct wire_fd out_fds[WIRE_OUT_FDS_MAX]; /* to go with a byte of `out`; owned */
	size_t out_fd_count;

	bool eof;         /* nothing more will be read */
	char broken[160]; /* why the wire is of no use any more; empty while it works */
};

/* Takes the fd (a connected, non-blocking stream socket) over. */
void wire_init(struct wire *w, int fd);
/* Closes everything, received fds too. Safe on an all-zero one whose fd is -1. */
void wire_close(struct wire *w);
/* Declares it of no use, for a reason that the owner found. Returns -1 with ERR_GONE. */
int wire_break(struct wire *w, const char *why, struct err *err);

/* What to poll for: POLLIN, and POLLOUT while something waits to be written. */
short wire_events(const struct wire *w);
/*
 * Reads what is there, at most 64 KiB: 1 when something came, 0 when nothing is there, -1 when
 * nothing will come any more (messages already buffered can still be taken).
 */
int wire_read(struct wire *w, struct err *err);
/*
 * The next whole message: 1 and *msg (an object, owned by the caller); 0 when none is complete
 * yet; -1 with ERR_USAGE when it was not JSON (call again), with ERR_GONE when the wire is broken or
 * at its end and nothing whole is left.
 */
int wire_next(struct wire *w, json_t **msg, struct err *err);
/* Fds that came with or before the message last taken; the caller owns what it takes (-1: none). */
int wire_take_fd(struct wire *w);

/*
 * Queues one message and tries to write it. `fds` are duplicated, so the caller keeps its own. -1
 * when the wire is broken, or the peer lets too much wait (which breaks it).
 */
int wire_send(struct wire *w, const json_t *msg, const int *fds, size_t fd_count, struct err *err);
/* The same with raw bytes (the agent's 0xFF marker; a line that goes to many). */
int wire_send_raw(struct wire *w, const void *data, size_t len, struct err *err);
int wire_flush(struct wire *w, struct err *err);

/*
 * What an error reply says, as an err. An error of roost's own keeps its kind, message and hint;
 * anybody else's is ERR_QEMU and "COMMAND: DESC". The text is the peer's, so it is cut to a
 * length and its control characters become spaces. Returns -1.
 */
int wire_error(const json_t *error, const char *command, struct err *err);

#endif
