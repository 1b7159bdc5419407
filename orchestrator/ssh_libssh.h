/*
 * What the files that include libssh share: ssh_session.c, ssh_login.c, ssh_keys.c, ssh_exec.c and ssh_sftp.c.
 * No other file of roost sees a type of libssh.
 */
#ifndef ORCHESTRATOR_SSH_LIBSSH_H
#define ORCHESTRATOR_SSH_LIBSSH_H

#include <libssh/libssh.h>

#include "orchestrator/ssh_session.h"

struct session {
	ssh_session ssh;
	const struct remote *remote;
};

/*
 * A session is non-blocking for libssh. A call that answers `again` (SSH_AGAIN, SSH_AUTH_AGAIN) is
 * repeated when the socket has something, until it is done or the connection is over. (In libssh's
 * blocking mode a call goes on waiting, for a socket closed already, when the server disconnects.)
 */
#define UNTIL_DONE(session, call, again)                                                           \
	({                                                                                         \
		int _rc;                                                                           \
		while ((_rc = (call)) == (again) && session_wait(session))                         \
			;                                                                          \
		_rc;                                                                               \
	})
/* Until the socket has something for libssh. False when libssh has closed it. */
bool session_wait(struct session *s);

static inline void cleanup_key(ssh_key *key)
{
	ssh_key_free(*key);
	*key = NULL;
}
#define _cleanup_key_ _cleanup_(cleanup_key)

/* "SHA256:...", freed by the caller. */
char *key_fingerprint(ssh_key key);
/* "ssh-ed25519 AAAA...", freed by the caller. */
char *key_text(ssh_key key);
/* The key that a text TYPE BASE64 holds; NULL if it holds none. */
ssh_key key_of_text(const char *text);
/*
 * A private key from PEM text or a file. Never asks for a passphrase: without one (NULL) a key that needs it is NULL with
 * ERR_REFUSED.
 */
ssh_key identity_load(const char *identity, const char *passphrase, struct err *err);
/* A text and no path, so that it must not be shown. */
bool identity_is_text(const char *identity);

/* Fills *err from libssh and the watch: a time-out, a signal, or libssh's own words. Returns -1. */
int session_fail(
	struct session *s, enum reason reason, enum reason *why, struct err *err, const char *what);

#endif
