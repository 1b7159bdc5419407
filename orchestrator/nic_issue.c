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

static void release(const struct nic_def *nic, const struct definition *kept)
{
	struct err ignored = ERR_INIT;
	struct network n;
	if (nic->kind == NIC_NETWORK && !has(kept, nic) &&
		network_load(nic->network, &n, &ignored) == 0)
		network_address_drop(&n, nic->address, nic->mac);
}

static bool is_announced(const struct nic_def *nic)
{
	struct err ignored = ERR_INIT;
	struct network n;
	if (network_load(nic->network, &n, &ignored) < 0)
		return false;
	_cleanup_json_ json_t *file = network_address_of(&n, nic->mac);
	return json_get_bool(file, "host", false);
}

/* The interface by which it was announced first: then the name of that host is its own, and the others may have it, too. */
int nics_issue(struct definition *d, const struct definition *old, struct err *err)
{
	size_t order[NICS_MAX], count = 0;
	for (int announced = 1; announced >= 0; announced--)
		for (size_t i = 0; i < d->nic_count; i++)
			if (d->nics[i].kind == NIC_NETWORK &&
				is_announced(&d->nics[i]) == announced)
				order[count++] = i;
	for (size_t k = 0; k < count; k++) {
		if (issue(d, order[k], err) == 0)
			continue;
		while (k-- > 0)
			release(&d->nics[order[k]], old);
		return err_prefix(err, "guest '%s'", d->name);
	}
	return 0;
}

void nics_release(const struct definition *d, const struct definition *kept)
{
	for (size_t i = 0; i < d->nic_count; i++)
		release(&d->nics[i], kept);
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
