/* What roostd does when $RUN, or a guest's folder in it, has vanished: guest_home.c tells all of it. */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

/* How a guest was started that runs since; written by its keeper, so it must name its own guest. */
static int read_running(const char *name, struct status *out)
{
	struct err ignored = ERR_INIT;
	struct status s;
	_cleanup_close_ int dir = guest_dir_open(name, &ignored);
	_cleanup_definition_ struct definition *d = dir < 0 ? NULL : record_read(name, &ignored);
	if (!d || status_read(dir, "running", &s, &ignored) < 0)
		return -1;
	if (status_of_this_boot(&s) && str_eq(s.name, name) && str_eq(s.id, d->issued.id)) {
		*out = s;
		return 0;
	}
	status_free(&s);
	return -1;
}

int home_make(const char *name, const char *id, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(name, err);
	_cleanup_free_ char *path = run_path(id, "", err);
	if (!d || access_make_folders(err) < 0)
		return -1;
	return access_guest_folder(path, d->issued.keeper_uid, err);
}

enum home home_restore(const char *name, const char *id)
{
	struct err err = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	if (read_running(name, &s) < 0)
		return HOME_NONE;
	_cleanup_close_ int run = home_make(name, id, &err);
	if (run < 0)
		return HOME_NONE;
	if (proc_lives(s.keeper_pid, s.keeper_start))
		return HOME_TO_COME;
	_cleanup_definition_ struct definition *d = record_read(name, &err);
	if (!d || status_write(run, &s, &err) < 0 ||
		access_give_at(run, "status", d->issued.keeper_uid, &err) < 0)
		return HOME_NONE;
	return HOME_STANDS;
}

void home_find_lost(
	struct supervisor *s, void (*found)(struct supervisor *, const char *, const char *))
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(&ignored);
	if (guests < 0 || dir_names(guests, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++) {
		_cleanup_status_ struct status status = {0};
		_cleanup_free_ char *file = str_fmt("%s/running", *name);
		if (faccessat(guests, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
			!keeper_find(s, *name) && read_running(*name, &status) == 0)
			found(s, *name, status.id);
	}
}
