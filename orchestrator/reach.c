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
#include "orchestrator/network_call.h"
#include "orchestrator/publish.h"

/* ---- which way ------------------------------------------------------------------------------------ */

bool reach_defined(const struct definition *d, unsigned port)
{
	for (size_t i = 0; i < d->nic_count; i++) {
		const struct nic_def *n = &d->nics[i];
		if (n->kind != NIC_USER)
			return true;
		for (size_t k = 0; k < n->forward_count; k++)
			if (n->forwards[k].guest_port == port && !n->forwards[k].udp)
				return true;
	}
	return false;
}

/* On a bridge that is not ours: the address with which that MAC was seen, an IPv4 one rather than others. */
static void find_seen(const struct network *n, const char *mac, char out[46])
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *seen = NULL;
	size_t i;
	json_t *one;
	if (network_call(n, "net-neighbours", NULL, NULL, 0, &seen, NULL, NULL, NETWORK_CALL_MS,
		    &ignored) < 0)
		return;
	json_array_foreach (seen, i, one) {
		const char *address = json_get_str(one, "address", "");
		bool four = !strchr(address, ':');
		if (str_eq(json_get_str(one, "mac", ""), mac) && !str_starts(address, "fe80:") &&
			(four || !out[0]))
			snprintf(out, 46, "%s", address);
	}
}

/* False: the interface is on no network, or nobody knows its address. *active: the network can dial now. */
static bool by_network(const struct nic_def *nic, unsigned port, struct reach *out, bool *active)
{
	struct err ignored = ERR_INIT;
	struct network n;
	struct reach r = {.port = (uint16_t)port};
	if (nic->kind == NIC_USER)
		return false;
	snprintf(r.network, sizeof(r.network), "%s%.47s",
		nic->kind == NIC_BRIDGE ? NETWORK_OF_BRIDGE : "", nic->network);
	snprintf(
		r.address, sizeof(r.address), "%s", nic->address[0] ? nic->address : nic->address6);
	*active = network_load(r.network, &n, &ignored) == 0 && network_active(&n);
	if (*active && !r.address[0])
		find_seen(&n, nic->mac, r.address);
	*out = r;
	return r.address[0];
}

/* By a forward of that interface, or with -1 of any: what was plugged is not in the definition. */
static bool by_forward(const json_t *forwards, int64_t nic, unsigned port, struct reach *out)
{
	size_t i;
	json_t *f;
	json_array_foreach (forwards, i, f) {
		if (json_get_int(f, "guest_port", 0) != port || json_get_bool(f, "udp", false) ||
			(nic >= 0 && json_get_int(f, "nic", 0) != nic))
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
	struct reach found, first = {0};
	bool active, on_network = false;
	for (size_t i = 0; i < d->nic_count; i++) {
		bool user = d->nics[i].kind == NIC_USER;
		on_network = on_network || !user;
		if (user && by_forward(s->forwards, (int64_t)i, port, out))
			return 0;
		if (user || !by_network(&d->nics[i], port, &found, &active))
			continue;
		if (active) {
			*out = found;
			return 0;
		}
		if (!first.port)
			first = found;
	}
	if (by_forward(s->forwards, -1, port, out))
		return 0;
	if (first.port) {
		*out = first;
		return 0;
	}
	if (on_network)
		return err_set(err, ERR_TIMEOUT,
			"guest '%s': nobody has seen its address on the bridge yet", d->name);
	err_set(err, ERR_REFUSED,
		"guest '%s': no interface is on a network, and none forwards a port to its port %u",
		d->name, port);
	return err_hint(err,
		"add `network: default` to the interfaces of its definition, or hostfwd: "
		"[\"-%u\"] to a `user` interface",
		port);
}

/* ---- the connection ------------------------------------------------------------------------------- */

static int begin_by_network(const struct reach *r, struct err *err)
{
	struct network n;
	int fd = -1;
	size_t count = 1;
	if (network_load(r->network, &n, err) < 0 ||
		network_call(&n, "net-dial",
			json_pack("{s:s, s:i}", "address", r->address, "port", (int)r->port), NULL,
			0, NULL, &fd, &count, NETWORK_CALL_MS, err) < 0)
		return -1;
	return count ? fd : err_set(err, ERR_GONE, "network '%s' gave no socket", n.name);
}

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
	int fd = r->network[0] ? begin_by_network(r, err) : begin_here(r, err);
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
