#include "orchestrator/store_open.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"

static const char *store_folder(struct err *err)
{
	static char *path;
	const char *state = paths_state(err);
	if (!path && state)
		path = str_fmt("%s/images", state);
	return path;
}

/* libexec_path() keeps one path at a time. */
static const char *digester(void)
{
	static char *path;
	if (!path)
		path = xstrdup(libexec_path("roost-digest"));
	return path;
}

int store_open(struct store *out, struct err *err)
{
	const char *path = store_folder(err);
	int dir = path ? dir_open(AT_FDCWD, path, err) : -1;
	if (dir < 0)
		return -1;
	*out = (struct store){.dir = dir, .path = path, .digester = digester()};
	return 0;
}

int store_open_to_change(struct store *out, struct err *err)
{
	if (paths_are_system() && geteuid() != 0 && store_folder(err) &&
		access(store_folder(err), W_OK) < 0) {
		err_set(err, ERR_REFUSED, "only root changes the store of the system instance");
		return err_hint(err, "use sudo, or `roost -c session` for a store of your own");
	}
	return access_make_folders(err) < 0 ? -1 : store_open(out, err);
}

void store_close(struct store *s)
{
	cleanup_close(&s->dir);
}
