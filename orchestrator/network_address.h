/*
 * Addresses of guests on a network: issued once, kept for as long as the guest has that interface.
 *
 * $STATE/networks/NAME.addresses/A.B.C.D *is* the allocation: a JSON object
 *
 *	{"mac":, "guest":, "uuid":, "nic":, "address":, "address6":}
 *
 * of who has it; "host":true stands for a host that is no guest (net-update), which has no "uuid". A guest with the MAC of
 * such a host takes its place, and "announced" is the name that the host had and has again when the guest is gone, at the
 * address that the guest had last; no other guest is called so meanwhile. Beside it are
 * links .MAC and, to a host's, .host.NAME that lead to it, and .lock, held for the few moments of a change. Who makes one
 * is in "maker" while the guest's record is yet to be written; "was" is a guest's name before it was renamed.
 *
 * A file whose guest does not exist, or has no such interface (one that is plugged has it until it is unplugged or the
 * guest ends, if it is not saved then), is void: nobody has that address. It is left alone
 * until there is no other, or until somebody wants that one; gc removes it.
 */
#ifndef ORCHESTRATOR_NETWORK_ADDRESS_H
#define ORCHESTRATOR_NETWORK_ADDRESS_H

#include "orchestrator/network.h"

struct network_address {
	char v4[16]; /* "" in mode bridge, where others issue them */
	char v6[46]; /* prefix and EUI-64 of the MAC; "": the network has no IPv6 */
};

/* Whose interface it is. */
struct network_claim {
	const char *mac, *guest, *uuid;
	size_t nic;
	pid_t maker; /* whose it is while no record tells of it; 0: this process, -1: nobody's */
	const char *had; /* what it had before, and has again if it is free; NULL, "": unknown */
	bool may_move; /* the wanted address may be another interface's of this guest, which gives it up */
};
/*
 * Issues one, or finds what that MAC has. The first candidate comes from a hash of the MAC, so that it is the same
 * each time. ERR_REFUSED names the guest that has the address, or the MAC, or the host that has the name; a host with the
 * MAC of the guest was it before it was made, whatever it was called, and it takes its place. A holder that runs hears of it. The
 * network's record is written if it has none.
 */
int network_address_take(const struct network *n, const struct network_claim *who,
	const char *wanted4, struct network_address *out, struct err *err);
/* The same for a host that is no guest: for as long as nobody takes it away. It has one address: another takes its place. */
int network_address_take_host(const struct network *n, const char *mac, const char *name,
	const char *wanted4, struct network_address *out, struct err *err);
/*
 * Of a guest's interface. Nothing to do when it is another MAC's; while the guest runs with it, it stays, and is void
 * later. If the guest had a host's place, it is the host's again.
 */
void network_address_drop(const struct network *n, const char *v4, const char *mac);
/* Of a host that is announced no longer; a guest that has its place keeps the address. */
int network_address_drop_host(
	const struct network *n, const char *v4, const char *mac, struct err *err);
/*
 * Of an interface that was plugged into this guest, and is no longer. What is just being plugged stays, but for
 * `asker`, who has given up plugging it; 0: nobody.
 */
void network_address_unplugged(
	const struct network *n, const char *mac, const char *guest, pid_t asker);
/* Before the guest's folder is renamed. */
int network_address_rename(const struct network *n, const char *v4, const char *mac,
	const char *new_guest, struct err *err);

/* All that was issued, of a network that has no record any more, or not yet. */
int network_addresses_remove(const struct network *n, struct err *err);

/* The name that it was announced by, whether a guest has come since or not; NULL: nobody has announced it. */
const char *network_address_host(const json_t *file);
/* What the files hold: an array, sorted by file name. */
json_t *network_addresses(const struct network *n, struct err *err);
/* The same of the one that a MAC has; NULL: none. */
json_t *network_address_of(const struct network *n, const char *mac);
/* Of one of these: does nobody have it? network_address_void.c */
bool network_address_is_void(const json_t *file);
/* Does its guest run, with that interface? Or was it saved with one that was plugged, and may be restored? */
bool network_address_runs(const json_t *file);

/* The folder of the files, opened; ERR_NOT_FOUND: none was ever issued. */
int network_addresses_open(const struct network *n, struct err *err);

#endif
