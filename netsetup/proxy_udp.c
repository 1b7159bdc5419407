/*
 * Each client has a socket in the namespace, connected to the guest, so that the guest's answers find their way
 * back. An answer leaves the host from the address that the client wrote to, whichever of the host's that was.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "netsetup/proxy.h"

enum { OTHERS = 2 }; /* of what is polled: not clients' */
enum { IDLE_MS = 120000, AT_ONCE = 64, DATAGRAM_MAX = 65536 };

struct client {
	int fd; /* to the guest */
	struct sockaddr_storage address;
	socklen_t address_len;
	char local[CMSG_SPACE(sizeof(struct in6_pktinfo))]; /* IP_PKTINFO or IPV6_PKTINFO */
	size_t local_len;
	int64_t idle_at; /* then it is forgotten */
};

struct relay {
	const struct proxy *proxy;
	struct client list[PROXY_CLIENTS_MAX];
	size_t count;
};

static char datagram[DATAGRAM_MAX];

/* ---- clients -------------------------------------------------------------------------------------- */

static void forget(struct relay *r, size_t i)
{
	cleanup_close(&r->list[i].fd);
	r->list[i] = r->list[--r->count];
}

static size_t most_silent(const struct relay *r)
{
	size_t found = 0;
	for (size_t i = 1; i < r->count; i++)
		if (r->list[i].idle_at < r->list[found].idle_at)
			found = i;
	return found;
}

static struct client *client_of(
	struct relay *r, const struct sockaddr_storage *address, socklen_t len)
{
	const struct sockaddr_in *guest = &r->proxy->guest;
	for (size_t i = 0; i < r->count; i++)
		if (r->list[i].address_len == len && memcmp(&r->list[i].address, address, len) == 0)
			return &r->list[i];
	if (r->count == PROXY_CLIENTS_MAX)
		forget(r, most_silent(r));
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)guest, sizeof(*guest)) < 0)
		return NULL;
	struct client *c = &r->list[r->count++];
	*c = (struct client){.fd = TAKE_FD(fd), .address = *address, .address_len = len};
	return c;
}

/* ---- datagrams ------------------------------------------------------------------------------------ */

/* Which of our addresses it came to, in the form in which it can be said where an answer leaves from. */
static void note_local(struct client *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		bool four = h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO;
		bool six = h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO;
		size_t len = CMSG_SPACE(h->cmsg_len - CMSG_LEN(0));
		if ((!four && !six) || len > sizeof(c->local))
			continue;
		if (four) /* by whichever way the routes say, but from this address */
			((struct in_pktinfo *)CMSG_DATA(h))->ipi_ifindex = 0;
		memcpy(c->local, h, h->cmsg_len);
		c->local_len = len;
	}
}

/* What the network does not take is lost, as datagrams are. False: there is none. */
static bool take_from_client(struct relay *r)
{
	struct sockaddr_storage from = {0};
	_Alignas(struct cmsghdr) char control[256];
	struct iovec data = {.iov_base = datagram, .iov_len = sizeof(datagram)};
	struct msghdr m = {.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(r->proxy->socket, &m, 0);
	if (n < 0)
		return false;
	struct client *c = client_of(r, &from, m.msg_namelen);
	if (!c)
		return true;
	note_local(c, &m);
	c->idle_at = deadline_in(IDLE_MS);
	send(c->fd, datagram, (size_t)n, MSG_NOSIGNAL);
	return true;
}

static bool take_from_guest(struct relay *r, struct client *c)
{
	ssize_t n = recv(c->fd, datagram, sizeof(datagram), 0);
	if (n < 0)
		return errno == ECONNREFUSED; /* by the guest, of what was sent before */
	struct iovec data = {.iov_base = datagram, .iov_len = (size_t)n};
	struct msghdr m = {.msg_name = &c->address,
		.msg_namelen = c->address_len,
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = c->local_len ? c->local : NULL,
		.msg_controllen = c->local_len};
	c->idle_at = deadline_in(IDLE_MS);
	sendmsg(r->proxy->socket, &m, MSG_NOSIGNAL);
	return true;
}

/* ---- all of them ---------------------------------------------------------------------------------- */

static int64_t forget_the_silent(struct relay *r)
{
	int64_t now = clock_ms(), next = DEADLINE_NONE;
	for (size_t i = r->count; i-- > 0;) {
		if (r->list[i].idle_at <= now)
			forget(r, i);
		else if (r->list[i].idle_at < next)
			next = r->list[i].idle_at;
	}
	return next;
}

void proxy_udp(const struct proxy *p)
{
	static struct pollfd fds[OTHERS + PROXY_CLIENTS_MAX];
	static struct relay r;
	r = (struct relay){.proxy = p};
	for (;;) {
		int64_t next = forget_the_silent(&r);
		size_t count = r.count;
		fds[0] = (struct pollfd){.fd = p->socket, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = p->alive, .events = POLLIN};
		for (size_t i = 0; i < count; i++)
			fds[OTHERS + i] = (struct pollfd){.fd = r.list[i].fd, .events = POLLIN};
		poll(fds, OTHERS + count, deadline_left(next));
		/* there are no connections that could outlive who started us */
		if (fds[0].revents & POLLNVAL || fds[1].revents)
			return;
		for (size_t i = 0; i < count; i++)
			for (int k = 0; k < AT_ONCE && fds[OTHERS + i].revents; k++)
				if (!take_from_guest(&r, &r.list[i]))
					break;
		/* last, for it changes the list */
		for (int k = 0; k < AT_ONCE && fds[0].revents; k++)
			if (!take_from_client(&r))
				break;
	}
}
