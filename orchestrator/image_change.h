/*
 * What changes the store: import, rm, tag, gc, verify. Each takes its arguments as JSON, as roostd's commands
 * roost-image-... have them, and answers in JSON. Whoever may write to the store does it himself; for a member of
 * the group, who may not, a worker of roostd does the same (roostd_images.c). Which of the two it is,
 * image_ask() knows.
 *
 *	roost-image-import	{"image", "file", "format", "convert", "digest", "facts", "fds"}: the image
 *	roost-image-rm	{"image"}: {"removed"}
 *	roost-image-tag	{"image", "tag", "remove"}: the image
 *	roost-image-gc	{}: {"removed": [...]}
 *	roost-image-verify	{"image"}: {}
 *
 * "image" is a name. The source of an import is an open file, "fds" has its number: nobody's name is followed
 * with rights that are not his; "file" is what errors call it. "facts" are store_facts. An image is told as image.json has it, with its
 * name and path.
 */
#ifndef ORCHESTRATOR_IMAGE_CHANGE_H
#define ORCHESTRATOR_IMAGE_CHANGE_H

#include "base/json.h"
#include "images/image.h"

/* `told`: how far it has come, in bytes, with "copying", "converting" or "checking". */
typedef int image_change_fn(
	const json_t *args, image_told_fn *told, void *about, json_t **ret, struct err *err);
struct image_change {
	const char *command; /* of roostd's */
	image_change_fn *change;
	bool told; /* in events.jsonl */
};
/* The row of a command; NULL: it is none of these. */
const struct image_change *image_change_find(const char *command);

/*
 * Has it done: "roost-image-import" and so on. `fd`, -1 for none, stays the caller's. At a terminal a bar tells how far
 * it is, unless `quiet`; ^C cancels it, and nothing has changed. `args` stolen.
 */
int image_ask(const char *command, json_t *args, int fd, bool quiet, json_t **ret, struct err *err);

#endif
