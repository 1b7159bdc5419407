/* Hashing a password for a guest's /etc/shadow. */
#ifndef IMAGES_SEED_PASSWORD_H
#define IMAGES_SEED_PASSWORD_H

#include "base/err.h"

/* crypt(3)'s SHA-512 with a fresh salt, or `old` if that is a hash of it; freed by the caller. */
char *seed_hash_password(const char *password, const char *old, struct err *err);

#endif
