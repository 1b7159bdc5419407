/*
 * The store of the instance at work, $STATE/images, as images/store.h wants it. Members of the group
 * look into the system's; what enters and leaves it, root decides.
 */
#ifndef ORCHESTRATOR_STORE_OPEN_H
#define ORCHESTRATOR_STORE_OPEN_H

#include "images/image.h"
#include "images/store.h"

/* For looking. A store that nothing has entered yet may be missing: ERR_NOT_FOUND. */
int store_open(struct store *out, struct err *err);
/* For changing; made if it is missing. ERR_REFUSED: it is another user's. */
int store_open_to_change(struct store *out, struct err *err);
/* image_look() of a file; what is in the store was looked at when it entered, and must be unchanged. */
int store_image_look(const char *path, struct image_look *out, struct err *err);
void store_close(struct store *s);
#define _cleanup_store_ _cleanup_(store_close)
#define STORE_NONE                                                                                 \
	(struct store)                                                                             \
	{                                                                                          \
		.dir = -1                                                                          \
	}

#endif
