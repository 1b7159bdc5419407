/*
 * Published ports: for each a proxy (netsetup/proxy.h) with the socket that came with net-publish. The holder keeps the
 * socket too, and starts the proxy anew if that dies. They go with the guest's tap. What is published stands in the
 * tap's file in `ports`; a holder that follows a killed one cannot make sockets of the host's, so it waits for
 * network_republish(). The proxies of a killed one make room, but keep what is connected.
 */
#include "orchestrator/holder.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "netsetup/proxy.h"
#include "orchestrator/publish.h"

enum { PAUSE_MS = 1000, ENDED_MS = 5000 };

struct published {
	struct published *next;
	char tap[16];
	struct forward forward; /* host_port is the one that it got */
	struct proxy proxy;
	struct proc child;
	int64_t begun; /* its child, at that time; no other one within PAUSE_MS */
};

static bool is_same(const json_t *entry, const struct forward *f)
{
	return str_eq(json_get_str(entry, "host", ""), f->host) &&
	       json_get_int(entry, "port", 0) == f->host_port &&
	       json_get_bool(entry, "udp", false) == f->udp;
}

static struct published *find(const struct holder *h, const struct forward *f)
{
	for (struct published *p = h->published; p; p = p->next)
		if (str_eq(p->forward.host, f->host) && p->forward.udp == f->udp &&
			p->forward.host_port == f->host_port)
			return p;
	return NULL;
}

/* ---- what net-publish says ------------------------------------------------------------------------ */

static int read_ports(const json_t *args, struct forward *out, struct err *err)
{
	struct forward f = {.udp = json_get_bool(args, "udp", false)};
	const char *host = json_get_str(args, "host", "");
	int64_t port = json_get_int(args, "port", 0), guest = json_get_int(args, "guest_port", 1);
	unsigned char ignored[16];
	if ((inet_pton(AF_INET, host, ignored) != 1 && inet_pton(AF_INET6, host, ignored) != 1) ||
		strlen(host) >= sizeof(f.host))
		return err_set(err, ERR_USAGE, "'%.60s' is not an address", host);
	if (port < 1 || port > UINT16_MAX || guest < 1 || guest > UINT16_MAX)
		return err_set(err, ERR_USAGE, "a port is a number from 1 to 65535");
	strcpy(f.host, host);
	f.host_port = (uint16_t)port;
	f.guest_port = (uint16_t)guest;
	*out = f;
	return 0;
}

/* Not just anything: it is read and written by a process that nobody looks at. */
static int check_socket(int fd, bool udp, struct err *err)
{
	int type = 0, listens = 0, domain = 0;
	socklen_t len = sizeof(int);
	if (fd < 0)
		return err_set(err, ERR_USAGE, "no socket came with net-publish");
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return err_errno(err, "what came with net-publish");
	bool good = (domain == AF_INET || domain == AF_INET6) &&
		    (udp ? type == SOCK_DGRAM : type == SOCK_STREAM && listens);
	return good ? 0
		    : err_set(err, ERR_USAGE, "what came with net-publish is no %s socket that %s",
			      udp ? "UDP" : "TCP", udp ? "is bound" : "listens");
}

/* ---- the proxies ---------------------------------------------------------------------------------- */

static int start(struct holder *h, struct published *p, struct err *err)
{
	struct epoll_event e = {.events = EPOLLIN};
	pid_t pid = proxy_start(&p->proxy, err);
	p->begun = clock_ms();
	if (pid < 0 || proc_open_child(pid, &p->child, err) < 0)
		return -1;
	epoll_ctl(h->proxies, EPOLL_CTL_ADD, p->child.pidfd, &e);
	return 0;
}

static void end(struct published *p)
{
	struct err ignored = ERR_INIT;
	int status;
	if (p->child.pidfd >= 0) {
		proc_signal(&p->child, SIGKILL, &ignored);
		proc_reap(&p->child, deadline_in(ENDED_MS), &status, &ignored);
	}
	proc_close(&p->child);
	cleanup_close(&p->proxy.socket);
	free(p);
}

static void forget(struct holder *h, struct published *p)
{
	for (struct published **at = &h->published; *at; at = &(*at)->next) {
		if (*at != p)
			continue;
		*at = p->next;
		break;
	}
	end(p);
}

static void tell(json_t *told, const struct forward *f)
{
	json_t *list = json_object_get(told, "publish"), *entry;
	size_t i;
	if (!list) {
		list = json_array();
		json_object_set_new(told, "publish", list);
	}
	json_array_foreach (list, i, entry)
		if (is_same(entry, f))
			return; /* as a former holder was told */
	json_array_append_new(
		list, json_pack("{s:s, s:i, s:i, s:b}", "host", f->host, "port", (int)f->host_port,
			      "guest_port", (int)f->guest_port, "udp", f->udp));
}

/* Was it told? */
static bool untell(json_t *told, const struct forward *f)
{
	json_t *list = json_object_get(told, "publish"), *entry;
	size_t i;
	json_array_foreach (list, i, entry)
		if (is_same(entry, f))
			return json_array_remove(list, i) == 0;
	return false;
}

/* ---- the commands --------------------------------------------------------------------------------- */

int publish_add(struct holder *h, struct port *port, const json_t *args, int *fd, struct err *err)
{
	struct forward f;
	if (read_ports(args, &f, err) < 0 || check_socket(*fd, f.udp, err) < 0)
		return -1;
	const char *where = publish_host_text(f.host, f.host_port);
	if (!h->own || !port->has4)
		return err_set(err, ERR_REFUSED,
			"'%s' has no address of ours that %s could lead to", port->tap, where);
	if (find(h, &f))
		return err_set(err, ERR_REFUSED, "%s is published already", where);
	struct published *p = xcalloc(1, sizeof(*p));
	*p = (struct published){.forward = f,
		.child = PROC_NONE,
		.proxy = {.socket = TAKE_FD(*fd),
			.udp = f.udp,
			.link = port->link,
			.alive = h->alive[0],
			.guest = {.sin_family = AF_INET, .sin_port = htons(f.guest_port)}}};
	memcpy(p->tap, port->tap, sizeof(p->tap));
	memcpy(&p->proxy.guest.sin_addr, port->address4.address, sizeof(struct in_addr));
	p->next = h->published;
	h->published = p;
	tell(port->told, &f);
	if (start(h, p, err) == 0 && port_write(h, port, err) == 0)
		return 0;
	untell(port->told, &f);
	forget(h, p);
	return -1;
}

int publish_remove(struct holder *h, struct port *port, const json_t *args, struct err *err)
{
	struct forward f;
	if (read_ports(args, &f, err) < 0)
		return -1;
	if (!untell(port->told, &f))
		return err_set(err, ERR_NOT_FOUND, "%s is not published of guest '%s'",
			publish_host_text(f.host, f.host_port),
			json_get_str(port->told, "guest", ""));
	struct published *p = find(h, &f); /* not that of a former holder, which is lost */
	if (p)
		forget(h, p);
	return port_write(h, port, err);
}

void publish_drop(struct holder *h, const char *tap)
{
	for (struct published *p = h->published, *next; p; p = next) {
		next = p->next;
		if (str_eq(p->tap, tap))
			forget(h, p);
	}
}

/* ---- looking -------------------------------------------------------------------------------------- */

int publish_open(struct holder *h, struct err *err)
{
	h->proxies = epoll_create1(EPOLL_CLOEXEC);
	if (h->proxies < 0 || pipe2(h->alive, O_CLOEXEC) < 0)
		return err_errno(err, "cannot watch processes");
	return 0;
}

void publish_close(struct holder *h)
{
	while (h->published)
		forget(h, h->published);
}

int64_t publish_deadline(const struct holder *h)
{
	int64_t next = DEADLINE_NONE;
	for (const struct published *p = h->published; p; p = p->next)
		if (p->child.pidfd < 0 && p->begun + PAUSE_MS < next)
			next = p->begun + PAUSE_MS;
	return next;
}

void publish_look(struct holder *h)
{
	struct err ignored = ERR_INIT;
	struct epoll_event e;
	int status;
	if (epoll_wait(h->proxies, &e, 1, 0) <= 0 && deadline_left(publish_deadline(h)))
		return;
	for (struct published *p = h->published; p; p = p->next) {
		if (p->child.pidfd >= 0 &&
			proc_reap(&p->child, deadline_in(0), &status, &ignored) == 0)
			proc_close(&p->child);
		if (p->child.pidfd < 0 && clock_ms() >= p->begun + PAUSE_MS)
			start(h, p, &ignored);
	}
}
