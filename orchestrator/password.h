/* Passwords of users in guests: hashed as soon as they are read, and never kept otherwise. */
#ifndef ORCHESTRATOR_PASSWORD_H
#define ORCHESTRATOR_PASSWORD_H

#include "base/err.h"

/*
 * Of the one line in `file` ("-": of standard input, asked for at a terminal), as crypt(3) makes it:
 * SHA-512, which every guest knows; or `old`, which may be NULL, if that is a hash of it already, so
 * that a guest that is defined again stays as it is. Runs roost-image. Freed by the caller.
 */
char *password_hash_of(const char *file, const char *old, struct err *err);

#endif
