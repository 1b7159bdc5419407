#include "orchestrator/nic_issue.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/network_address.h"

static bool has(const struct definition *d, const struct nic_def *nic)
{
	for (size_t i = 0; d && i < d->nic_count; i++)
		if (d->nics[i].kind == NIC_NETWORK && str_eq(d->nics[i].network, nic->network) &&
			str_eq(d->nics[i].mac, nic->mac) &&
			str_eq(d->nics[i].address, nic->address))
			return true;
	return false;
}

static int issue(struct definition *d, size_t index, struct err *err)
{
	struct nic_def *nic = &d->nics[index];
	struct network n;
	struct network_address a;
	const struct network_claim who = {
		.mac = nic->mac, .guest = d->name, .uuid = d->uuid, .nic = index};
	if (network_load(nic->network, &n, err) < 0 ||
		network_address_take(&n, &who, nic->address_fixed ? nic->address : NULL, &a, err) <
			0)
		return -1;
	memcpy(nic->address, a.v4, sizeof(nic->address));
	memcpy(nic->address6, a.v6, sizeof(nic->address6));
	return 0;
}

/* Those before `count`. */
static void release(const struct definition *d, size_t count, const struct definition *kept)
{
	struct err ignored = ERR_INIT;
	struct network n;
	for (size_t i = 0; i < count; i++)
		if (d->nics[i].kind == NIC_NETWORK && !has(kept, &d->nics[i]) &&
			network_load(d->nics[i].network, &n, &ignored) == 0)
			network_address_drop(&n, d->nics[i].address, d->nics[i].mac);
}

int nics_issue(struct definition *d, const struct definition *old, struct err *err)
{
	for (size_t i = 0; i < d->nic_count; i++) {
		if (d->nics[i].kind != NIC_NETWORK || issue(d, i, err) == 0)
			continue;
		release(d, i, old);
		return err_prefix(err, "guest '%s'", d->name);
	}
	return 0;
}

void nics_release(const struct definition *d, const struct definition *kept)
{
	release(d, d->nic_count, kept);
}

static int rename_one(const struct nic_def *nic, const char *to, struct err *err)
{
	struct network n;
	if (nic->kind != NIC_NETWORK)
		return 0;
	return network_load(nic->network, &n, err) < 0
		       ? -1
		       : network_address_rename(&n, nic->address, nic->mac, to, err);
}

int nics_rename(const struct definition *d, const char *to, struct err *err)
{
	struct err ignored = ERR_INIT;
	for (size_t i = 0; i < d->nic_count; i++) {
		if (rename_one(&d->nics[i], to, err) == 0)
			continue;
		while (i-- > 0)
			rename_one(&d->nics[i], d->name, &ignored);
		return err_prefix(err, "guest '%s'", d->name);
	}
	return 0;
}
