#include "base/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

sigset_t signals_that_end(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	return set;
}

int signals_catch(sigset_t *before, struct err *err)
{
	sigset_t set = signals_that_end();
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_errno(err, "cannot catch signals");
	sigprocmask(SIG_BLOCK, &set, before);
	return fd;
}

int signals_take(int fd)
{
	struct signalfd_siginfo got;
	return read(fd, &got, sizeof(got)) == sizeof(got) ? (int)got.ssi_signo : 0;
}

void signals_hold(void)
{
	sigset_t set = signals_that_end();
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int signals_check(struct err *err)
{
	sigset_t set = signals_that_end();
	const struct timespec now = {0};
	int signal = sigtimedwait(&set, NULL, &now);
	if (signal < 0)
		return 0;
	return err_set(err, ERR_GONE, "cancelled%s", signal == SIGINT ? " by ^C" : "");
}

int signals_or_readable(int fd, int64_t deadline, struct err *err)
{
	sigset_t set = signals_that_end();
	_cleanup_close_ int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	for (;;) {
		int n = poll(fds, ARRAY_SIZE(fds), deadline_left(deadline));
		if (signals_check(err) < 0)
			return -1;
		if (n == 0 || fds[1].revents)
			return n > 0;
	}
}
