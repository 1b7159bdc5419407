/* Tells which network interfaces of a namespace have gone: a tap goes with its last open file. */
#ifndef NETSETUP_LINK_WATCH_H
#define NETSETUP_LINK_WATCH_H

#include "base/err.h"

struct link_watch;

/* Of the namespace that this process is in. */
struct link_watch *link_watch_open(struct err *err);
void link_watch_close(struct link_watch *w);
/* To be polled for reading. */
int link_watch_fd(const struct link_watch *w);
/*
 * Calls `gone` with the index of each that has gone since, or with 0 where more came than the kernel keeps: any of
 * them may have. Never waits.
 */
void link_watch_look(struct link_watch *w, void (*gone)(int link, void *context), void *context);

#endif
