/*
 * `--remove-all-storage`, and virt-install's taking back: roost removes the disks in a guest's own folder; under the old names
 * disks lie in libvirt's folder of images, and are removed with their guest there, too.
 */
#ifndef ORCHESTRATOR_COMPAT_STORAGE_H
#define ORCHESTRATOR_COMPAT_STORAGE_H

#include "base/json.h"
#include "base/str.h"

/*
 * Where that is: OLD_IMAGES_FOLDER for the system's guests, ~/.local/share/libvirt/images (made if need be) for a user's own,
 * what ROOST_LIBVIRT_IMAGES names for tests. Freed by the caller.
 */
char *storage_folder(struct err *err);
/*
 * After a guest was undefined: of its disks (`domblklist --json`, asked before) removes those that lie in that folder
 * and that nobody else uses or stands on. A new list [{"target", "path", "why"}]: "why" it is still there, or no such key
 * if it is gone, also with the guest's folder. What the guest only read (a CD-ROM's ISO) is in no case touched.
 */
json_t *storage_remove(const json_t *disks);

/* Paths of the disks of `domblklist --json` that are the user's own files: `undefine` tells of the others. */
json_t *storage_users_own(const json_t *disks);

#endif
