#include "orchestrator/nic_issue.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

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

/* In a record there is what was issued. */
static const char *address_before(const struct nic_def *nic, const struct definition *old)
{
	for (size_t i = 0; old && i < old->nic_count && !nic->address[0]; i++)
		if (old->nics[i].kind == NIC_NETWORK &&
			str_eq(old->nics[i].network, nic->network) &&
			str_eq(old->nics[i].mac, nic->mac))
			return old->nics[i].address;
	return nic->address;
}

static int issue(struct definition *d, size_t index, const struct definition *old, struct err *err)
{
	struct nic_def *nic = &d->nics[index];
	struct network n;
	struct network_address a;
	const struct network_claim who = {.mac = nic->mac,
		.guest = d->name,
		.uuid = d->uuid,
		.nic = index,
		.had = address_before(nic, old),
		.may_move = true};
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

/* What its network has for its MAC: NULL if nothing. */
static json_t *file_of(const struct nic_def *nic)
{
	struct err ignored = ERR_INIT;
	struct network n;
	return nic->kind != NIC_NETWORK || network_load(nic->network, &n, &ignored) < 0
		       ? NULL
		       : network_address_of(&n, nic->mac);
}

/* The host that it was announced as, before the guest takes its place: NULL if nobody has. */
static json_t *announced(const struct nic_def *nic)
{
	_cleanup_json_ json_t *file = file_of(nic);
	return json_get_bool(file, "host", false) ? json_incref(file) : NULL;
}

/* What was there before is there again: the addresses of `old`, and the hosts. */
static void put_back(
	const struct definition *d, const struct definition *old, const struct nic_hosts *hosts)
{
	struct err ignored = ERR_INIT;
	struct network n;
	struct network_address a;
	for (size_t i = 0; old && i < old->nic_count; i++) {
		const struct nic_def *nic = &old->nics[i];
		const struct network_claim who = {
			.mac = nic->mac, .guest = old->name, .uuid = old->uuid, .nic = i};
		if (nic->kind == NIC_NETWORK && nic->address[0] &&
			network_load(nic->network, &n, &ignored) == 0)
			network_address_take(&n, &who, nic->address, &a, &ignored);
	}
	for (size_t i = 0; i < d->nic_count; i++)
		if (hosts->files[i] && network_load(d->nics[i].network, &n, &ignored) == 0)
			network_address_take_host(&n, d->nics[i].mac,
				json_get_str(hosts->files[i], "guest", ""),
				json_get_str(hosts->files[i], "address", ""), &a, &ignored);
}

/*
 * The interface by which it was announced first: then the name of that host is its own, and the others may have it, too.
 * Then those whose address is asked for, which may be what another one has had.
 */
static size_t order_of(const struct definition *d, const struct nic_hosts *hosts, size_t *order)
{
	size_t count = 0;
	for (int turn = 0; turn < 3; turn++)
		for (size_t i = 0; i < d->nic_count; i++) {
			int its = hosts->files[i] ? 0 : d->nics[i].address_fixed ? 1 : 2;
			if (d->nics[i].kind == NIC_NETWORK && its == turn)
				order[count++] = i;
		}
	return count;
}

int nics_issue(struct definition *d, const struct definition *old, struct nic_hosts *hosts,
	struct err *err)
{
	size_t order[NICS_MAX];
	for (size_t i = 0; i < d->nic_count; i++)
		hosts->files[i] = announced(&d->nics[i]);
	size_t count = order_of(d, hosts, order);
	for (size_t k = 0; k < count; k++) {
		if (issue(d, order[k], old, err) == 0)
			continue;
		while (k-- > 0)
			release(&d->nics[order[k]], old);
		put_back(d, old, hosts);
		return err_prefix(err, "guest '%s'", d->name);
	}
	return 0;
}

void nics_undo(
	const struct definition *d, const struct definition *old, const struct nic_hosts *hosts)
{
	nics_release(d, old);
	put_back(d, old, hosts);
}

void nic_hosts_drop(struct nic_hosts *hosts)
{
	for (size_t i = 0; i < NICS_MAX; i++)
		json_decref(hosts->files[i]);
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

/* Was it announced by that name, before the guest took the host's place? */
static bool was_called(const struct nic_def *nic, const char *name)
{
	_cleanup_json_ json_t *file = file_of(nic);
	const char *host = network_address_host(file);
	return host && strcasecmp(host, name) == 0;
}

/* That one first: then the name is the guest's, and its other interfaces may have it, too. */
int nics_rename(const struct definition *d, const char *to, struct err *err)
{
	struct err ignored = ERR_INIT;
	size_t order[NICS_MAX], count = 0;
	for (int called = 1; called >= 0; called--)
		for (size_t i = 0; i < d->nic_count; i++)
			if (was_called(&d->nics[i], to) == called)
				order[count++] = i;
	for (size_t k = 0; k < count; k++) {
		if (rename_one(&d->nics[order[k]], to, err) == 0)
			continue;
		while (k-- > 0)
			rename_one(&d->nics[order[k]], d->name, &ignored);
		return err_prefix(err, "guest '%s'", d->name);
	}
	return 0;
}
