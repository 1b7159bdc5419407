#include "orchestrator/viewer.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/find_program.h"

enum { VERSION_MS = 2000, VERSION_MAX = 4096 };

bool viewer_has_display(void)
{
	const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
	return (x && x[0]) || (wayland && wayland[0]);
}

/* Many viewers are called vncviewer. This asks it, without a display on which it could open a window. */
static bool is_tiger(const char *path)
{
	static const char script[] = "unset DISPLAY WAYLAND_DISPLAY; exec \"$1\" --version 2>&1";
	const char *const argv[] = {"/bin/sh", "-c", script, "sh", path, NULL};
	struct err ignored = ERR_INIT;
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_buf_ struct buf said = {0};
	int64_t deadline = deadline_in(VERSION_MS);
	if (child_start(argv, false, &c, &ignored) < 0)
		return false;
	while (!child_read(&c, &said, VERSION_MAX) && fd_wait(c.out, POLLIN, deadline) > 0)
		continue;
	return said.data && strstr(said.data, "TigerVNC");
}

bool viewer_find(struct viewer *out)
{
	static const struct {
		const char *program;
		enum viewer_kind kind;
	} known[] = {
		{"xtigervncviewer", VIEWER_TIGER},
		{"vncviewer", VIEWER_VNC},
		{"remote-viewer", VIEWER_REMOTE},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_cleanup_free_ char *path = program_in_path(known[i].program);
		if (!path || strlen(path) >= sizeof(out->path))
			continue;
		snprintf(out->path, sizeof(out->path), "%s", path);
		out->kind = known[i].kind;
		if (out->kind == VIEWER_VNC && is_tiger(path))
			out->kind = VIEWER_TIGER;
		return true;
	}
	return false;
}

static pid_t start(const struct viewer *v, const char *target, bool full_screen)
{
	const char *full = v->kind == VIEWER_TIGER    ? "-FullScreen=1"
			   : v->kind == VIEWER_REMOTE ? "--full-screen"
						      : "-fullscreen";
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	signal(SIGPIPE, SIG_DFL);
	umask(022); /* what it saves is the user's own */
	if (full_screen)
		execl(v->path, v->path, full, target, (char *)NULL);
	else
		execl(v->path, v->path, target, (char *)NULL);
	_exit(127);
}

int viewer_run(
	const struct viewer *v, const char *socket, bool full_screen, int *status, struct err *err)
{
	unsigned port = 0;
	_cleanup_(proc_close) struct proc viewer = PROC_NONE;
	_cleanup_close_ int listener = v->kind == VIEWER_TIGER ? -1 : relay_listen(&port, err);
	if (v->kind != VIEWER_TIGER && listener < 0)
		return -1;
	_cleanup_free_ char *target = v->kind == VIEWER_TIGER ? xstrdup(socket)
				      : v->kind == VIEWER_REMOTE
					      ? str_fmt("vnc://127.0.0.1:%u", port)
					      : str_fmt("127.0.0.1::%u", port);
	pid_t pid = start(v, target, full_screen);
	if (pid < 0)
		return err_errno(err, "cannot start '%s'", v->path);
	if (proc_open_child(pid, &viewer, err) < 0)
		return err_prefix(err, "'%s'", v->path);
	if (listener >= 0)
		relay_serve(listener, socket, viewer.pidfd);
	return proc_reap(&viewer, DEADLINE_NONE, status, err);
}
