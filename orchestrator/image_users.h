/* Who stands on the images of the store: guests, other images, disks that guests have no more. */
#ifndef ORCHESTRATOR_IMAGE_USERS_H
#define ORCHESTRATOR_IMAGE_USERS_H

#include "base/json.h"
#include "images/store.h"

/*
 * [{"kind": "guest"|"image"|"disk", "name": NAME or path, "image": what it stands on, "through": the
 * guest's disk}], one for each that stands directly on an image; NULL with *err. A guest whose record
 * cannot be read, or a disk whose header cannot, has no "image", but "why". What was cloned stands on a base (bases.h), which is told by "base": "ID/FILE",
 * and is one of these itself, of the kind "base"; without an image below them "image" is "".
 */
json_t *image_users(const struct store *s, struct err *err);
/* ERR_REFUSED, naming one, if somebody stands on it; or if that cannot be known. */
int image_check_unused(const struct store *s, const char *name, struct err *err);

#endif
