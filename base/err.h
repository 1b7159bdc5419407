/*
 * The error object: what failed, on which object, why; and apart from that, what to do about it.
 *
 * Every function that can fail takes a `struct err *` as its last parameter and returns -1 (or
 * NULL). Whoever makes the error fills it; callers on the way up may prefix it; it is printed
 * once, by the program. Libraries never print and never log.
 *
 *	if (file_read(dir, "guest.json", &text, err) < 0)
 *		return err_prefix(err, "guest '%s'", name);
 *
 * Out-parameters stay untouched on failure. `err` is never NULL.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>

/* What sort of failure; decides the exit code of a command. */
enum err_kind {
	ERR_NONE,      /* exit 0: nothing failed */
	ERR_USAGE,     /* exit 2: the caller's words or input are wrong; nothing was changed */
	ERR_NOT_FOUND, /* exit 3: no such guest, disk, file */
	ERR_BUSY,      /* exit 4: another operation is at work, or the thing is in use */
	ERR_REFUSED,   /* exit 5: valid words, but state, policy or permission forbid it */
	ERR_QEMU,      /* exit 6: QEMU or the guest said no */
	ERR_SYSTEM,    /* exit 7: the host failed us: a system call, a missing program */
	ERR_TIMEOUT,   /* exit 8: a deadline passed */
	ERR_GONE,      /* exit 9: the peer (QEMU, keeper, roostd, guest) ended meanwhile */
	ERR_KIND_MAX
};

struct err {
	enum err_kind kind;
	char message[768]; /* one phrase, no full stop, no new line */
	char hint[512];    /* what to do about it; may be empty */
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		.kind = ERR_NONE                                                                   \
	}

/* Fills *err; a hint that was there is dropped. Returns -1, so that `return err_set(...)` reads. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with ": " and the text of errno; kind ERR_SYSTEM (ENOENT: ERR_NOT_FOUND). */
int err_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "TEXT: " before the message. Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets the hint. Returns -1. */
int err_hint(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "usage", "not-found", ...: the word used in JSON. */
const char *err_kind_name(enum err_kind kind);
/* The other way; ERR_QEMU for a word that is not ours (QEMU's own "GenericError"). */
enum err_kind err_kind_of(const char *name);
int err_exit_code(enum err_kind kind);

#endif
