#include "base/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

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
