/* Installing a guest, from the side of who asks for it: `roost install` and virt-install alike. */
#ifndef ORCHESTRATOR_INSTALLING_H
#define ORCHESTRATOR_INSTALLING_H

#include "orchestrator/connect.h"
#include "orchestrator/installer.h"

/* ERR_REFUSED when there is a guest of that name: what is there is never changed. */
int installing_define(const struct definition *d, struct err *err);
/*
 * Has it started, with its installer if it has one. One that is `fresh` and does not start is undefined again, with the
 * disks that roost has made for it, so that the same words may be tried once more.
 */
int installing_start(
	const char *name, const struct installer *i, bool fresh, json_t **reply, struct err *err);

/* How an installation has ended. */
enum installed {
	INSTALLED_RUNS, /* the guest goes on, or was started again, from its disk */
	INSTALLED_OFF,  /* it does not run; `reason` of its status tells why */
};
/* Waits for that, whoever dies meanwhile; ERR_TIMEOUT. */
int installing_wait(const struct found *f, int64_t deadline, enum installed *out, struct err *err);

#endif
