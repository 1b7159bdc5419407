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

static const struct {
	const char *what, *command; /* the command of roostd's */
	image_change_fn *change;
	bool told; /* in events.jsonl */
} changes[] = {
	{"image-import", "roost-image-import", image_import, true},
	{"image-rm", "roost-image-rm", image_rm, true},
	{"image-tag", "roost-image-tag", image_tag, true},
	{"image-gc", "roost-image-gc", image_gc, true},
	{"image-verify", "roost-image-verify", image_verify, false},
};

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

int image_ask(const char *what, json_t *args, int fd, bool quiet, json_t **ret, struct err *err)
{
	size_t i = 0;
	while (!str_eq(changes[i].what, what))
		i++;
	_cleanup_free_ char *image = xstrdup(json_get_str(args, "image", NULL)); /* outlives args */
	if (!store_is_ours())
		return long_call_supervisor((struct long_about){"image", image ? image : ""},
			changes[i].command, args, &fd, fd >= 0, quiet, ret, err);
	_cleanup_json_ json_t *owned = args;
	if (fd >= 0)
		json_object_set_new(args, "fds", json_pack("[i]", fd));
	if (by_ourselves(changes[i].change, args, quiet, ret, err) < 0)
		return -1;
	if (changes[i].told)
		tell(changes[i].command, image);
	return 0;
}
