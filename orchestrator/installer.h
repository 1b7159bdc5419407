/*
 * An installer for a guest's first run (install.h), on the caller's side: what is looked at and opened, with his own
 * rights.
 */
#ifndef ORCHESTRATOR_INSTALLER_H
#define ORCHESTRATOR_INSTALLER_H

#include "orchestrator/verb.h"

struct installer {
	json_t *facts; /* roost-start's `install`; NULL: there is none */
	int fds[3]; /* owned: of the medium, the kernel, the initial RAM disk, those that there are */
	size_t fd_count;
};

/* From an ISO image, by its own boot loader. */
int installer_from_medium(const char *path, struct installer *out, struct err *err);
/*
 * By its kernel, out of a tree of files or an ISO image, which the guest then has in its drive as well. `where` is
 * PATH[,kernel=FILE,initrd=FILE]; `inject` files go to the top of the initial RAM disk.
 */
int installer_from_location(const char *where, const char *cmdline, const char *const inject[],
	size_t inject_count, struct installer *out, struct err *err);
void installer_close(struct installer *i);
#define _cleanup_installer_ _cleanup_(installer_close)
static inline bool installer_has_medium(const struct installer *i)
{
	return json_object_get(i->facts, "medium");
}

/* Has a guest started with it; *reply as of supervisor_start(). */
int installer_start(const char *name, const struct installer *i, json_t **reply, struct err *err);

#endif
