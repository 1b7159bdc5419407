/*
 * viewer: a guest's screen on this host's own, by a viewer that is installed (viewer.h). Where there is none, or no
 * screen, it tells the ways that lead there all the same.
 */
#include "orchestrator/verbs.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/proc.h"
#include "orchestrator/connect.h"
#include "orchestrator/display.h"
#include "orchestrator/viewer.h"

enum { LOOK_AGAIN_MS = 200, ENDING_MS = 1000 };

/* For somebody at a terminal, who ends it by ^C: a guest may be started at any time. */
static int wait_until_runs(const struct found *f, struct err *err)
{
	for (;;) {
		_cleanup_status_ struct status s = {0};
		if (guest_look(f, &s, err) < 0)
			return -1;
		if (s.number && s.state != GUEST_STARTING)
			return 0;
		poll(NULL, 0, LOOK_AGAIN_MS); /* none that does not run tells us when it does */
	}
}

static void tell_ways(const struct found *f, const char *why, const char *socket)
{
	_cleanup_free_ char *tunnel = display_tunnel(socket);
	printf("%s. The screen of guest '%s' is seen\n"
	       "from another machine:  %s, then a viewer to localhost:%d\n"
	       "as a picture:          roost screenshot %s\n"
	       "without one:           roost console %s\n",
		why, f->name, tunnel, VIEWER_PORT, f->name, f->name);
}

/* Its Id, which every start changes; 0: it does not run. */
static int64_t number_of(const struct found *f)
{
	_cleanup_status_ struct status s = {0};
	struct err ignored = ERR_INIT;
	return guest_look(f, &s, &ignored) == 0 ? s.number : 0;
}

/* A viewer that is told that its guest is gone may end before we are. */
static bool has_ended(const struct found *f, int64_t number)
{
	for (int64_t until = deadline_in(ENDING_MS); number_of(f) == number;) {
		if (!deadline_left(until))
			return false;
		poll(NULL, 0, LOOK_AGAIN_MS); /* the status file is there without a word */
	}
	return true;
}

/* Once, or with --reconnect as often as the guest ends and is started again. */
static int show(
	const struct cli *cli, const struct found *f, const struct viewer *v, struct err *err)
{
	int status = 0;
	for (;;) {
		int64_t number = number_of(f);
		_cleanup_free_ char *socket = display_socket(f->name, err);
		if (!socket ||
			viewer_run(v, socket, cli_flag(cli, "full-screen"), &status, err) < 0)
			return -1;
		bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0,
		     again = cli_flag(cli, "reconnect");
		if ((failed || again) && has_ended(f, number)) {
			if (!again)
				return 0;
			if (wait_until_runs(f, err) < 0)
				return -1;
			continue;
		}
		return failed ? err_set(err, ERR_SYSTEM, "the viewer '%s' %s", v->path,
					proc_status_text(status))
			      : 0;
	}
}

static int run_viewer(const struct cli *cli, struct err *err)
{
	struct found f;
	struct viewer v;
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		(cli_flag(cli, "wait") && wait_until_runs(&f, err) < 0))
		return -1;
	_cleanup_free_ char *socket = display_socket(f.name, err);
	if (!socket)
		return -1;
	bool display = viewer_has_display(), found = display && viewer_find(&v);
	if (found && show(cli, &f, &v, err) < 0)
		return -1;
	_cleanup_free_ char *tunnel = display_tunnel(socket);
	if (cli->json)
		cli_print_json(json_pack("{s:s?, s:s, s:s}", "viewer", found ? v.path : NULL,
			"socket", socket, "tunnel", tunnel));
	else if (!found)
		tell_ways(&f,
			display ? "There is no TigerVNC and no remote-viewer here"
				: "There is no display here: neither DISPLAY nor WAYLAND_DISPLAY is set",
			socket);
	return 0;
}

const struct verb verb_viewer = {"viewer", "NAME",
	"Shows a guest's screen in a VNC viewer of this host; without one, tells how else it is seen.",
	1, 1, false,
	{{"wait", NULL, 'w', "until the guest runs"},
		{"reconnect", NULL, 'r', "when the guest has ended and runs again"},
		{"full-screen", NULL, 'f', "on the whole screen"}},
	run_viewer, "roost viewer web1", GROUP_ACCESS, GUESTS_RUNNING};
