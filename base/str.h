/*
 * Strings: growing buffers, sizes as people write them, names.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A growing byte buffer, always followed by a NUL. All zero is an empty one. */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

#define _cleanup_buf_    _cleanup_(buf_free)
#define _cleanup_secret_ _cleanup_(buf_wipe)

void buf_add(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *s);
void buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for `len` more bytes at b->data + b->len; the caller adds to b->len what it filled. */
void buf_reserve(struct buf *b, size_t len);
/* Drops the first `len` bytes. */
void buf_drop(struct buf *b, size_t len);
void buf_free(struct buf *b);
/* The same of a secret, which is wiped. What it left behind while it grew is not: reserve before. */
void buf_wipe(struct buf *b);
/* The text (never NULL, owned by the caller); the buffer is empty afterwards. */
char *buf_steal(struct buf *b);

char *str_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/*
 * "512", "512M", "2G", "2GiB", "10GB": bytes. K, M, G, T and KiB ... are powers of 1024, KB ... of
 * 1000 (as libvirt reads them). `bare` is the unit in bytes of a number without suffix; 0 demands
 * a suffix. `what` names the thing in the error.
 */
int str_parse_size(
	const char *text, uint64_t bare, const char *what, uint64_t *bytes, struct err *err);
/* "500ms", "180s", "3m", "1h": milliseconds, more than none. The suffix is demanded. */
int str_parse_duration(const char *text, const char *what, int64_t *ms, struct err *err);
/* A decimal number within [min, max]; nothing before or after it. */
int str_parse_u64(const char *text, uint64_t min, uint64_t max, const char *what, uint64_t *out,
	struct err *err);
/* "512 MiB", "1.5 GiB": for people. Lives until the 8th next call. */
const char *str_size(uint64_t bytes);

/* The nearest of `names` (NULL-terminated) to a misspelt word, or NULL if none is near. */
const char *str_nearest(const char *word, const char *const *names);

/* `text` as one word for any POSIX shell, quoted if need be; freed by the caller. */
char *shell_word(const char *text);

/* Guest and network names: [A-Za-z0-9][A-Za-z0-9._-]{0,62}, not all digits, without "..". */
int name_check(const char *name, const char *what, struct err *err);

#endif
