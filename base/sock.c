#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum { LATE_MS = 100, MOMENT_MS = 250 };

static int address(const char *path, struct sockaddr_un *out, struct err *err)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(out->sun_path)) {
		err_set(err, ERR_USAGE, "the socket path '%s' has %zu bytes, %zu are possible",
			path, strlen(path), sizeof(out->sun_path) - 1);
		return err_hint(err, "set ROOST_RUN to a folder with a shorter path");
	}
	memcpy(out->sun_path, path, strlen(path) + 1);
	return 0;
}

static int listen_at(
	const char *path, int backlog, mode_t mode, unsigned rename_flags, struct err *err)
{
	struct sockaddr_un a;
	_cleanup_free_ char *temporary = str_fmt("%s~", path);
	if (address(temporary, &a, err) < 0)
		return -1;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, "cannot make a socket");
	unlink(temporary);
	/* the mode of a socket file is the mode of the fd at bind, less the umask */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
		listen(fd, backlog) < 0 ||
		renameat2(AT_FDCWD, temporary, AT_FDCWD, path, rename_flags) < 0) {
		err_errno(err, "cannot listen on '%s'", path);
		unlink(temporary);
		return -1;
	}
	return TAKE_FD(fd);
}

int sock_listen(const char *path, int backlog, struct err *err)
{
	return listen_at(path, backlog, 0600, 0, err);
}

int sock_listen_shared(const char *path, int backlog, struct err *err)
{
	return listen_at(path, backlog, 0660, 0, err);
}

int sock_listen_where_none(const char *path, int backlog, struct err *err)
{
	return listen_at(path, backlog, 0660, RENAME_NOREPLACE, err);
}

int sock_connect(const char *path, int64_t deadline, struct err *err)
{
	struct sockaddr_un a;
	if (address(path, &a, err) < 0)
		return -1;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, "cannot make a socket");
	while (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		if (errno == EAGAIN && deadline_left(deadline)) {
			/* the listener's queue is full, and no event tells when it is not */
			poll(NULL, 0, 2);
			continue;
		}
		if (errno == EAGAIN)
			return err_set(err, ERR_TIMEOUT, "'%s' accepts no connection", path);
		if (errno == ECONNREFUSED)
			return err_set(err, ERR_GONE, "nobody listens on '%s'", path);
		return err_errno(err, "cannot connect to '%s'", path);
	}
	return TAKE_FD(fd);
}

int sock_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int sock_pair(int out[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out) < 0)
		return err_errno(err, "cannot make a pair of sockets");
	return 0;
}

int sock_peer(int fd, struct sock_peer *out, struct err *err)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return err_errno(err, "cannot tell who is at the other end of a socket");
	*out = (struct sock_peer){.pid = who.pid, .uid = who.uid, .gid = who.gid};
	return 0;
}

bool sock_peer_has_group(int fd, gid_t gid)
{
	enum { USUAL = 64 };
	gid_t usual[USUAL];
	struct ucred who;
	socklen_t len = sizeof(who), size = sizeof(usual);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.gid == gid)
		return true;
	int got = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, usual, &size);
	if (got < 0 && errno != ERANGE)
		return false;
	/* ERANGE tells how much room is needed */
	_cleanup_free_ gid_t *many = got < 0 ? xcalloc(1, size) : NULL;
	gid_t *groups = many ? many : usual;
	if (many && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(gid_t); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

ssize_t sock_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd_count > SOCK_FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (fd_count) {
		m.msg_control = control.space;
		m.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

ssize_t sock_recv(int fd, void *data, size_t len, int *fds, size_t *fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = data, .iov_len = len};
	struct msghdr m = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	size_t room = *fd_count;
	ssize_t n;
	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	*fd_count = 0;
	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int got;
			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*fd_count < room)
				fds[(*fd_count)++] = got;
			else
				close(got);
		}
	}
	return n;
}

int fds_wait(struct pollfd *fds, size_t count, int64_t deadline)
{
	for (bool late = false;;) {
		int left = late ? MOMENT_MS : deadline_left(deadline);
		int n = poll(fds, count, left);
		if (n > 0 || (n < 0 && errno != EINTR))
			return n;
		if (n == 0 && (late || !left || clock_ms() - deadline < LATE_MS))
			return 0;
		late = n == 0;
	}
}

int fd_wait(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	return fds_wait(&p, 1, deadline);
}

int fd_set_nonblocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return -1;
	return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}
