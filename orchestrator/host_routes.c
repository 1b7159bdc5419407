/* A dump by rtnetlink(7), without libmnl: most programs have this for one question. */
#include "orchestrator/host_routes.h"

#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sock.h"

struct routes {
	struct host_route *list;
	size_t count;
};

static int ask(int fd, int family, struct err *err)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg what;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETROUTE,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.what = {.rtm_family = (unsigned char)family},
	};
	if (send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request))
		return 0;
	return err_errno(err, "cannot ask for the host's routes");
}

static bool matters(const struct rtmsg *r)
{
	return r->rtm_dst_len > 1 && r->rtm_type != RTN_BROADCAST && r->rtm_type != RTN_MULTICAST &&
	       r->rtm_type != RTN_ANYCAST && !(r->rtm_flags & RTM_F_CLONED);
}

static void take_route(const struct nlmsghdr *message, struct routes *all)
{
	const struct rtmsg *r = NLMSG_DATA(message);
	struct host_route route = {.to = {.family = r->rtm_family, .bits = r->rtm_dst_len}};
	unsigned len = (unsigned)RTM_PAYLOAD(message);
	if (!matters(r))
		return;
	for (const struct rtattr *a = RTM_RTA(r); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		unsigned link;
		if (a->rta_type == RTA_DST && RTA_PAYLOAD(a) <= sizeof(route.to.address))
			memcpy(route.to.address, RTA_DATA(a), RTA_PAYLOAD(a));
		if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == sizeof(link)) {
			memcpy(&link, RTA_DATA(a), sizeof(link));
			if (!if_indextoname(link, route.interface))
				route.interface[0] = '\0';
		}
	}
	all->list = xrealloc(all->list, (all->count + 1) * sizeof(*all->list));
	all->list[all->count++] = route;
}

/* 1: that was the last. */
static int take_answer(const void *data, size_t len, struct routes *all, struct err *err)
{
	unsigned left = (unsigned)len;
	for (const struct nlmsghdr *m = data; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
		if (m->nlmsg_type == NLMSG_DONE)
			return 1;
		if (m->nlmsg_type == NLMSG_ERROR)
			return err_set(
				err, ERR_SYSTEM, "the kernel does not tell the host's routes");
		if (m->nlmsg_type == RTM_NEWROUTE)
			take_route(m, all);
	}
	return 0;
}

int host_routes(int family, struct host_route **out, size_t *count, struct err *err)
{
	_Alignas(struct nlmsghdr) char answer[32768];
	struct routes all = {0};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int done = fd < 0 ? err_errno(err, "cannot open a netlink socket") : ask(fd, family, err);
	while (done == 0) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);
		done = n < 0 ? err_errno(err, "cannot read the host's routes")
			     : take_answer(answer, (size_t)n, &all, err);
	}
	if (done < 0) {
		free(all.list);
		return -1;
	}
	*out = all.list;
	*count = all.count;
	return 0;
}
