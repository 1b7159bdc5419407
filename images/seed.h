/*
 * What a NoCloud seed says to cloud-init: the texts of its files. Pure: no file is touched here;
 * the program roost-image makes the ISO 9660 image of them (see seed_request()).
 *
 * The guest gets its name, one user with keys and sudo, and the SSH host key that was issued for
 * it, so that the first connection is verified. A user-data of the caller's own is passed as
 * written; the host key then travels in vendor-data, which cloud-init merges beneath it.
 *
 * Everything from outside is checked and quoted: a name or key with a line break is refused, so
 * none can add a line of its own. The private key is a secret: it is wiped when freed, and goes to
 * roost-image over a pipe, never in argv.
 */
#ifndef IMAGES_SEED_H
#define IMAGES_SEED_H

#include <stddef.h>

#include "base/err.h"

struct seed {
	const char *instance_id; /* printable ASCII; a new one makes cloud-init run anew */
	const char *hostname;    /* labels of [A-Za-z0-9_-] with dots between them */
	const char *user;        /* [a-z_][a-z0-9_-]*, at most 32 */
	char *const *keys;       /* public keys, "ssh-ed25519 AAAA... comment" */
	size_t key_count;
	const char *host_key_private; /* PEM text; both or NULL */
	const char *host_key_public;  /* "ssh-ed25519 AAAA..." */
	const char *user_data;        /* the caller's own, UTF-8, as written; NULL: ours */
	const char *network_config;   /* as written; NULL: none */
};

struct seed_files {
	char *user_data;
	char *meta_data;
	char *vendor_data;    /* NULL: none */
	char *network_config; /* NULL: none */
};

/* As struct seed wants it. */
int seed_check_hostname(const char *name, struct err *err);
int seed_build(const struct seed *s, struct seed_files *out, struct err *err);
void seed_files_free(struct seed_files *f);

/*
 * The JSON object that `roost-image seed OUT` reads from its standard input; NULL if a text is not
 * UTF-8. Freed with seed_request_free(), which wipes it.
 */
char *seed_request(const struct seed_files *f, struct err *err);
void seed_request_free(char **request);

#endif
