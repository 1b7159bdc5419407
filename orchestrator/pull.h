/*
 * An image from a server into the store: the publisher's digest first, then the bytes, by the program
 * roost-fetch; then the store looks whether they are what was promised (images/store.h).
 *
 * What has come stays, in the store's hidden folder, when the connection, the disk or the user's
 * patience ended; a later pull of that name goes on from there. What is not what was promised goes.
 *
 * For the system's store a member of the group fetches with his own rights into a store of his own
 * (store_open_own()), and roostd takes it from there.
 */
#ifndef ORCHESTRATOR_PULL_H
#define ORCHESTRATOR_PULL_H

#include "images/store.h"

struct pull {
	const char *name;   /* as which it enters */
	const json_t *urls; /* addresses, texts, of the same; tried in this order */
	const char *digest; /* that it must have, see store_digest_check(); NULL: see checksum */
	const char *
		checksum_url; /* where the publisher's list of digests is; NULL: it is not verified */
	const char *cacert;   /* a file of certificates instead of the system's; NULL */
	const char *proxy;    /* NULL: none */
	int64_t stall_ms;     /* a server that sends nothing for so long is given up */
	bool quiet;
	struct store_facts facts; /* source is filled in */
};

/* *image: as image.json has it, with its name. */
int pull_image(const struct pull *p, json_t **image, struct err *err);

#endif
