#include "netsetup/nft_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/mem.h"

struct nft_watch {
	struct mnl_socket *socket;
};

struct nft_watch *nft_watch_open(struct err *err)
{
	int group = NFNLGRP_NFTABLES;
	struct nft_watch *w = xcalloc(1, sizeof(*w));
	w->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (w->socket && mnl_socket_bind(w->socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
		mnl_socket_setsockopt(w->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) ==
			0)
		return w;
	err_errno(err, "cannot watch nftables");
	nft_watch_close(w);
	return NULL;
}

void nft_watch_close(struct nft_watch *w)
{
	if (w && w->socket)
		mnl_socket_close(w->socket);
	free(w);
}

int nft_watch_fd(const struct nft_watch *w)
{
	return mnl_socket_get_fd(w->socket);
}

static int take_process_name(const struct nlattr *a, void *context)
{
	char own[16] = "";
	bool *foreign = context;
	prctl(PR_GET_NAME, own);
	if (mnl_attr_get_type(a) == NFTA_GEN_PROC_NAME &&
		mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 &&
		strcmp(mnl_attr_get_str(a), own) != 0)
		*foreign = true;
	return MNL_CB_OK;
}

/* Each transaction ends in a message that has a new generation, and the name of the process that made it. */
static int take_change(const struct nlmsghdr *h, void *foreign)
{
	if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
		mnl_attr_parse(h, sizeof(struct nfgenmsg), take_process_name, foreign);
	return MNL_CB_OK;
}

bool nft_watch_look(struct nft_watch *w)
{
	char messages[32768];
	bool foreign = false;
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(w->socket, messages, sizeof(messages));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == ENOBUFS)
			foreign = true; /* more than fit: who knows */
		else if (len <= 0)
			return foreign;
		else
			mnl_cb_run(messages, (size_t)len, 0, 0, take_change, &foreign);
	}
}
