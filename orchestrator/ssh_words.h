/*
 * The texts a guest's SSH server sends us, read without trust: version line, cloud-init's status,
 * records of the scp protocol, file names, key texts. Pure functions, fuzzed.
 */
#ifndef ORCHESTRATOR_SSH_WORDS_H
#define ORCHESTRATOR_SSH_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* RFC 4253, 4.2: the longest version line, its line end included. */
#define BANNER_MAX_LEN 255

enum banner {
	BANNER_MORE,        /* nothing wrong so far, but the line has not ended */
	BANNER_SSH,         /* a whole version line of protocol 2 */
	BANNER_TURNED_AWAY, /* OpenSSH saying that it takes no connection now */
	BANNER_NOT_SSH,     /* whatever this is, it is not SSH 2 */
};
/* What the first bytes of a connection are. A server speaks first in SSH. */
enum banner banner_classify(const char *data, size_t len);

enum cloud_state {
	CLOUD_UNKNOWN, /* no status line in the text */
	CLOUD_ABSENT,  /* not installed */
	CLOUD_DISABLED,
	CLOUD_RUNNING,
	CLOUD_DONE,
	CLOUD_DEGRADED, /* done, with errors that cloud-init calls recoverable */
	CLOUD_ERROR,
	CLOUD_STATE_MAX
};
/* The words for it, "done". */
const char *cloud_state_name(enum cloud_state state);
/*
 * Reads the text of `cloud-init status --long`, of versions from 17 to 25. `detail` (appended to)
 * gets what cloud-init says about it: its errors if there are any.
 */
enum cloud_state cloud_status_parse(const char *text, size_t len, struct buf *detail);

enum scp_kind { SCP_FILE, SCP_ENTER, SCP_LEAVE, SCP_TIMES, SCP_WARNING, SCP_FATAL };
struct scp_record {
	enum scp_kind kind;
	mode_t mode;      /* FILE, ENTER */
	uint64_t size;    /* FILE */
	int64_t modified; /* TIMES, seconds */
	int64_t accessed;
	const char *text; /* the name (FILE, ENTER) or the message; points into the line */
};
/* One line of the protocol without its new line. A name is checked by peer_name_check(). */
int scp_record_parse(const char *line, struct scp_record *out, struct err *err);

/* A name inside a folder, told by the other side: no "/", not "", "." or "..". */
int peer_name_check(const char *name, struct err *err);

/* The same key? Texts "TYPE BASE64 [COMMENT]"; type and blob must be equal byte by byte. */
bool key_text_same(const char *a, const char *b);
/* "ssh-ed25519", copied out of a key text; -1 if the text is not of that form. */
int key_text_type(const char *text, char *out, size_t size);

/* For people and for JSON: control characters, and bytes that are not UTF-8, become \xNN. */
char *text_shown(const char *bytes, size_t len);
/* 15 for "TERM"; 0 for a name RFC 4254 does not know. */
int signal_number(const char *name);
/* The other way; NULL if RFC 4254 has no name for it. */
const char *signal_name(int number);

#endif
