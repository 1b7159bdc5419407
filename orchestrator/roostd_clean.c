/*
 * What workers that were killed have left in $STATE: folders of guests that never came to be, or that were
 * undefined, and bases that nobody stands on. Cleaned in a child, for nobody waits for that.
 */
#include "orchestrator/roostd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/bases.h"
#include "orchestrator/paths.h"

static bool is_hidden(const char *name)
{
	return str_starts(name, ".new-") || str_starts(name, ".old-");
}

/* A worker that lives holds its folder's lock: op_define.c. */
static void remove_abandoned(int guests, const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = dir_open(guests, name, &ignored);
	if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) == 0)
		dir_remove(guests, name, &ignored);
}

/* True: there is one. */
static bool find_hidden(void (*found)(int guests, const char *name))
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int guests = guests_open(&ignored);
	int copy = guests < 0 ? -1 : openat(guests, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	bool any = false;
	if (!d)
		return false;
	for (struct dirent *e; (e = readdir(d));) {
		if (!is_hidden(e->d_name))
			continue;
		any = true;
		if (found)
			found(guests, e->d_name);
	}
	closedir(d);
	return any;
}

void leftovers_clean(bool surely)
{
	struct err ignored = ERR_INIT;
	if ((!surely && !find_hidden(NULL)) || fork() != 0)
		return;
	syscall(SYS_close_range, 3U, ~0U, 0U);
	find_hidden(remove_abandoned);
	bases_sweep(SWEEP, NULL, NULL, &ignored);
	_exit(0);
}
