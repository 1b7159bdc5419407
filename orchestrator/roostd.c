/*
 * roostd: one loop. Started by the first `roost` command when none runs, or by hand:
 *
 *	roostd [--ready-fd N]	N is closed when the socket is served
 *
 * or by systemd, which passes the listener (LISTEN_FDS). It ends by itself when no guest runs and
 * nobody has asked for anything for a while, unless systemd has started it or `roost boot` has asked
 * it to stay; SIGTERM ends it at once. Neither harms a guest.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"

enum { IDLE_MS = 20000, FDS_MAX = 4096 };

void supervisor_run(struct supervisor *s, struct request *r)
{
	const struct command *c = command_find(supervisor_commands, r->command);
	struct err err = ERR_INIT;
	json_t *value = NULL;
	int result;
	if (!c)
		result = err_set(&err, ERR_NOT_FOUND, "there is no command '%.64s'", r->command);
	else
		result = command_check_args(c, r->args, &err);
	if (result == 0)
		result = c->handler(s, r->args, r, &value, &err);
	if (result == 0)
		server_return(s->server, r, value);
	else if (result < 0)
		server_error(s->server, r, &err);
}

static void serve(struct supervisor *s)
{
	struct request *r;
	server_pump(s->server);
	while ((r = server_next(s->server))) {
		supervisor_tell(s, r);
		supervisor_run(s, r);
	}
}

static void hear_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			s->quit = true;
	keepers_reap(s);
}

static bool stays(const struct supervisor *s)
{
	return s->activated || s->stays;
}

static bool idle(struct supervisor *s)
{
	if (stays(s) || s->keepers || s->workers || s->networks || server_client_count(s->server)) {
		s->idle_since = clock_ms();
		return false;
	}
	return clock_ms() - s->idle_since > IDLE_MS;
}

static void doze(struct supervisor *s)
{
	static struct pollfd fds[FDS_MAX];
	size_t n = 0;
	int64_t until = keepers_deadline(s);
	if (!stays(s) && !s->keepers && !s->workers && !s->networks &&
		s->idle_since + IDLE_MS < until)
		until = s->idle_since + IDLE_MS + 1;
	if (networks_deadline(s) < until)
		until = networks_deadline(s);
	if (s->home_due < until)
		until = s->home_due;
	fds[n++] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	n += server_poll_fds(s->server, fds + n, FDS_MAX - n);
	size_t keepers = n, workers = n + keepers_poll_fds(s, fds + n, FDS_MAX - n);
	n = workers + workers_poll_fds(s, fds + workers, FDS_MAX - workers);
	n += networks_poll_fds(s, fds + n, FDS_MAX - n);
	if (poll(fds, n, s->quit ? 0 : deadline_left(until)) > 0)
		keepers_polled(s, fds + keepers, workers - keepers);
}

static int watch_signals(struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_errno(err, "cannot block signals");
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? err_errno(err, "cannot watch signals") : fd;
}

static int become_supervisor(struct supervisor *s, struct err *err)
{
	int listener = access_make_folders(err) < 0 ? -1 : supervisor_listen(s, err);
	if (listener < 0)
		return -1;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return err_errno(err, "cannot become the sub-reaper");
	s->signals = watch_signals(err);
	s->server = server_new(listener, ROOST_VERSION);
	s->idle_since = clock_ms();
	return s->signals < 0 ? -1 : 0;
}

/* Who started us waits for the end of this pipe; keepers must not inherit it. */
static void tell_ready(int ready)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, STDERR_FILENO);
	close(null);
	close(ready);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct supervisor s = {.signals = -1};
	if (argc == 2 && str_eq(argv[1], "--commands")) /* for roost-qmp(7) */
		return command_print(supervisor_commands);
	int ready = argc == 3 && str_eq(argv[1], "--ready-fd") ? atoi(argv[2]) : -1;
	if (argc != 1 && ready < 0) {
		fprintf(stderr, "usage: roostd [--ready-fd N]\n");
		return err_exit_code(ERR_USAGE);
	}
	umask(077);
	proc_allow_many_files(); /* a link and a pidfd for each guest */
	signal(SIGPIPE, SIG_IGN);
	(void)!chdir("/");
	if (become_supervisor(&s, &err) < 0) {
		fprintf(stderr, "roostd: %s\n", err.message);
		return err_exit_code(err.kind);
	}
	if (ready >= 0)
		tell_ready(ready);
	keepers_find_all(&s);
	leftovers_clean(false);
	undefine_all_marked(&s);
	while (!s.quit && !idle(&s)) {
		hear_signals(&s);
		serve(&s);
		keepers_look(&s);
		workers_look(&s);
		networks_look(&s);
		supervisor_look_home(&s);
		if (!s.quit)
			doze(&s);
	}
	server_pump(s.server);
	supervisor_unlisten(&s);
	server_free(s.server);
	return 0;
}
