#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "orchestrator/viewer.h"

enum { LANE_SIZE = 65536, CONNECT_MS = 3000 };

int relay_listen(unsigned *port, struct err *err)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(any);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, len) < 0 || listen(fd, 1) < 0 ||
		getsockname(fd, (struct sockaddr *)&any, &len) < 0)
		return err_errno(err, "cannot open a port of 127.0.0.1 for the viewer");
	*port = ntohs(any.sin_port);
	return TAKE_FD(fd);
}

/* Anybody on this host can connect to a port of 127.0.0.1. The kernel tells whose the other end is: proc(5), /proc/net/tcp. */
static bool is_ours(int client)
{
	struct sockaddr_in here, there;
	socklen_t len = sizeof(here), len_there = sizeof(there);
	unsigned local, local_port, remote, remote_port, uid;
	char line[512];
	bool ours = false;
	if (getsockname(client, (struct sockaddr *)&here, &len) < 0 ||
		getpeername(client, (struct sockaddr *)&there, &len_there) < 0)
		return false;
	FILE *f = fopen("/proc/net/tcp", "re");
	while (f && !ours && fgets(line, sizeof(line), f))
		ours = sscanf(line, " %*d: %x:%x %x:%x %*x %*x:%*x %*x:%*x %*x %u", &local,
			       &local_port, &remote, &remote_port, &uid) == 5 &&
		       local == there.sin_addr.s_addr && local_port == ntohs(there.sin_port) &&
		       remote == here.sin_addr.s_addr && remote_port == ntohs(here.sin_port) &&
		       uid == getuid();
	if (f)
		fclose(f);
	return ours;
}

/* One direction: what was read and not yet written. */
struct lane {
	int from, to;
	size_t at, len;
	char data[LANE_SIZE];
};

/* One step, when poll() says that it can be made. False: one side has ended. */
static bool lane_go(struct lane *l)
{
	if (l->at < l->len) {
		ssize_t n = send(l->to, l->data + l->at, l->len - l->at, MSG_NOSIGNAL);
		l->at += n > 0 ? (size_t)n : 0;
		return n > 0 || errno == EAGAIN || errno == EINTR;
	}
	ssize_t n = read(l->from, l->data, sizeof(l->data));
	l->at = 0;
	l->len = n > 0 ? (size_t)n : 0;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static struct pollfd lane_waits_for(const struct lane *l)
{
	return l->at < l->len ? (struct pollfd){.fd = l->to, .events = POLLOUT}
			      : (struct pollfd){.fd = l->from, .events = POLLIN};
}

static void relay(int client, const char *path, int pidfd)
{
	static struct lane out, in;
	struct err ignored = ERR_INIT;
	_cleanup_close_ int server = sock_connect(path, deadline_in(CONNECT_MS), &ignored);
	if (server < 0)
		return;
	out = (struct lane){.from = client, .to = server};
	in = (struct lane){.from = server, .to = client};
	for (;;) {
		struct pollfd fds[] = {
			lane_waits_for(&out), lane_waits_for(&in), {.fd = pidfd, .events = POLLIN}};
		if ((poll(fds, 3, -1) < 0 && errno != EINTR) || fds[2].revents)
			return;
		if ((fds[0].revents && !lane_go(&out)) || (fds[1].revents && !lane_go(&in)))
			return;
	}
}

void relay_serve(int listener, const char *path, int pidfd)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = listener, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
		if ((poll(fds, 2, -1) < 0 && errno != EINTR) || fds[1].revents)
			return;
		_cleanup_close_ int client = sock_accept(listener);
		if (client >= 0 && is_ours(client))
			relay(client, path, pidfd);
	}
}
