/*
 * The old names as links to roost: in /usr/local/bin, where sudo's secure_path finds them, or in a folder of the user's own.
 *
 * What was made is kept in $STATE/compat.json, written before the first link: {"links": {PATH: TARGET}, "folders": [PATH]}.
 */
#ifndef ORCHESTRATOR_COMPAT_LINKS_H
#define ORCHESTRATOR_COMPAT_LINKS_H

#include "orchestrator/compat/compat.h"

#define OLD_NAMES_FOLDER  "/usr/local/bin"
#define OLD_IMAGES_FOLDER "/var/lib/libvirt/images"

/*
 * Makes the links, and OLD_IMAGES_FOLDER: root's, to be written to by the group `roost` where there is one. ERR_REFUSED,
 * and nothing is changed, where such a program is already on the PATH; `force`: the links come before it. In
 * OLD_NAMES_FOLDER itself nothing is replaced but links to an older roost. *made: the record.
 */
int links_install(bool force, json_t **made, struct err *err);
/* Undoes just that: links that still lead to roost, folders in which nothing is. *gone: {"removed":[PATH],"kept":[PATH]} */
int links_remove(json_t **gone, struct err *err);
/* A folder of the user's own with the links, for a PATH; freed by the caller. */
char *links_own_folder(struct err *err);

#endif
