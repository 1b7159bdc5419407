#include "orchestrator/reach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/publish.h"

/* ---- which way ------------------------------------------------------------------------------------ */

bool reach_defined(const struct definition *d, unsigned port)
{
	for (size_t i = 0; i < d->nic_count; i++)
		for (size_t k = 0; k < d->nics[i].forward_count; k++)
			if (d->nics[i].forwards[k].guest_port == port &&
				!d->nics[i].forwards[k].udp)
				return true;
	return false;
}

static bool by_forward(const json_t *forwards, unsigned port, struct reach *out)
{
	size_t i;
	json_t *f;
	json_array_foreach (forwards, i, f) {
		if (json_get_int(f, "guest_port", 0) != port || json_get_bool(f, "udp", false))
			continue;
		const char *host = json_get_str(f, "host", "127.0.0.1");
		*out = (struct reach){.port = (uint16_t)json_get_int(f, "port", 0)};
		snprintf(out->address, sizeof(out->address), "%s",
			str_eq(host, "0.0.0.0") ? "127.0.0.1"
			: str_eq(host, "::")    ? "::1"
						: host);
		return true;
	}
	return false;
}

int reach_find(const struct definition *d, const struct status *s, unsigned port, struct reach *out,
	struct err *err)
{
	if (by_forward(s->forwards, port, out))
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s': no interface forwards a port to its port %u",
		d->name, port);
	return err_hint(
		err, "add hostfwd: [\"-%u\"] to a `user` interface of its definition", port);
}

/* ---- the connection ------------------------------------------------------------------------------- */

static int begin_here(const struct reach *r, struct err *err)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(r->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(r->port)};
	bool is_six = inet_pton(AF_INET6, r->address, &six.sin6_addr) == 1;
	if (!is_six && inet_pton(AF_INET, r->address, &four.sin_addr) != 1)
		return err_set(err, ERR_USAGE, "'%s' is not a literal IP address", r->address);
	_cleanup_close_ int fd =
		socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, "cannot make a socket");
	int result = is_six ? connect(fd, (struct sockaddr *)&six, sizeof(six))
			    : connect(fd, (struct sockaddr *)&four, sizeof(four));
	return result == 0 || errno == EINPROGRESS ? TAKE_FD(fd)
						   : err_errno(err, "%s", "cannot connect");
}

int reach_begin(const struct reach *r, struct err *err)
{
	int fd = begin_here(r, err);
	return fd < 0 ? err_prefix(err, "%s", publish_host_text(r->address, r->port)) : fd;
}

int reach_connect(const struct reach *r, int64_t deadline, struct err *err)
{
	int number = ETIMEDOUT;
	socklen_t len = sizeof(number);
	_cleanup_close_ int fd = reach_begin(r, err);
	if (fd < 0)
		return -1;
	if (fd_wait(fd, POLLOUT, deadline) > 0 &&
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) < 0)
		number = errno;
	if (!number)
		return TAKE_FD(fd);
	bool refused = number == ECONNREFUSED || number == ECONNRESET;
	err_set(err, refused ? ERR_GONE : ERR_TIMEOUT, "%s: %s",
		publish_host_text(r->address, r->port), strerror(number));
	return err_hint(err, refused ? "nothing listens there in the guest"
				     : "it does not answer: does it run, and has it its address?");
}
