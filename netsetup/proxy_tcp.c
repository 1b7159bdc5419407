/*
 * A connection is two sockets and, for each way, a pipe between them: what one side says goes by splice(2) into the
 * pipe and out of it, and is never copied to us. A pipe takes up more only when it is empty, so that a side
 * that does not read stops the one that writes. The kernel finds whoever has gone without a word: keepalive
 * where nothing is said, TCP_USER_TIMEOUT where something waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sock.h"
#include "netsetup/link_watch.h"
#include "netsetup/proxy.h"

enum { CHUNK = 65536, ROUNDS = 16, SHORT_OF_MS = 200 };
enum { OTHERS = 2 }; /* of what is polled: not connections' */
enum { SYN_COUNT = 3, IDLE_S = 60, INTERVAL_S = 15, PROBES = 4, UNHEARD_MS = 120000 };

/* One way of a connection. */
struct way {
	int from, to;  /* borrowed */
	int pipe[2];   /* reading end, writing end */
	size_t held;   /* bytes in it */
	bool read_end; /* `from` has said all it will say */
	bool ended;    /* and `to` has been told */
};

struct connection {
	int client, guest;
	bool connecting;
	struct way there, back; /* from the client, from the guest */
};

struct relay {
	const struct proxy *proxy;
	struct connection list[PROXY_CLIENTS_MAX];
	size_t count;
	int64_t accept_from;      /* not before: we are short of files or memory; 0: at once */
	bool alone;               /* who started us is gone: nothing is accepted any more */
	struct link_watch *watch; /* then */
};

/* ---- a connection's life -------------------------------------------------------------------------- */

static void tune(int fd)
{
	static const struct {
		int level, option, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_SYNCNT, SYN_COUNT},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, UNHEARD_MS},
	};
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int));
}

/* A reset instead of an orderly end. */
static void reset_by_close(int fd)
{
	struct linger at_once = {.l_onoff = 1};
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static void drop(struct connection *c, bool orderly)
{
	int *fds[] = {&c->client, &c->guest, &c->there.pipe[0], &c->there.pipe[1], &c->back.pipe[0],
		&c->back.pipe[1]};
	if (!orderly) {
		reset_by_close(c->client);
		reset_by_close(c->guest);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_close(fds[i]);
}

/* -1 with errno: nothing is left of it, and the client is reset. */
static int begin(struct connection *c, int client, const struct sockaddr_in *guest)
{
	*c = (struct connection){.client = client,
		.guest = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
		.connecting = true,
		.there.pipe = {-1, -1},
		.back.pipe = {-1, -1}};
	c->there.from = c->back.to = c->client;
	c->there.to = c->back.from = c->guest;
	tune(client);
	tune(c->guest);
	if (c->guest >= 0 && pipe2(c->there.pipe, O_NONBLOCK | O_CLOEXEC) == 0 &&
		pipe2(c->back.pipe, O_NONBLOCK | O_CLOEXEC) == 0 &&
		(connect(c->guest, (const struct sockaddr *)guest, sizeof(*guest)) == 0 ||
			errno == EINPROGRESS))
		return 0;
	int why = errno;
	drop(c, false);
	errno = why;
	return -1;
}

/* 0: on with it; -1: it is broken. */
static int pump(struct way *w)
{
	for (int i = 0; i < ROUNDS && !w->ended; i++) {
		if (!w->held && !w->read_end) {
			ssize_t n = splice(w->from, NULL, w->pipe[1], NULL, CHUNK,
				SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n < 0)
				return errno == EAGAIN || errno == EINTR ? 0 : -1;
			w->held = (size_t)n;
			w->read_end = n == 0;
		}
		if (w->held) {
			ssize_t n = splice(w->pipe[0], NULL, w->to, NULL, w->held,
				SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n < 0)
				return errno == EAGAIN || errno == EINTR ? 0 : -1;
			w->held -= (size_t)n;
		}
		if (!w->held && w->read_end) {
			shutdown(w->to, SHUT_WR);
			w->ended = true;
		}
	}
	return 0;
}

/* -1: the guest does not take it, or one side broke off; 1: both have said all; 0: on with it. */
static int go_on(struct connection *c)
{
	if (c->connecting) {
		int number = 0;
		socklen_t len = sizeof(number);
		struct pollfd p = {.fd = c->guest, .events = POLLOUT};
		if (poll(&p, 1, 0) <= 0)
			return 0;
		if (getsockopt(c->guest, SOL_SOCKET, SO_ERROR, &number, &len) < 0 || number)
			return -1;
		c->connecting = false;
	}
	if (pump(&c->there) < 0 || pump(&c->back) < 0)
		return -1;
	return c->there.ended && c->back.ended;
}

/* ---- all of them ---------------------------------------------------------------------------------- */

static struct pollfd interest(int fd, const struct way *in, const struct way *out)
{
	struct pollfd p = {.fd = fd};
	if (!in->read_end && !in->held)
		p.events |= POLLIN;
	if (out->held)
		p.events |= POLLOUT;
	/* closed on both sides, it would tell of that for ever */
	if (!p.events && in->read_end && out->ended)
		p.fd = -1;
	return p;
}

static size_t interests(const struct relay *r, struct pollfd *fds)
{
	bool takes = r->count < PROXY_CLIENTS_MAX && !r->accept_from && !r->alone;
	fds[0] = (struct pollfd){.fd = takes ? r->proxy->socket : -1, .events = POLLIN};
	fds[1] = (struct pollfd){
		.fd = r->alone ? link_watch_fd(r->watch) : r->proxy->alive, .events = POLLIN};
	for (size_t i = 0; i < r->count; i++) {
		const struct connection *c = &r->list[i];
		struct pollfd *client = &fds[OTHERS + 2 * i], *guest = client + 1;
		*client = interest(c->client, &c->there, &c->back);
		*guest = interest(c->guest, &c->back, &c->there);
		if (c->connecting) {
			client->events = 0; /* what it says can wait, that it is gone is told */
			guest->events = POLLOUT;
		}
	}
	return OTHERS + 2 * r->count;
}

/* From the last one on, for the last takes the place of one that goes. */
static void go_on_with_all(struct relay *r, const struct pollfd *fds)
{
	for (size_t i = r->count; i-- > 0;) {
		short events = fds[OTHERS + 2 * i].revents | fds[OTHERS + 2 * i + 1].revents;
		int result = events ? go_on(&r->list[i]) : 0;
		if (result == 0 && events & POLLERR)
			result = -1; /* after what had come before it */
		if (result == 0)
			continue;
		drop(&r->list[i], result > 0);
		r->list[i] = r->list[--r->count];
	}
}

static bool is_shortage(int number)
{
	return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

/* -1: there is nothing to accept on. */
static int take_new(struct relay *r)
{
	while (r->count < PROXY_CLIENTS_MAX) {
		int client = sock_accept(r->proxy->socket);
		if (client >= 0 && begin(&r->list[r->count], client, &r->proxy->guest) == 0) {
			r->count++;
			continue;
		}
		if (is_shortage(errno)) {
			r->accept_from = deadline_in(SHORT_OF_MS);
			return 0;
		}
		if (client < 0)
			return errno == EBADF || errno == EINVAL || errno == ENOTSOCK ? -1 : 0;
	}
	return 0;
}

static void note_gone(int link, void *context)
{
	(void)link; /* which it was is looked for: more may have gone than were told */
	(void)context;
}

/* -1: the tap that all this is for has gone. */
static int look_for_tap(struct relay *r)
{
	char name[IF_NAMESIZE];
	link_watch_look(r->watch, note_gone, NULL);
	return if_indextoname((unsigned)r->proxy->link, name) ? 0 : -1;
}

/* Whoever started us is gone. His successor wants to listen, and knows nothing of us. */
static int go_on_alone(struct relay *r)
{
	struct err ignored = ERR_INIT;
	close(r->proxy->socket);
	r->alone = true;
	r->watch = link_watch_open(&ignored);
	return r->watch ? look_for_tap(r) : -1;
}

void proxy_tcp(const struct proxy *p)
{
	static struct pollfd fds[OTHERS + 2 * PROXY_CLIENTS_MAX];
	static struct relay r;
	r = (struct relay){.proxy = p};
	while (!r.alone || r.count) {
		size_t n = interests(&r, fds);
		poll(fds, n, r.accept_from ? deadline_left(r.accept_from) : -1);
		if (r.accept_from && !deadline_left(r.accept_from))
			r.accept_from = 0;
		go_on_with_all(&r, fds);
		if (fds[0].fd >= 0 && fds[0].revents && take_new(&r) < 0)
			return;
		if (fds[1].revents && (r.alone ? look_for_tap : go_on_alone)(&r) < 0)
			return;
	}
}
