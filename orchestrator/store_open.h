/*
 * The store of the instance at work, $STATE/images, as images/store.h wants it. Members of the group
 * look into the system's; what enters and leaves it, roostd sees to.
 */
#ifndef ORCHESTRATOR_STORE_OPEN_H
#define ORCHESTRATOR_STORE_OPEN_H

#include "images/image.h"
#include "images/store.h"

/* May we change it? Else roostd does, for members of the group: image_change.h. */
bool store_is_ours(void);
/* For looking. A store that nothing has entered yet may be missing: ERR_NOT_FOUND. */
int store_open(struct store *out, struct err *err);
/* For changing; made if it is missing. ERR_REFUSED: it is another user's. */
int store_open_to_change(struct store *out, struct err *err);
/*
 * A store of the caller's own, ~/.cache/roost/images, where a member of the group has what he fetches for the
 * system's until that has all of it.
 */
int store_open_own(struct store *out, struct err *err);
/* The file of that name; if there is none, that of the store's image; freed by the caller. */
char *store_path_of(const char *word);
/* image_look() of a file; what is in the store was looked at when it entered, and must be unchanged. */
int store_image_look(const char *path, struct image_look *out, struct err *err);
/* Images that are held (store_hold()) while something that is to stand on them is made. All zero: none. */
struct image_holds {
	int *fds;
	size_t count;
};
/* If it is the path of an image of the store. */
int image_hold(struct image_holds *h, const char *path, struct err *err);
void image_holds_end(struct image_holds *h);
#define _cleanup_image_holds_ _cleanup_(image_holds_end)
void store_close(struct store *s);
#define _cleanup_store_ _cleanup_(store_close)
#define STORE_NONE                                                                                 \
	(struct store)                                                                             \
	{                                                                                          \
		.dir = -1                                                                          \
	}

#endif
