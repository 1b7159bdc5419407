#include "orchestrator/ssh_watch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"

/* So long may a call take to notice that its socket was shut down. */
enum { GRACE_MS = 3000 };

static volatile sig_atomic_t socket_watched = -1;
static volatile sig_atomic_t expired;
static volatile sig_atomic_t ending; /* a signal's number */

static const char *last_words = "";
static int last_fd = STDERR_FILENO, last_status = 1;

static void set_timer(int64_t ms)
{
	struct itimerval t = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
	setitimer(ITIMER_REAL, &t, NULL);
}

static void on_signal(int number)
{
	int saved = errno;
	/* rung before: nothing noticed. (An idle program ends at once when asked to.) */
	if (socket_watched < 0 || expired || ending) {
		if (number == SIGALRM)
			(void)!write(last_fd, last_words, strlen(last_words));
		_exit(number == SIGALRM ? last_status : 128 + number);
	}
	if (number == SIGALRM)
		expired = 1;
	else
		ending = number;
	shutdown(socket_watched, SHUT_RDWR);
	set_timer(GRACE_MS);
	errno = saved;
}

void watch_init(bool ends)
{
	struct sigaction a = {.sa_handler = on_signal};
	sigaction(SIGALRM, &a, NULL);
	for (int i = 0; ends && i < 3; i++)
		sigaction((int[]){SIGINT, SIGTERM, SIGHUP}[i], &a, NULL);
}

void watch_last_words(int fd, const char *text, int status)
{
	last_fd = fd;
	last_words = text;
	last_status = status;
}

void watch_start(int socket_fd, int64_t deadline)
{
	expired = 0;
	socket_watched = socket_fd;
	watch_move(deadline);
}

void watch_move(int64_t deadline)
{
	if (expired || ending)
		return;
	int left = deadline_left(deadline);
	set_timer(left < 0 ? 0 : left ? left : 1);
}

void watch_stop(void)
{
	set_timer(0);
	socket_watched = -1;
}

bool watch_expired(void)
{
	return expired;
}

int watch_signal(void)
{
	return ending;
}
