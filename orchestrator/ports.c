#include "orchestrator/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

/* Binds for a moment: a port that is taken is told before QEMU is there. 0 becomes a free one. */
static int try_port(const struct forward *f, uint16_t *port, struct err *err)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(f->host_port)};
	socklen_t len = sizeof(a);
	_cleanup_close_ int fd =
		socket(AF_INET, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	int one = 1;
	if (inet_pton(AF_INET, f->host, &a.sin_addr) != 1)
		return err_set(err, ERR_USAGE, "'%s' is no IPv4 address", f->host);
	if (!f->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
		(!f->udp && listen(fd, 1) < 0) ||
		getsockname(fd, (struct sockaddr *)&a, &len) < 0) {
		bool taken = errno == EADDRINUSE;
		err_errno(err, "cannot forward %s:%u", f->host, f->host_port);
		if (taken)
			err_hint(err,
				"another program listens there: `ss -ltnup` names it; choose another port");
		err->kind = taken ? ERR_BUSY : err->kind;
		return -1;
	}
	*port = ntohs(a.sin_port);
	return 0;
}

int ports_choose(const struct nic_def *n, size_t index, json_t *list, struct err *err)
{
	for (size_t i = 0; i < n->forward_count; i++) {
		const struct forward *f = &n->forwards[i];
		uint16_t port = 0;
		if (try_port(f, &port, err) < 0)
			return -1;
		json_array_append_new(list,
			json_pack("{s:I, s:s, s:i, s:i, s:b}", "nic", (json_int_t)index, "host",
				f->host, "port", port, "guest_port", f->guest_port, "udp", f->udp));
	}
	return 0;
}
