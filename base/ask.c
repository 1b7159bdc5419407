#include "base/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

/* What a terminal sends by itself, or somebody who wants us to end. */
static const int taken[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP};

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	caught = number;
}

/* They are held back but for where we wait, so that none comes unseen just before. */
struct held {
	struct sigaction before[ARRAY_SIZE(taken)];
	sigset_t mask, waiting;
};

static void signals_take(struct held *h)
{
	struct sigaction a = {.sa_handler = on_signal};
	sigset_t all;
	caught = 0;
	sigemptyset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		sigaddset(&all, taken[i]);
	sigprocmask(SIG_BLOCK, &all, &h->mask);
	h->waiting = h->mask;
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		sigdelset(&h->waiting, taken[i]);
		sigaction(taken[i], &a, &h->before[i]);
	}
}

static void signals_give_back(const struct held *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		sigaction(taken[i], &h->before[i], NULL);
	sigprocmask(SIG_SETMASK, &h->mask, NULL);
}

static int terminal_open(void)
{
	return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

bool ask_can(void)
{
	_cleanup_close_ int fd = terminal_open();
	return fd >= 0;
}

void ask_say(const char *text)
{
	_cleanup_close_ int fd = terminal_open();
	if (fd >= 0)
		write_all(fd, text, strlen(text));
}

/* Up to the end of the line: 1; 0: there is no more, or a signal has come. */
static int read_line(int fd, const sigset_t *waiting, char *out, size_t size)
{
	size_t len = 0;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char c;
		if (ppoll(&p, 1, NULL, waiting) < 0) {
			if (caught || errno != EINTR)
				return 0;
			continue;
		}
		if (read(fd, &c, 1) <= 0)
			return 0;
		if (c == '\n' || c == '\r')
			break;
		if (len + 1 < size)
			out[len++] = c;
	}
	out[len] = '\0';
	return 1;
}

/* One time; `caught` says whether it was broken off. */
static int ask_once(int fd, const char *question, bool hidden, char *out, size_t size)
{
	struct termios before, quiet;
	struct held held;
	signals_take(&held);
	bool silenced = hidden && tcgetattr(fd, &before) == 0;
	if (silenced) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
		tcsetattr(fd, TCSAFLUSH, &quiet);
	}
	write_all(fd, question, strlen(question));
	int got = read_line(fd, &held.waiting, out, size);
	if (silenced) {
		tcsetattr(fd, TCSAFLUSH, &before);
		write_all(fd, "\n", 1);
	}
	signals_give_back(&held);
	return got;
}

int ask_line(const char *question, bool hidden, char *out, size_t size, struct err *err)
{
	_cleanup_close_ int fd = terminal_open();
	if (fd < 0)
		return err_set(err, ERR_REFUSED, "there is no terminal to ask at");
	for (;;) {
		if (ask_once(fd, question, hidden, out, size))
			return 0;
		explicit_bzero(out, size);
		int signal_number = caught;
		if (signal_number)
			raise(signal_number);
		if (signal_number != SIGTSTP)
			return err_set(err, ERR_GONE, "no answer was given");
	}
}
