#include "orchestrator/ssh_dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sock.h"
#include "orchestrator/paths.h"
#include "orchestrator/reach.h"
#include "orchestrator/ssh_words.h"

enum { CONNECT_MS = 1000, LISTEN_MS = 400, LISTEN_MAX_MS = 4000 };
enum { LISTEN_UP_MS = 2000, AWAY_MS = 1000 };
enum { PATIENCE_MS = 4000, PATIENCE_MAX_MS = 30000 };

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- TCP --------------------------------------------------------------------------------------- */

static int refused(int number, const struct remote *r, enum reason *why, struct err *err)
{
	enum reason reason = number == ECONNREFUSED || number == ECONNRESET ? REASON_REFUSED
			     : number == ETIMEDOUT                          ? REASON_UNANSWERED
									    : REASON_UNREACHABLE;
	return FAIL(why, reason, err, "cannot connect to %s port %d: %s", r->address, r->port,
		strerror(number));
}

static int open_socket(
	const struct remote *r, struct sockaddr_storage *to, socklen_t *len, struct err *err)
{
	char port[8];
	struct addrinfo *found = NULL;
	struct addrinfo want = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	snprintf(port, sizeof(port), "%d", r->port);
	if (getaddrinfo(r->address, port, &want, &found) != 0)
		return err_set(err, ERR_USAGE, "'%s' is not a literal IP address", r->address);
	memcpy(to, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? err_errno(err, "cannot make a socket") : fd;
}

/* Each try asks the holder anew: it may just be started again. */
static int begin_by_network(const struct remote *r, struct err *err)
{
	struct reach reach = {.port = (uint16_t)r->port};
	if (r->instance && paths_connect(r->instance, err) < 0)
		return -1;
	snprintf(reach.network, sizeof(reach.network), "%s", r->network);
	snprintf(reach.address, sizeof(reach.address), "%s", r->address);
	return reach_begin(&reach, err);
}

/* -1 with errno where *err says nothing. */
static int begin_here(const struct remote *r, struct err *err)
{
	struct sockaddr_storage to;
	socklen_t len = 0;
	_cleanup_close_ int fd = open_socket(r, &to, &len, err);
	if (fd < 0)
		return -1;
	return connect(fd, (struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS ? TAKE_FD(fd)
										     : -1;
}

static int connect_tcp(const struct remote *r, int64_t deadline, enum reason *why, struct err *err)
{
	int yes = 1, number = 0;
	socklen_t len = sizeof(number);
	*why = REASON_UNREACHABLE;
	err->kind = ERR_NONE;
	_cleanup_close_ int fd = r->network ? begin_by_network(r, err) : begin_here(r, err);
	if (fd < 0)
		return err->kind == ERR_NONE ? refused(errno, r, why, err) : -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
	if (fd_wait(fd, POLLOUT, deadline) <= 0)
		return refused(ETIMEDOUT, r, why, err);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len);
	return number ? refused(number, r, why, err) : TAKE_FD(fd);
}

/* ---- the banner -------------------------------------------------------------------------------- */

/* poll() shall report the socket again only when more than `have` bytes are there, or its end. */
static void want_more_than(int fd, size_t have)
{
	int bytes = (int)have + 1;
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

static void show(struct banner_text *banner, const char *data, size_t len)
{
	const char *end = memchr(data, '\n', len);
	size_t line = end ? (size_t)(end - data) : len;
	while (line && data[line - 1] == '\r')
		line--;
	_cleanup_free_ char *shown = text_shown(data, line < 60 ? line : 60);
	snprintf(banner->shown, sizeof(banner->shown), "%s", shown);
}

/* What a readable connection has to say. 0: its banner; 1: go on waiting; -1: no use. */
static int look(int fd, bool ended, struct banner_text *banner, enum reason *why, struct err *err)
{
	char data[BANNER_MAX_LEN];
	ssize_t n = recv(fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
	if (n <= 0)
		return FAIL(why, REASON_CLOSED, err, "the connection was closed without a banner");
	show(banner, data, (size_t)n);
	switch (banner_classify(data, (size_t)n)) {
	case BANNER_SSH:
		want_more_than(fd, 0);
		return 0;
	case BANNER_TURNED_AWAY:
		return FAIL(why, REASON_TURNED_AWAY, err, "the server says '%s'", banner->shown);
	case BANNER_NOT_SSH:
		return FAIL(
			why, REASON_NOT_SSH, err, "not SSH: the server says '%s'", banner->shown);
	case BANNER_MORE:
		break;
	}
	if (ended)
		return FAIL(why, REASON_CLOSED, err, "closed after a part of the banner, '%s'",
			banner->shown);
	want_more_than(fd, (size_t)n);
	FAIL(why, REASON_DRIBBLE, err, "only a part of the banner has arrived, '%s'",
		banner->shown);
	return 1;
}

/* A part of a banner that a connection said in an earlier try. */
static bool has_begun(int fd)
{
	char byte;
	return fd >= 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/*
 * Listens to both until one has said its banner: returns it, taken out of the array. A useless one
 * is closed; when none is left or the deadline passes, -1 with the reason heard last.
 */
static int listen_to(
	int fds[2], int64_t deadline, struct banner_text *banner, enum reason *why, struct err *err)
{
	struct pollfd p[2];
	if (has_begun(fds[1]))
		FAIL(why, REASON_DRIBBLE, err, "the banner does not come to its end");
	else
		FAIL(why, REASON_SILENT, err, "the connection was accepted, then silence");
	while (fds[0] >= 0 || fds[1] >= 0) {
		for (int i = 0; i < 2; i++)
			p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN | POLLRDHUP};
		int n = poll(p, 2, deadline_left(deadline));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		for (int i = 0; i < 2; i++) {
			if (fds[i] < 0 || !p[i].revents)
				continue;
			bool ended = p[i].revents & (POLLRDHUP | POLLHUP | POLLERR);
			int rc = look(fds[i], ended, banner, why, err);
			if (rc == 0)
				return TAKE_FD(fds[i]);
			if (rc < 0)
				cleanup_close(&fds[i]);
		}
	}
	return -1;
}

/* ---- tries ------------------------------------------------------------------------------------- */

/* A part of the silence so far, within these bounds. */
static int64_t grown(const struct dialer *d, int part, int64_t least, int64_t most)
{
	int64_t ms = d->silent_since ? (clock_ms() - d->silent_since) / part : 0;
	return ms < least ? least : earlier(ms, most);
}

/* Reasons for another try of somebody who waits. */
static bool may_pass(enum reason why)
{
	return why == REASON_SILENT || why == REASON_DRIBBLE || why == REASON_UNANSWERED;
}

int dial_connect(struct dialer *d, int64_t deadline, enum reason *why, struct err *err)
{
	cleanup_close(&d->fresh);
	d->fresh = connect_tcp(d->remote, earlier(deadline, deadline_in(CONNECT_MS)), why, err);
	if (d->fresh < 0) {
		cleanup_close(&d->patient);
		d->silent_since = 0;
	}
	return d->fresh < 0 ? -1 : 0;
}

int dial_listen(struct dialer *d, int64_t deadline, struct banner_text *banner, enum reason *why,
	struct err *err)
{
	int fds[2] = {TAKE_FD(d->fresh), TAKE_FD(d->patient)};
	int64_t begin = clock_ms();
	int64_t until =
		deadline_in(grown(d, 8, d->listen_ms ? d->listen_ms : LISTEN_MS, LISTEN_MAX_MS));
	int fd = listen_to(fds, earlier(deadline, until), banner, why, err);
	/* turned away (MaxStartups): by the connections that were given up before, so they must not become more */
	if (fd >= 0 || (!may_pass(*why) && *why != REASON_TURNED_AWAY))
		d->silent_since = 0;
	else if (!d->silent_since)
		d->silent_since = begin;
	if (fd < 0 && (fds[1] < 0 || clock_ms() >= d->patient_until)) {
		/* the fresh one, if it is still there, grows old instead */
		cleanup_close(&fds[1]);
		fds[1] = TAKE_FD(fds[0]);
		d->patient_until = deadline_in(grown(d, 2, PATIENCE_MS, PATIENCE_MAX_MS));
	}
	if (fd < 0)
		d->patient = TAKE_FD(fds[1]);
	cleanup_close(&fds[0]);
	cleanup_close(&fds[1]);
	return fd;
}

int dial(const struct remote *remote, int64_t deadline, enum reason *why, struct err *err)
{
	_cleanup_(dialer_end) struct dialer d = DIALER(remote);
	struct banner_text banner;
	d.listen_ms = LISTEN_UP_MS;
	for (;;) {
		int fd = dial_connect(&d, deadline, why, err);
		if (fd == 0)
			fd = dial_listen(&d, deadline, &banner, why, err);
		bool away = fd < 0 && *why == REASON_TURNED_AWAY;
		if (fd >= 0 || !(away || may_pass(*why)) || !deadline_left(deadline))
			return fd;
		if (away)
			poll(NULL, 0, deadline_left(earlier(deadline, deadline_in(AWAY_MS))));
	}
}

void dialer_end(struct dialer *d)
{
	cleanup_close(&d->fresh);
	cleanup_close(&d->patient);
}
