/* Who changes the store: we ourselves, or roostd for a member of the group. */
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/signals.h"
#include "base/str.h"
#include "orchestrator/event_log.h"
#include "orchestrator/image_change.h"
#include "orchestrator/long_call.h"
#include "orchestrator/paths.h"
#include "orchestrator/progress_bar.h"
#include "orchestrator/store_open.h"
#include "qmp/server.h"

static void show(void *about, const char *step, int64_t done, int64_t total)
{
	progress_step(about, step);
	progress_show(about, done, total);
}

/* As roostd does for who asks it. */
static void tell(const char *command, const char *image)
{
	struct err ignored = ERR_INIT;
	const struct sock_peer self = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
	_cleanup_close_ int state = dir_open(AT_FDCWD, paths_state(&ignored), &ignored);
	_cleanup_json_ json_t *event =
		event_new("ROOST_COMMAND", event_image(image, command, event_who(&self)));
	if (state >= 0)
		event_log_append(state, event);
}

static int by_ourselves(
	image_change_fn *change, const json_t *args, bool quiet, json_t **ret, struct err *err)
{
	struct progress bar;
	signals_hold();
	progress_begin(&bar, "", quiet);
	int result = change(args, show, &bar, ret, err);
	progress_end(&bar);
	return result;
}

int image_ask(const char *command, json_t *args, int fd, bool quiet, json_t **ret, struct err *err)
{
	const struct image_change *c = image_change_find(command);
	_cleanup_free_ char *image = xstrdup(json_get_str(args, "image", NULL)); /* outlives args */
	if (!store_is_ours())
		return long_call_supervisor((struct long_about){"image", image ? image : ""},
			command, args, &fd, fd >= 0, quiet, ret, err);
	_cleanup_json_ json_t *owned = args;
	if (fd >= 0)
		json_object_set_new(args, "fds", json_pack("[i]", fd));
	if (by_ourselves(c->change, args, quiet, ret, err) < 0)
		return -1;
	if (c->told)
		tell(command, image);
	return 0;
}
