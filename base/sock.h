/*
 * Unix stream sockets: listeners only their owner can reach, connecting with a deadline, passing
 * file descriptors, asking who the peer is.
 */
#ifndef BASE_SOCK_H
#define BASE_SOCK_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Most fds that travel with one message. */
#define SOCK_FDS_MAX 16

/*
 * A listening socket at `path`, mode 0600 from its first moment, non-blocking, close-on-exec. It
 * is bound under a temporary name and renamed into place, so a stale socket is replaced without a
 * gap. A path over 107 bytes is an error that says so.
 */
int sock_listen(const char *path, int backlog, struct err *err);
/* The same with mode 0660 less the umask: for an instance that a group may use. */
int sock_listen_shared(const char *path, int backlog, struct err *err);
/* The same, but what has that name already stays, and that is an error. */
int sock_listen_where_none(const char *path, int backlog, struct err *err);
/*
 * Connects, non-blocking afterwards, close-on-exec. A full queue is tried again until `deadline`;
 * a socket that nobody listens on is ERR_GONE at once, a missing one ERR_NOT_FOUND.
 */
int sock_connect(const char *path, int64_t deadline, struct err *err);
/* The next client of a listener: non-blocking, close-on-exec; -1 with errno EAGAIN if none. */
int sock_accept(int listener);
int sock_pair(int out[2], struct err *err); /* stream, non-blocking, close-on-exec */

struct sock_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
int sock_peer(int fd, struct sock_peer *out, struct err *err);
/* Was the peer in that group when it connected, by its own or a supplementary one? */
bool sock_peer_has_group(int fd, gid_t gid);

/*
 * sendmsg/recvmsg with fds attached. Returns bytes moved, 0 for end of file (receiving), -1 with
 * errno. Received fds are close-on-exec; *fd_count holds the room in `fds` before and the number
 * received after; fds over that room are closed.
 */
ssize_t sock_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count);
ssize_t sock_recv(int fd, void *data, size_t len, int *fds, size_t *fd_count);

/*
 * poll() until `deadline`: >0 ready, 0 deadline passed, -1 errno. Who has slept well beyond it had no processor,
 * and neither had those that he waited for: on a machine that stood still they get a moment to answer.
 */
int fds_wait(struct pollfd *fds, size_t count, int64_t deadline);
int fd_wait(int fd, short events, int64_t deadline);
int fd_set_nonblocking(int fd, int on);

#endif
