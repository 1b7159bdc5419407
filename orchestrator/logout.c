#include "orchestrator/logout.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/paths.h"

#define LOGIN1 "org.freedesktop.login1"

enum { ASK_MS = 2000, ANSWER_MAX = 65536 };

enum place { PLACE_ELSEWHERE, PLACE_SESSION, PLACE_MANAGER };

/* Cgroup v1 tells it in the line of systemd's own hierarchy, v2 in its only one. */
static enum place place_of(pid_t pid)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *file = str_fmt("/proc/%d/cgroup", (int)pid);
	if (file_read(AT_FDCWD, file, ANSWER_MAX, &text, &ignored) < 0)
		return PLACE_ELSEWHERE;
	_cleanup_free_ char *slice = str_fmt("/user.slice/user-%u.slice/", (unsigned)geteuid());
	const char *at = strstr(text.data, slice);
	at = at ? at + strlen(slice) : "";
	return str_starts(at, "session-") ? PLACE_SESSION
	       : str_starts(at, "user@")  ? PLACE_MANAGER
					  : PLACE_ELSEWHERE;
}

/* What logind says of properties: "/OBJECT INTERFACE PROPERTY...", a line each. */
static int ask(const char *properties, struct buf *answer)
{
	struct err ignored = ERR_INIT;
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_free_ char *command = str_fmt("exec busctl --system get-property " LOGIN1
					       " /org/freedesktop/login1%s 2>/dev/null",
		properties);
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};
	int64_t deadline = deadline_in(ASK_MS);
	if (child_start(argv, false, &c, &ignored) < 0)
		return -1;
	while (answer->len < ANSWER_MAX && fd_wait(c.out, POLLIN, deadline) > 0) {
		buf_reserve(answer, 512);
		ssize_t n = read(c.out, answer->data + answer->len, 512);
		if (n <= 0)
			return n == 0 && answer->len ? 0 : -1;
		answer->len += (size_t)n;
		answer->data[answer->len] = '\0';
	}
	return -1;
}

/* KillOnlyUsers= counts if it names anybody, KillExcludeUsers= in any case. */
static bool sessions_are_killed(void)
{
	_cleanup_buf_ struct buf answer = {0};
	const struct passwd *self = getpwuid(geteuid());
	char *save = NULL;
	if (!self || ask(" " LOGIN1 ".Manager KillUserProcesses KillExcludeUsers KillOnlyUsers",
			     &answer) < 0)
		return false;
	_cleanup_free_ char *name = str_fmt("\"%s\"", self->pw_name);
	const char *kill = strtok_r(answer.data, "\n", &save),
		   *except = strtok_r(NULL, "\n", &save), *only = strtok_r(NULL, "\n", &save);
	return kill && except && only && str_eq(kill, "b true") && !strstr(except, name) &&
	       (str_eq(only, "as 0") || strstr(only, name));
}

static bool user_lingers(void)
{
	_cleanup_buf_ struct buf answer = {0};
	_cleanup_free_ char *what =
		str_fmt("/user/_%u " LOGIN1 ".User Linger", (unsigned)geteuid());
	return ask(what, &answer) == 0 && str_starts(answer.data, "b true");
}

bool logout_ends(pid_t pid, bool *lingers)
{
	enum place place = paths_are_system() ? PLACE_ELSEWHERE : place_of(pid);
	if (place == PLACE_ELSEWHERE || (place == PLACE_SESSION && !sessions_are_killed()))
		return false;
	*lingers = user_lingers();
	return place == PLACE_SESSION || !*lingers;
}

const char *logout_remedy(bool lingers)
{
	return lingers ? "those that you start when none has run for half a minute outlive it"
		       : "after `loginctl enable-linger` those that you start outlive it";
}

void logout_tell(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status status = {0};
	bool lingers;
	if (paths_are_system() || guest_look(f, &status, &ignored) < 0 || !status.qemu_pid ||
		!logout_ends(status.qemu_pid, &lingers))
		return;
	fprintf(stderr, "roost: guest '%s' ends when you log out\n       %s\n", f->name,
		logout_remedy(lingers));
}
