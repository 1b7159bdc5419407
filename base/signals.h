/*
 * The signals with which people end a command: SIGINT (^C), SIGTERM, SIGHUP. Whoever has something to
 * undo holds them back and reads them where it waits for all else.
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include <signal.h>
#include <stdint.h>

#include "base/err.h"

sigset_t signals_that_end(void);
/*
 * Holds them back from now on. Returns a non-blocking signalfd, which is the caller's to close; -1 with
 * *err. `before`, unless NULL, gets what was held back until then, for sigprocmask(SIG_SETMASK).
 */
int signals_catch(sigset_t *before, struct err *err);
/* Which one has come, to be called when the fd can be read; 0: none. */
int signals_take(int fd);

/*
 * For who does not wait, but goes from step to step: holds them back, too. Where they are not held back they end
 * the process, as ever, and the next two never hear of one.
 */
void signals_hold(void);
/* Has one come? Then -1, and ERR_GONE says "cancelled"; else 0. It has come once: the next call knows nothing of it. */
int signals_check(struct err *err);
/* Until there is something to be read: 1; until `deadline`: 0; until one comes: -1, as above. */
int signals_or_readable(int fd, int64_t deadline, struct err *err);

#endif
