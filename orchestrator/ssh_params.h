/*
 * The parameters of roost-ssh: one JSON object, checked as a whole before anything is done. The
 * keys are documented in roost-ssh.c.
 */
#ifndef ORCHESTRATOR_SSH_PARAMS_H
#define ORCHESTRATOR_SSH_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Where to, who we are, and whom we expect there. Strings are borrowed from the JSON object. */
struct remote {
	const char *address; /* literal IPv4 or IPv6, with %scope if need be */
	int port;
	const char *network;  /* whose holder dials; NULL: we do, where we are */
	const char *instance; /* whose network that is: "system", "session" */
	const char *host_key; /* "TYPE BASE64 [COMMENT]"; NULL when none was issued */
	bool trust_first;     /* without an issued key: accept any, and tell which */
	const char *guest;    /* what people call it */
	const char *user;
	json_t *identities; /* texts: private keys in PEM, or files that hold one; may be NULL */
	bool agent;         /* ask the SSH agent after them */
	bool ask;           /* then somebody at the terminal, if there is one */
	int64_t connect_ms; /* from the first connect() to being logged in (exec, copy) */
};

/* The rungs that roost-ssh climbs, in their order. */
enum rung {
	RUNG_TCP,        /* something accepts connections */
	RUNG_BANNER,     /* and speaks SSH */
	RUNG_HOST_KEY,   /* and has the host key that we issued */
	RUNG_LOGIN,      /* and lets us in */
	RUNG_CLOUD_INIT, /* and cloud-init is done */
	RUNG_PROBES,     /* and the user's commands succeed */
	RUNG_MAX
};
const char *rung_name(enum rung rung);

struct keygen_params {
	const char *type, *comment;
	const char *passphrase; /* NULL for none */
};

struct climb_params {
	bool wanted
		[RUNG_MAX]; /* reported and waited for; lower ones up to LOGIN are needed anyway */
	enum rung last;
	json_t *probes;                /* texts; may be NULL */
	int64_t deadline_ms[RUNG_MAX]; /* from the rung before it; 0 is none of its own */
	int64_t total_ms;
};

enum pty { PTY_AUTO, PTY_YES, PTY_NO };
struct exec_params {
	const char *command; /* NULL: the login shell */
	enum pty pty;
	json_t *env; /* object of texts; may be NULL */
	const char *term;
	const char *dial_address; /* instead of a command: a TCP connection made in the guest */
	int dial_port;            /* 0: none */
	bool probe;               /* only whether it can be made */
};

enum direction { COPY_TO, COPY_FROM };
struct copy_params {
	enum direction direction;
	json_t *local;  /* texts */
	json_t *remote; /* texts */
	bool recursive;
	bool preserve;
	int64_t stall_ms; /* no byte for so long ends the copy */
};

struct authorize_params {
	json_t *keys; /* texts: lines of authorized_keys */
};

/*
 * Each reads its own keys and those of `remote` if it has one; an unknown key is an error. What they
 * return borrows from `o`.
 */
int keygen_params(json_t *o, struct keygen_params *out, struct err *err);
int pubkey_params(json_t *o, const char **private, struct err *err);
int scan_params(json_t *o, struct remote *r, struct err *err);
int climb_params(json_t *o, struct remote *r, struct climb_params *out, struct err *err);
int exec_params(json_t *o, struct remote *r, struct exec_params *out, struct err *err);
int copy_params(json_t *o, struct remote *r, struct copy_params *out, struct err *err);
int authorize_params(json_t *o, struct remote *r, struct authorize_params *out, struct err *err);

/* The object on `fd`: read to its end within 10 s, at most 1 MiB. NULL on failure. */
json_t *params_read(int fd, struct err *err);

#endif
