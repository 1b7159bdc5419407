/*
 * What a NoCloud seed says to cloud-init: the content of its files. Pure: no file is touched here;
 * the program roost-image makes the image of them (see seed_request()).
 *
 * The guest gets its name, one user with keys and sudo, and the SSH host key that was issued for
 * it, so that the first connection is verified. What is the caller's own is passed as written. If
 * user-data is, the host key travels in vendor-data, which cloud-init merges beneath it, together with
 * a vendor-data of the caller's.
 *
 * Everything from outside is checked and quoted: a name or key with a line break is refused, so
 * none can add a line of its own. The private key is a secret: it is wiped when freed, and goes to
 * roost-image over a pipe, never in argv.
 */
#ifndef IMAGES_SEED_H
#define IMAGES_SEED_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct seed {
	const char *instance_id; /* printable ASCII; a new one makes cloud-init run anew */
	const char *hostname;    /* labels of [A-Za-z0-9_-] with dots between them */
	const char *user;        /* [a-z_][a-z0-9_-]*, at most 32 */
	char *const *keys;       /* public keys, "ssh-ed25519 AAAA... comment" */
	size_t key_count;
	char *const *image_user_keys; /* the same, of the user whom the image makes by itself */
	size_t image_user_key_count;
	bool once; /* when it has run, it switches cloud-init off: /etc/cloud/cloud-init.disabled */
	const char *host_key_private; /* PEM text; both or NULL */
	const char *host_key_public;  /* "ssh-ed25519 AAAA..." */
	const char *password_hash; /* of the user, as crypt(3) makes it; NULL: none, and locked */
	/* the caller's own, which seed_check_text() takes; NULL: ours, or none */
	const struct buf *user_data, *meta_data, *vendor_data, *network_config;
};

/* Their content; one whose `data` is NULL is not there. */
struct seed_files {
	struct buf user_data, meta_data, vendor_data, network_config;
};

/* As struct seed wants it. */
int seed_check_hostname(const char *name, struct err *err);
/* UTF-8 without a NUL byte; or, if `packed` may be, gzip's. `what` names it: "user-data 'FILE'". */
int seed_check_text(const char *what, const struct buf *text, bool packed, struct err *err);
int seed_build(const struct seed *s, struct seed_files *out, struct err *err);
void seed_files_free(struct seed_files *f);

/* What is made of them, by the names that people use. */
struct seed_kind {
	const char *filesystem; /* "iso9660", "vfat" */
	const char *format;     /* "raw", "qcow2" */
};
/*
 * What `roost-image seed OUT` reads from its standard input: a line with a JSON object, which has the
 * kind and, under the name of each file that is there, its size in bytes; then their contents, in the
 * order user-data, meta-data, vendor-data, network-config. A secret: buf_wipe().
 */
void seed_request(const struct seed_files *f, const struct seed_kind *kind, struct buf *out);

#endif
