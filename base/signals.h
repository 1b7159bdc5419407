/*
 * The signals with which people end a command: SIGINT (^C), SIGTERM, SIGHUP. Whoever has something to
 * undo holds them back and reads them where it waits for all else.
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include <signal.h>

#include "base/err.h"

sigset_t signals_that_end(void);
/*
 * Holds them back from now on. Returns a non-blocking signalfd, which is the caller's to close; -1 with
 * *err. `before`, unless NULL, gets what was held back until then, for sigprocmask(SIG_SETMASK).
 */
int signals_catch(sigset_t *before, struct err *err);
/* Which one has come, to be called when the fd can be read; 0: none. */
int signals_take(int fd);

#endif
