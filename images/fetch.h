/*
 * Of roost-fetch's own files only: one address is fetched, into a file or into memory.
 *
 * Redirects are followed here, not by libcurl, so that each step can be refused: never from https to
 * anything else, never to a file, never without end. Addresses are shown without what may be a
 * secret in them (user, password, query).
 */
#ifndef IMAGES_FETCH_H
#define IMAGES_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { FETCH_REDIRECTS_MAX = 10, FETCH_TEXT_MAX = 1 << 20 };

struct fetch_options {
	long stall_s;       /* given up when nothing to speak of has come for so long */
	const char *cacert; /* NULL: the system's */
	const char *proxy;  /* NULL: none, whatever the environment says */
};

/* Where the bytes go, and what is known of them; fd or text. */
struct fetch_to {
	int fd;
	int folder; /* where fetch.json lies, which tells what the file is a part of; -1: nowhere */
	struct buf *text; /* at most FETCH_TEXT_MAX */
	bool judged; /* a digest will tell whether it is right: so parts of two servers may be joined */
	bool resume;   /* what is there may be gone on from */
	int64_t done;  /* bytes that are there */
	int64_t total; /* -1: not known */
};

enum fetch_end {
	FETCH_DONE,
	FETCH_CUT,    /* it broke off: worth another try */
	FETCH_NEXT,   /* not from here; another address may serve it */
	FETCH_FAILED, /* from nowhere: the disk is full, the words are wrong */
};

/* Once, in the life of the program. */
int fetch_begin(struct err *err);
enum fetch_end fetch_one(
	const char *url, const struct fetch_options *o, struct fetch_to *to, struct err *err);
/* The address without secrets; freed by the caller. ERR_USAGE: none that we fetch. */
char *fetch_shown(const char *url, struct err *err);

/* ---- fetch_part.c: a file that is not whole yet ------------------------------------------------ */

/* What is known of a part; fetch.json. All zero: nothing. */
struct fetch_part {
	char url[1024]; /* as shown */
	char etag[256]; /* a strong one, else "" */
	int64_t total;  /* of the whole; -1: not known */
};

/* Of a file that has `done` bytes; all zero if it is not known or cannot be gone on from. */
void fetch_part_read(const struct fetch_to *to, struct fetch_part *out);
int fetch_part_write(const struct fetch_to *to, const struct fetch_part *part, struct err *err);

/* ---- roost-fetch.c: lines to whoever started us -------------------------------------------------- */

void fetch_tell(int64_t done, int64_t total);
void fetch_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
