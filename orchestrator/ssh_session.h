/*
 * A session with a guest's SSH server, one step after the other:
 *
 *	session_start()       key exchange over a connection of ssh_dial.h
 *	session_check_host()  is it the guest that we mean?
 *	session_login()       as which of our identities?
 *	session_run(), talk_open(), ... or libssh itself through ssh_libssh.h
 *	session_end()
 *
 * The calls block; session_start() begins a watch (ssh_watch.h) that bounds them, whose deadline
 * the caller may move. session_open() does all of this for those who want a session or nothing.
 */
#ifndef ORCHESTRATOR_SSH_SESSION_H
#define ORCHESTRATOR_SSH_SESSION_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "orchestrator/ssh_params.h"
#include "orchestrator/ssh_report.h"

struct session;
struct talk;

/* Takes `fd` in any case, and watches it until `deadline`, and on until session_end(). */
struct session *session_start(
	int fd, int64_t deadline, const struct remote *r, enum reason *why, struct err *err);
/* *text is the host key as a text, whether accepted or not; freed by the caller. */
int session_check_host(
	struct session *s, const struct remote *r, char **text, enum reason *why, struct err *err);
/* *method says what was accepted: for people; freed by the caller. */
int session_login(struct session *s, const struct remote *r, char **method, enum reason *why,
	struct err *err);
/* Connects to see the host key, whichever it is: its text and its "SHA256:...", both freed by the caller. */
int session_scan(
	const struct remote *r, char **text, char **fingerprint, enum reason *why, struct err *err);
/* Connects, checks, logs in, within r->connect_ms. The watch has no deadline afterwards. */
struct session *session_open(const struct remote *r, enum reason *why, struct err *err);
void session_end(struct session *s);
static inline void session_cleanup(struct session **s)
{
	session_end(*s);
}
#define _cleanup_session_ _cleanup_(session_cleanup)

/*
 * Runs a command without input, to its end. `tail` gets the last 2 KiB of its output and errors.
 * *status: what it exited with, or 128 and the signal that killed it.
 */
int session_run(struct session *s, const char *command, struct buf *tail, int *status,
	enum reason *why, struct err *err);

/* A command to talk with, in blocking calls. */
struct talk *talk_open(struct session *s, const char *command, struct err *err);
/* Exactly `len` bytes. The end of the stream before that is ERR_GONE. */
int talk_read(struct talk *t, void *data, size_t len, struct err *err);
/* What is there, at least a byte and at most `len`; 0 at the end of the stream. */
ssize_t talk_read_some(struct talk *t, void *data, size_t len, struct err *err);
int talk_write(struct talk *t, const void *data, size_t len, struct err *err);
/* What the command wrote to its standard error so far, at most `len` - 1 bytes, as a text. */
void talk_errors(struct talk *t, char *text, size_t len);
void talk_close(struct talk *t);

/* The public half of a private key's PEM text, "TYPE BASE64"; freed by the caller. */
char *key_public(const char *private_pem, struct err *err);
/* The key of a line "TYPE BASE64 [COMMENT]", without the comment; freed by the caller. NULL if it is none. */
char *key_in_line(const char *line);
/* A fresh pair, the private half in a format that OpenSSH reads: texts to be freed by the caller. */
struct key_pair {
	char *private_pem; /* a secret */
	char *public_text; /* the line for authorized_keys */
	char *fingerprint; /* "SHA256:..." */
};
/* `type`: "ssh-ed25519", "ecdsa-sha2-nistp256" (384, 521) or "ssh-rsa"; `passphrase` NULL: none. */
int keys_generate(const char *type, const char *comment, const char *passphrase,
	struct key_pair *out, struct err *err);

#endif
