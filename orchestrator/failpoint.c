/* Compiled into the test build only: a process dies by SIGKILL, or is held by SIGSTOP, at the point that $RUN/fail names. */
#include "orchestrator/failpoint.h"

#ifdef ROOST_FAILPOINTS
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/paths.h"

/*
 * The name is read from $RUN/fail, for roostd and its keepers keep the environment they were born
 * with; the file is removed first, so that the next keeper gets past. "hold NAME" stops the process there,
 * until somebody sends SIGCONT.
 */
void failpoint(const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = str_fmt("%s/fail", paths_run(&ignored));
	if (file_read(AT_FDCWD, path, 256, &text, &ignored) < 0)
		return;
	text.data[strcspn(text.data, "\n")] = '\0';
	bool hold = str_starts(text.data, "hold ");
	if (!str_eq(hold ? text.data + strlen("hold ") : text.data, name))
		return;
	/* a keeper that has dropped may not remove it: emptying it is enough */
	if (unlink(path) < 0)
		(void)!truncate(path, 0);
	kill(getpid(), hold ? SIGSTOP : SIGKILL);
}
#endif
