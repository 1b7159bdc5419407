/*
 * MIME messages (RFC 2045 and 2046), as far as user-data is one: headers, multiparts within multiparts, base64 and
 * quoted-printable. What Python's email package, which cloud-init reads them with, would silently mend is an error here.
 */
#ifndef ORCHESTRATOR_MIME_H
#define ORCHESTRATOR_MIME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* One that is no multipart. */
struct mime_part {
	const char *type; /* "text/cloud-config", in lower case */
	const char *
		name; /* that it has as a file; else "part-001" and so on, as cloud-init calls it */
	const char *text; /* decoded, with a NUL behind it */
	size_t len;
	unsigned line; /* of the message, where it begins */
	bool encoded;  /* its lines are not the message's */
};
typedef int mime_part_fn(void *about, const struct mime_part *p, struct err *err);

/* Calls `fn` with each part until it returns -1. Errors are ERR_USAGE "WHAT:LINE: ...". */
int mime_parts(const char *what, const char *text, size_t len, mime_part_fn *fn, void *about,
	struct err *err);

#endif
