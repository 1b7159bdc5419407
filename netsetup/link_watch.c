#include "netsetup/link_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/sock.h"

struct link_watch {
	struct mnl_socket *socket;
	void (*gone)(int link, void *context);
	void *context;
	char message[32768];
};

struct link_watch *link_watch_open(struct err *err)
{
	struct link_watch *w = xcalloc(1, sizeof(*w));
	w->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (w->socket && mnl_socket_bind(w->socket, RTMGRP_LINK, MNL_SOCKET_AUTOPID) == 0)
		return w;
	err_errno(err, "cannot watch the network interfaces");
	link_watch_close(w);
	return NULL;
}

void link_watch_close(struct link_watch *w)
{
	if (w && w->socket)
		mnl_socket_close(w->socket);
	free(w);
}

int link_watch_fd(const struct link_watch *w)
{
	return mnl_socket_get_fd(w->socket);
}

/* A port that leaves its bridge is told in the same words, but of the bridge's family. */
static int take(const struct nlmsghdr *h, void *context)
{
	const struct link_watch *w = context;
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
	if (h->nlmsg_type == RTM_DELLINK && i->ifi_family == AF_UNSPEC)
		w->gone(i->ifi_index, w->context);
	return MNL_CB_OK;
}

/* After an overflow the kernel drops all until the queue has been read empty, and tells of it once. */
void link_watch_look(struct link_watch *w, void (*gone)(int link, void *context), void *context)
{
	bool lost = false;
	w->gone = gone;
	w->context = context;
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(w->socket, w->message, sizeof(w->message));
		if (len > 0)
			mnl_cb_run(w->message, (size_t)len, 0, 0, take, w);
		else if (len < 0 && errno == ENOBUFS)
			lost = true;
		else if (len == 0 || errno != EINTR)
			break;
	}
	if (lost)
		gone(0, context);
}
