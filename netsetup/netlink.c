#include "netsetup/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
	char said[160]; /* the kernel's sentence about the last request, or "" */
	char request[4096];
	char answer[32768];
};

struct netlink *netlink_open(struct err *err)
{
	struct netlink *n = xcalloc(1, sizeof(*n));
	int on = 1;
	n->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!n->socket || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		err_errno(err, "cannot open rtnetlink");
		netlink_close(n);
		return NULL;
	}
	/* older kernels have neither, and then say less */
	mnl_socket_setsockopt(n->socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(n->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	return n;
}

void netlink_close(struct netlink *n)
{
	if (n && n->socket)
		mnl_socket_close(n->socket);
	free(n);
}

void netlink_cleanup(struct netlink **n)
{
	netlink_close(*n);
	*n = NULL;
}

/* ---- one request and its answer ------------------------------------------------------------------ */

static struct nlmsghdr *begin(struct netlink *n, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(n->request);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	h->nlmsg_seq = ++n->seq;
	return h;
}

static struct nlmsghdr *begin_link(struct netlink *n, uint16_t type, uint16_t flags, int link)
{
	struct nlmsghdr *h = begin(n, type, flags);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(h, sizeof(*i));
	i->ifi_index = link;
	return h;
}

static void want_up(struct nlmsghdr *h)
{
	struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
	i->ifi_flags |= IFF_UP;
	i->ifi_change |= IFF_UP;
}

static int take_sentence(const struct nlattr *a, void *n)
{
	struct netlink *to = n;
	if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG &&
		mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		snprintf(to->said, sizeof(to->said), "%s", mnl_attr_get_str(a));
	return MNL_CB_OK;
}

/* The attributes come after the request's header, or after the whole request if that was not cut. */
static void take_ack(struct netlink *n, const struct nlmsghdr *ack)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(ack);
	size_t skip = sizeof(*e);
	if (!(ack->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(ack->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - sizeof(e->msg);
	mnl_attr_parse(ack, (unsigned)skip, take_sentence, n);
}

/* Returns 0 or an errno. `data`, unless NULL, gets what comes before the acknowledgement. */
static int talk(struct netlink *n, const struct nlmsghdr *h, mnl_cb_t data, void *context)
{
	unsigned port = mnl_socket_get_portid(n->socket);
	n->said[0] = '\0';
	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return errno;
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(n->socket, n->answer, sizeof(n->answer));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return errno;
		const struct nlmsghdr *first = (const struct nlmsghdr *)n->answer;
		if (mnl_nlmsg_ok(first, (int)len) && first->nlmsg_seq == n->seq &&
			first->nlmsg_type == NLMSG_ERROR)
			take_ack(n, first);
		int more = mnl_cb_run(n->answer, (size_t)len, n->seq, port, data, context);
		if (more < 0 && errno == ESRCH)
			continue; /* of an earlier request whose answer nobody waited for */
		if (more <= MNL_CB_STOP)
			return more < 0 ? errno : 0;
	}
}

static int fail(struct netlink *n, int error, struct err *err, const char *what, const char *name)
{
	errno = error;
	if (!n->said[0])
		return err_errno(err, "%s '%s'", what, name);
	enum err_kind kind = error == EPERM || error == EACCES ? ERR_REFUSED : ERR_SYSTEM;
	return err_set(err, kind, "%s '%s': %s (%s)", what, name, n->said, strerror(error));
}

static int fail_link(struct netlink *n, int error, struct err *err, const char *what, int link)
{
	char name[IF_NAMESIZE], number[16];
	snprintf(number, sizeof(number), "%d", link);
	int result =
		fail(n, error, err, what, if_indextoname((unsigned)link, name) ? name : number);
	return result;
}

/* ---- links ---------------------------------------------------------------------------------------- */

static int take_index(const struct nlmsghdr *h, void *index)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
	*(int *)index = i->ifi_index;
	return MNL_CB_OK;
}

int link_index(struct netlink *n, const char *name, struct err *err)
{
	int index = 0;
	struct nlmsghdr *h = begin_link(n, RTM_GETLINK, 0, 0);
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	int error = talk(n, h, take_index, &index);
	if (error == ENODEV || (!error && !index))
		return err_set(err, ERR_NOT_FOUND, "there is no network interface '%s'", name);
	return error ? fail(n, error, err, "cannot look at the network interface", name) : index;
}

static int take_kind(const struct nlattr *a, void *bridge)
{
	if (mnl_attr_get_type(a) == IFLA_INFO_KIND &&
		mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		*(bool *)bridge = strcmp(mnl_attr_get_str(a), "bridge") == 0;
	return MNL_CB_OK;
}

static int find_kind(const struct nlattr *a, void *bridge)
{
	return mnl_attr_get_type(a) == IFLA_LINKINFO ? mnl_attr_parse_nested(a, take_kind, bridge)
						     : MNL_CB_OK;
}

static int look_for_kind(const struct nlmsghdr *h, void *bridge)
{
	return mnl_attr_parse(h, sizeof(struct ifinfomsg), find_kind, bridge);
}

int bridge_index(struct netlink *n, const char *name, struct err *err)
{
	bool bridge = false;
	int link = link_index(n, name, err);
	if (link < 0)
		return err->kind != ERR_NOT_FOUND
			       ? -1
			       : err_hint(err,
					 "`ip link add %s type bridge` makes a bridge, `ip -br link show type bridge` lists those that there are",
					 name);
	int error = talk(n, begin_link(n, RTM_GETLINK, 0, link), look_for_kind, &bridge);
	if (error)
		return fail_link(n, error, err, "cannot look at the network interface", link);
	if (bridge)
		return link;
	err_set(err, ERR_REFUSED, "the network interface '%s' is no bridge", name);
	return err_hint(err, "`ip -br link show type bridge` lists the bridges that there are");
}

static int take_counters(const struct nlattr *a, void *out)
{
	struct rtnl_link_stats64 s;
	struct link_counters *c = out;
	if (mnl_attr_get_type(a) != IFLA_STATS64 || mnl_attr_get_payload_len(a) < sizeof(s))
		return MNL_CB_OK;
	memcpy(&s, mnl_attr_get_payload(a), sizeof(s));
	*c = (struct link_counters){s.rx_bytes, s.rx_packets, s.rx_errors, s.rx_dropped, s.tx_bytes,
		s.tx_packets, s.tx_errors, s.tx_dropped};
	return MNL_CB_OK;
}

static int find_counters(const struct nlmsghdr *h, void *out)
{
	return mnl_attr_parse(h, sizeof(struct ifinfomsg), take_counters, out);
}

int link_count(struct netlink *n, int link, struct link_counters *out, struct err *err)
{
	*out = (struct link_counters){0};
	int error = talk(n, begin_link(n, RTM_GETLINK, 0, link), find_counters, out);
	return error ? fail_link(n, error, err, "cannot look at the network interface", link) : 0;
}

static int take_master(const struct nlattr *a, void *out)
{
	if (mnl_attr_get_type(a) == IFLA_MASTER && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		*(int *)out = (int)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int find_master(const struct nlmsghdr *h, void *out)
{
	return mnl_attr_parse(h, sizeof(struct ifinfomsg), take_master, out);
}

int link_master(struct netlink *n, int link, struct err *err)
{
	int master = 0;
	int error = talk(n, begin_link(n, RTM_GETLINK, 0, link), find_master, &master);
	return error ? fail_link(n, error, err, "cannot look at the network interface", link)
		     : master;
}

int link_up(struct netlink *n, int link, struct err *err)
{
	struct nlmsghdr *h = begin_link(n, RTM_NEWLINK, 0, link);
	want_up(h);
	int error = talk(n, h, NULL, NULL);
	return error ? fail_link(n, error, err, "cannot set up the network interface", link) : 0;
}

int link_set_alias(struct netlink *n, int link, const char *alias, struct err *err)
{
	struct nlmsghdr *h = begin_link(n, RTM_NEWLINK, 0, link);
	mnl_attr_put_str(h, IFLA_IFALIAS, alias);
	int error = talk(n, h, NULL, NULL);
	return error ? fail_link(n, error, err, "cannot set the alias of", link) : 0;
}

int link_set_mtu(struct netlink *n, int link, unsigned mtu, struct err *err)
{
	struct nlmsghdr *h = begin_link(n, RTM_NEWLINK, 0, link);
	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	int error = talk(n, h, NULL, NULL);
	return error ? fail_link(n, error, err, "cannot set the MTU of", link) : 0;
}

int link_mtu(const char *name, unsigned *mtu, struct err *err)
{
	struct ifreq r = {0};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &r) < 0)
		return err_errno(err, "cannot read the MTU of '%s'", name);
	*mtu = (unsigned)r.ifr_mtu;
	return 0;
}

int link_remove(struct netlink *n, int link, struct err *err)
{
	int error = talk(n, begin_link(n, RTM_DELLINK, 0, link), NULL, NULL);
	if (error == ENODEV)
		return 0;
	return error ? fail_link(n, error, err, "cannot remove the network interface", link) : 0;
}

int veth_make(struct netlink *n, const char *name, const char *peer, int where, struct err *err)
{
	struct nlmsghdr *h = begin_link(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	struct nlattr *other = mnl_attr_nest_start(h, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, peer);
	if (where >= 0)
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)where);
	mnl_attr_nest_end(h, other);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	int error = talk(n, h, NULL, NULL);
	return error ? fail(n, error, err, "cannot make the veth pair", name) : 0;
}

/* ---- bridges -------------------------------------------------------------------------------------- */

int bridge_make(struct netlink *n, const char *name, const struct mac *mac, struct err *err)
{
	struct nlmsghdr *h = begin_link(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	want_up(h);
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	mnl_attr_put(h, IFLA_ADDRESS, sizeof(mac->bytes), mac->bytes);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u32(h, IFLA_BR_STP_STATE, 0);
	mnl_attr_put_u32(h, IFLA_BR_FORWARD_DELAY, 0);
	mnl_attr_put_u8(h, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	int error = talk(n, h, NULL, NULL);
	return error ? fail(n, error, err, "cannot make the bridge", name)
		     : link_index(n, name, err);
}

int port_join(struct netlink *n, int link, int bridge, struct port_flags flags, struct err *err)
{
	struct nlmsghdr *h = begin_link(n, RTM_NEWLINK, 0, link);
	mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t)bridge);
	int error = talk(n, h, NULL, NULL);
	if (error)
		return fail_link(n, error, err, "cannot put on its bridge", link);
	/* a message of its own: what a port is told is refused before it is one. Up comes last, so that
	 * no frame passes before it is told. */
	h = begin_link(n, RTM_NEWLINK, 0, link);
	want_up(h);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_SLAVE_KIND, "bridge");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(h, IFLA_BRPORT_ISOLATED, flags.isolated);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	error = talk(n, h, NULL, NULL);
	return error ? fail_link(n, error, err, "cannot set up the bridge port", link) : 0;
}

/* ---- addresses, routes ---------------------------------------------------------------------------- */

static size_t length_of(const struct prefix *p)
{
	return p->family == AF_INET ? 4 : 16;
}

int address_add(struct netlink *n, int link, const struct prefix *p, struct err *err)
{
	char text[ADDRESS_TEXT + 4];
	struct nlmsghdr *h = begin(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifa_family = (uint8_t)p->family;
	m->ifa_prefixlen = (uint8_t)p->bits;
	m->ifa_index = (uint32_t)link;
	m->ifa_flags = p->family == AF_INET6 ? IFA_F_NODAD : 0;
	mnl_attr_put(h, IFA_LOCAL, length_of(p), p->address);
	mnl_attr_put(h, IFA_ADDRESS, length_of(p), p->address);
	int error = talk(n, h, NULL, NULL);
	return error ? fail(n, error, err, "cannot give an interface the address",
			       prefix_text(p, text))
		     : 0;
}

int route_add(
	struct netlink *n, const struct prefix *to, const struct prefix *gateway, struct err *err)
{
	char text[ADDRESS_TEXT + 4];
	struct nlmsghdr *h = begin(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->rtm_family = (uint8_t)gateway->family;
	m->rtm_dst_len = to ? (uint8_t)to->bits : 0;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	if (to)
		mnl_attr_put(h, RTA_DST, length_of(to), to->address);
	mnl_attr_put(h, RTA_GATEWAY, length_of(gateway), gateway->address);
	int error = talk(n, h, NULL, NULL);
	return error ? fail(n, error, err, "cannot add the route to",
			       to ? prefix_text(to, text) : "everywhere")
		     : 0;
}

struct route_walk {
	route_fn *fn;
	void *context;
	bool enough;
	struct route found;
};

static int take_route_part(const struct nlattr *a, void *route)
{
	struct route *r = route;
	if (mnl_attr_get_type(a) == RTA_DST && mnl_attr_get_payload_len(a) == length_of(&r->to))
		memcpy(r->to.address, mnl_attr_get_payload(a), length_of(&r->to));
	else if (mnl_attr_get_type(a) == RTA_OIF && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		r->link = (int)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int take_route(const struct nlmsghdr *h, void *context)
{
	struct route_walk *w = context;
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	w->found = (struct route){.to = {.family = m->rtm_family, .bits = m->rtm_dst_len},
		.local = m->rtm_type == RTN_LOCAL,
		.advertised = m->rtm_protocol == RTPROT_RA};
	mnl_attr_parse(h, sizeof(*m), take_route_part, &w->found);
	/* an answer is read to its end, also when no more of it is wanted */
	if (!w->enough && (m->rtm_type == RTN_UNICAST || m->rtm_type == RTN_LOCAL) &&
		(m->rtm_family == AF_INET || m->rtm_family == AF_INET6) &&
		!(m->rtm_flags & RTM_F_CLONED))
		w->enough = !w->fn(&w->found, w->context);
	return MNL_CB_OK;
}

int routes(struct netlink *n, route_fn *fn, void *context, struct err *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct route_walk w = {.fn = fn, .context = context};
	for (size_t i = 0; i < ARRAY_SIZE(families) && !w.enough; i++) {
		struct nlmsghdr *h = begin(n, RTM_GETROUTE, NLM_F_DUMP);
		struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
		m->rtm_family = families[i];
		int error = talk(n, h, take_route, &w);
		if (error)
			return fail(n, error, err, "cannot read the routes of", "this namespace");
	}
	return 0;
}

/* ---- neighbours ----------------------------------------------------------------------------------- */

struct walk {
	neighbour_fn *fn;
	void *context;
	bool enough;
	struct neighbour found;
	bool has_address, has_mac;
};

static int take_part(const struct nlattr *a, void *context)
{
	struct walk *w = context;
	size_t len = mnl_attr_get_payload_len(a);
	if (mnl_attr_get_type(a) == NDA_DST && len == length_of(&w->found.address)) {
		memcpy(w->found.address.address, mnl_attr_get_payload(a), len);
		w->has_address = true;
	} else if (mnl_attr_get_type(a) == NDA_LLADDR && len == sizeof(w->found.mac.bytes)) {
		memcpy(w->found.mac.bytes, mnl_attr_get_payload(a), len);
		w->has_mac = true;
	}
	return MNL_CB_OK;
}

static int take_neighbour(const struct nlmsghdr *h, void *context)
{
	struct walk *w = context;
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	w->found = (struct neighbour){.link = m->ndm_ifindex,
		.address = {.family = m->ndm_family, .bits = m->ndm_family == AF_INET ? 32 : 128},
		.reachable = (m->ndm_state & (NUD_REACHABLE | NUD_PERMANENT)) != 0};
	w->has_address = w->has_mac = false;
	mnl_attr_parse(h, sizeof(*m), take_part, w);
	/* an answer is read to its end, also when no more of it is wanted */
	if (w->has_address && w->has_mac && !w->enough && !(m->ndm_state & NUD_FAILED))
		w->enough = !w->fn(&w->found, w->context);
	return MNL_CB_OK;
}

int neighbours(struct netlink *n, neighbour_fn *fn, void *context, struct err *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct walk w = {.fn = fn, .context = context};
	for (size_t i = 0; i < ARRAY_SIZE(families) && !w.enough; i++) {
		struct nlmsghdr *h = begin(n, RTM_GETNEIGH, NLM_F_DUMP);
		struct ndmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
		m->ndm_family = families[i];
		int error = talk(n, h, take_neighbour, &w);
		if (error)
			return fail(
				n, error, err, "cannot read the neighbours of", "this namespace");
	}
	return 0;
}
