/* Tells that somebody has changed rules of nftables in a network namespace. */
#ifndef NETSETUP_NFT_WATCH_H
#define NETSETUP_NFT_WATCH_H

#include <stdbool.h>

#include "base/err.h"

struct nft_watch;

/* Of the namespace that this process is in. */
struct nft_watch *nft_watch_open(struct err *err);
/* NULL is allowed. */
void nft_watch_close(struct nft_watch *w);
/* To be polled for reading. */
int nft_watch_fd(const struct nft_watch *w);
/* Takes up what has come. True: somebody else than a process of this name has changed some. Never waits. */
bool nft_watch_look(struct nft_watch *w);

#endif
