/* Digests of the store's images, taken by roost-digest in a child. */
#include "images/store.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/signals.h"
#include "base/sock.h"
#include "base/str.h"

enum {
	SILENCE_MS = 60000,
	LINE_BYTES_MAX = 4096
}; /* it tells ten times a second, if it can read */

/* ---- digests as text ------------------------------------------------------------------------------ */

static const struct algorithm {
	const char *name, *prefix;
	size_t digits;
} algorithms[] = {
	{"sha256", "sha256:", 64},
	{"sha512", "sha512:", 128},
};

/* Its algorithm, and where its digits begin; NULL: it is none. */
static const struct algorithm *parse(const char *digest, const char **hex)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		const struct algorithm *a = &algorithms[i];
		bool named = str_starts(digest, a->prefix);
		const char *digits = named ? digest + strlen(a->prefix) : digest;
		if (strlen(digits) == a->digits &&
			!digits[strspn(digits, "0123456789abcdefABCDEF")]) {
			*hex = digits;
			return a;
		}
	}
	return NULL;
}

int store_digest_check(const char *digest, struct err *err)
{
	const char *hex;
	if (parse(digest, &hex))
		return 0;
	err_set(err, ERR_USAGE, "'%.140s' is no digest", digest);
	return err_hint(err, "64 hexadecimal digits (SHA-256) or 128 of them (SHA-512)");
}

/* ---- the child ------------------------------------------------------------------------------------ */

/* The length of its next line, which is in *text until that is dropped, with its end. */
static ssize_t next_line(int fd, struct buf *text, struct err *err)
{
	int64_t deadline = deadline_in(SILENCE_MS);
	for (;;) {
		const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
		if (end)
			return end - text->data + 1;
		int ready = signals_or_readable(fd, deadline, err);
		if (ready < 0)
			return -1;
		if (ready == 0)
			return err_set(err, ERR_TIMEOUT,
				"the image cannot be read: %d s without a byte", SILENCE_MS / 1000);
		buf_reserve(text, LINE_BYTES_MAX);
		ssize_t n = read(fd, text->data + text->len, LINE_BYTES_MAX);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		/* ^C at a terminal is for it, too */
		if (n <= 0 || text->len > LINE_BYTES_MAX)
			return signals_check(err) < 0
				       ? -1
				       : err_set(err, ERR_SYSTEM, "roost-digest died");
		text->len += (size_t)n;
	}
}

/* Its last line, which has the digests. */
static json_t *listen_to(const struct store *s, int fd, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	for (ssize_t len; (len = next_line(fd, &text, err)) >= 0;) {
		_cleanup_json_ json_t *o = json_text_parse(text.data, (size_t)len, err);
		if (!o)
			return NULL;
		buf_drop(&text, (size_t)len);
		if (json_object_get(o, "error")) {
			json_to_err(json_object_get(o, "error"), err);
			return NULL;
		}
		if (!json_object_get(o, "done"))
			return TAKE(o);
		if (s->told)
			s->told(s->about, "digest", json_get_int(o, "done", 0),
				json_get_int(o, "total", 0));
	}
	return NULL;
}

static int hold_against(
	const struct algorithm *a, const char *wanted, const char *found, struct err *err)
{
	if (strcasecmp(wanted, found) == 0)
		return 0;
	err_set(err, ERR_REFUSED, "its digest is %s%s, not %s", a->prefix, found, wanted);
	return err_hint(err, "it is not the image that was meant, or it was damaged on its way");
}

int store_digest(const struct store *s, int fd, const char *like, char out[STORE_DIGEST_SIZE],
	struct err *err)
{
	const char *wanted = NULL;
	const struct algorithm *a = like ? parse(like, &wanted) : &algorithms[0];
	if (!a)
		return store_digest_check(like, err);
	const char *argv[] = {s->digester, "sha256", a == &algorithms[0] ? NULL : a->name, NULL};
	_cleanup_(child_end) struct child c = CHILD_NONE;
	if (child_start_on(argv, fd, &c, err) < 0)
		return -1;
	_cleanup_json_ json_t *said = listen_to(s, c.out, err);
	if (!said)
		return -1;
	const char *found = json_get_str(said, a->name, "");
	if (like && hold_against(a, wanted, found, err) < 0)
		return -1;
	snprintf(out, STORE_DIGEST_SIZE, "sha256:%s", json_get_str(said, "sha256", ""));
	return 0;
}
