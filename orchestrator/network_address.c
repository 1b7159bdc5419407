#include "orchestrator/network_address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "netsetup/address.h"
#include "orchestrator/network_call.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/paths.h"

/* Who wants an address, and where. */
struct asking {
	struct network network;
	int dir;
	const char *mac, *guest, *uuid, *had;
	size_t nic;
	pid_t maker;
	bool host, may_move;
	char before[16];    /* what the host had that this one takes the place of */
	char announced[64]; /* of a guest: the name of the host that it was announced as */
	struct network_address out;
};

static char *folder_of(const struct network *n, struct err *err)
{
	const char *state = paths_state(err);
	return state ? str_fmt("%s/networks/%s.addresses", state, n->name) : NULL;
}

int network_addresses_open(const struct network *n, struct err *err)
{
	_cleanup_free_ char *folder = folder_of(n, err);
	return folder ? dir_open(AT_FDCWD, folder, err) : -1;
}

/* ---- the files -------------------------------------------------------------------------------- */

/* As it was before its guest was made. */
static void make_host(json_t *file)
{
	static const char *const guests[] = {"uuid", "maker", "was", "announced"};
	json_object_set(file, "guest", json_object_get(file, "announced"));
	json_object_set_new(file, "nic", json_integer(0));
	json_object_set_new(file, "host", json_true());
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		json_object_del(file, guests[i]);
}

const char *network_address_host(const json_t *file)
{
	return json_get_bool(file, "host", false) ? json_get_str(file, "guest", NULL)
						  : json_get_str(file, "announced", NULL);
}

static void mac_link(const char *mac, char out[20])
{
	snprintf(out, 20, ".%.18s", mac);
}

static bool pointed(int dir, const char *mac, char v4[16])
{
	char name[20];
	mac_link(mac, name);
	ssize_t len = readlinkat(dir, name, v4, 15);
	v4[len > 0 ? len : 0] = '\0';
	return len > 0;
}

/* Is it the host's again, once its guest is gone? Not if that had another address by then. */
static bool falls_back(int dir, const char *v4, const json_t *file)
{
	char current[16];
	return json_get_str(file, "announced", NULL) &&
	       pointed(dir, json_get_str(file, "mac", ""), current) && str_eq(current, v4);
}

static json_t *read_file(int dir, const char *v4)
{
	struct err ignored = ERR_INIT;
	json_t *file = json_file_read(dir, v4, &ignored);
	if (file && falls_back(dir, v4, file) && network_address_is_void(file))
		make_host(file);
	return file;
}

static json_t *new_file(const struct asking *a)
{
	struct err ignored = ERR_INIT;
	struct proc self = PROC_NONE;
	json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s}", "mac", a->mac, "guest", a->guest, "nic",
		(json_int_t)a->nic, "address", a->out.v4, "address6", a->out.v6);
	if (a->host) {
		json_object_set_new(o, "host", json_true());
		return o;
	}
	json_object_set_new(o, "uuid", json_string(a->uuid));
	if (a->announced[0])
		json_object_set_new(o, "announced", json_string(a->announced));
	if (proc_open(a->maker, &self, &ignored) == 0)
		json_object_set_new(o, "maker",
			json_pack("{s:i, s:I}", "pid", (int)self.pid, "start",
				(json_int_t)self.start));
	proc_close(&self);
	return o;
}

static int write_file(const struct asking *a, struct err *err)
{
	_cleanup_json_ json_t *o = new_file(a);
	return json_file_write(a->dir, a->out.v4, o, true, err);
}

/* Whole from its first moment, and only if there is none: 1 if there is. */
static int make_file(const struct asking *a, struct err *err)
{
	static const char aside[] = ".new"; /* nobody else's, for we have the lock */
	_cleanup_json_ json_t *o = new_file(a);
	if (json_file_write(a->dir, aside, o, true, err) < 0)
		return err_prefix(err, "cannot issue %s", a->out.v4);
	int result = linkat(a->dir, aside, a->dir, a->out.v4, 0), why = errno;
	unlinkat(a->dir, aside, 0);
	errno = why;
	if (result == 0 || why == EEXIST)
		return result == 0 ? 0 : 1;
	return err_errno(err, "cannot issue %s", a->out.v4);
}

/* A host is known by its name, too: a guest must not have the same. */
static void host_link(const char *name, char out[80])
{
	snprintf(out, 80, ".host.%.63s", name);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

/* Only a means to find it: without it another address would be issued. */
static void point(const struct asking *a)
{
	char name[80];
	mac_link(a->mac, name);
	unlinkat(a->dir, name, 0);
	(void)!symlinkat(a->out.v4, a->dir, name);
	if (!a->host && !a->announced[0])
		return;
	host_link(a->host ? a->guest : a->announced, name);
	unlinkat(a->dir, name, 0);
	(void)!symlinkat(a->out.v4, a->dir, name);
}

/* ---- who has it ------------------------------------------------------------------------------- */

static int is_anothers(const struct asking *a, const json_t *file, const char *what,
	const char *thing, struct err *err)
{
	return err_set(err, ERR_REFUSED, "network '%s': %s is the %s of %s '%s'", a->network.name,
		thing, what, json_get_bool(file, "host", false) ? "host" : "guest",
		json_get_str(file, "guest", ""));
}

static bool is_ours(const struct asking *a, const json_t *file)
{
	if (!str_eq(json_get_str(file, "mac", NULL), a->mac))
		return false;
	/* a host of that MAC was meant for the guest that is now made, whatever it was called: it has its address */
	if (json_get_bool(file, "host", false))
		return !a->host || strcasecmp(json_get_str(file, "guest", ""), a->guest) == 0;
	return !a->host && str_eq(json_get_str(file, "uuid", NULL), a->uuid);
}

/* Another interface's of this guest: when that is defined anew, it may be this one's from then on. */
static bool is_own_other(const struct asking *a, const json_t *file)
{
	return str_eq(json_get_str(file, "uuid", NULL), a->uuid) &&
	       !json_get_str(file, "announced", NULL);
}

/* Of a guest that is there, or is being made, with another identity. */
static bool is_taken(const struct asking *a, const json_t *file)
{
	return file && !is_ours(a, file) && !network_address_is_void(file);
}

/* Names are the network's: its gateway has one, and each of its hosts. The one of a guest is one of all guests already. */
static int check_name(const struct network *n, int dir, const char *name, const char *mac,
	bool is_host, struct err *err)
{
	char link[80], v4[16];
	if (strcasecmp(name, "gateway") == 0) {
		err_set(err, ERR_REFUSED, "network '%s': '%s' is the name of its gateway", n->name,
			name);
		return err_hint(err, "choose another name");
	}
	host_link(name, link);
	ssize_t len = is_host ? 0 : readlinkat(dir, link, v4, sizeof(v4) - 1);
	v4[len > 0 ? len : 0] = '\0';
	_cleanup_json_ json_t *file = len > 0 ? read_file(dir, v4) : NULL;
	const char *its = network_address_host(file);
	if (!its || strcasecmp(its, name) != 0 || str_eq(json_get_str(file, "mac", NULL), mac) ||
		(!json_get_bool(file, "host", false) && /* another interface of that guest */
			strcasecmp(json_get_str(file, "guest", ""), name) == 0))
		return 0;
	err_set(err, ERR_REFUSED, "network '%s': '%s' is the name of the host with %s", n->name,
		name, json_get_str(file, "mac", ""));
	return err_hint(
		err, "choose another name, or `roost net-update %s delete host %s`", n->name, name);
}

/* ---- issuing ---------------------------------------------------------------------------------- */

/* What a network of that size has for its hosts: 1 to this. */
static uint32_t hosts_of(const struct prefix *p)
{
	return (0xffffffffU >> p->bits) - 1;
}

static bool is_gateway(const struct prefix *p, const uint8_t address[4])
{
	return memcmp(p->address, address, 4) == 0;
}

static uint32_t hash(const char *mac)
{
	uint32_t h = 2166136261U; /* FNV-1a */
	for (; *mac; mac++)
		h = (h ^ (uint8_t)*mac) * 16777619U;
	return h;
}

/* The i-th candidate of a MAC. */
static void candidate(const struct asking *a, const struct prefix *p, uint32_t i, uint8_t out[4])
{
	uint32_t subnet, hosts = hosts_of(p);
	memcpy(&subnet, p->address, sizeof(subnet));
	uint32_t host = 1 + (uint32_t)(((uint64_t)hash(a->mac) + i) % hosts);
	uint32_t address = htonl((ntohl(subnet) & ~(0xffffffffU >> p->bits)) | host);
	memcpy(out, &address, sizeof(address));
}

/* One that has no file; in the second round, one whose file is void. */
static int take_any(struct asking *a, const struct prefix *p, struct err *err)
{
	uint8_t address[4];
	uint32_t hosts = hosts_of(p);
	for (uint32_t i = 0; i < 2 * (uint64_t)hosts; i++) {
		candidate(a, p, i, address);
		if (is_gateway(p, address))
			continue;
		inet_ntop(AF_INET, address, a->out.v4, sizeof(a->out.v4));
		int there = i < hosts && faccessat(a->dir, a->out.v4, F_OK, 0) == 0
				    ? 1
				    : make_file(a, err);
		if (there <= 0)
			return there;
		_cleanup_json_ json_t *file = i < hosts ? NULL : read_file(a->dir, a->out.v4);
		if (file && !is_taken(a, file))
			return write_file(a, err);
	}
	err_set(err, ERR_REFUSED, "network '%s' has no address left: %u are issued",
		a->network.name, (unsigned)hosts - 1);
	return err_hint(err,
		"undefine guests, or define a network with more of them: `address: 10.1.0.1/16`");
}

static int take_wanted(struct asking *a, const struct prefix *p, const char *wanted, bool may_move,
	struct err *err)
{
	uint8_t address[4];
	uint32_t bits;
	if (inet_pton(AF_INET, wanted, address) != 1)
		return err_set(err, ERR_USAGE, "'%.60s' is not an IPv4 address", wanted);
	memcpy(&bits, address, sizeof(bits));
	bits = ntohl(bits) & (0xffffffffU >> p->bits);
	if (!prefix_has(p, AF_INET, address) || bits < 1 || bits > hosts_of(p))
		return err_set(err, ERR_REFUSED,
			"network '%s' is %s: %s is not an address that it has for guests",
			a->network.name, a->network.address, wanted);
	if (is_gateway(p, address))
		return err_set(err, ERR_REFUSED, "network '%s': %s is the address of its gateway",
			a->network.name, wanted);
	inet_ntop(AF_INET, address, a->out.v4, sizeof(a->out.v4));
	int there = make_file(a, err);
	if (there <= 0)
		return there;
	_cleanup_json_ json_t *file = read_file(a->dir, a->out.v4);
	if (is_taken(a, file) && !(may_move && is_own_other(a, file)))
		return is_anothers(a, file, "address", a->out.v4, err);
	return write_file(a, err);
}

/* The one that it had, if that is free: so a guest keeps it though its MAC leads to another one, or to none. */
static int take_other(struct asking *a, const struct prefix *p, struct err *err)
{
	struct err ignored = ERR_INIT;
	if (a->had && take_wanted(a, p, a->had, false, &ignored) == 0)
		return 0;
	return take_any(a, p, err);
}

static bool is_current(const struct asking *a, const json_t *file)
{
	return is_ours(a, file) && json_get_bool(file, "host", false) == a->host &&
	       str_eq(json_get_str(file, "guest", NULL), a->guest) &&
	       json_get_int(file, "nic", -1) == (int64_t)a->nic &&
	       str_eq(json_get_str(file, "address6", NULL), a->out.v6);
}

/* 1: it has it, as it is wanted. */
static int find(struct asking *a, const char *wanted, struct err *err)
{
	char v4[16];
	if (!pointed(a->dir, a->mac, v4))
		return 0;
	_cleanup_json_ json_t *file = read_file(a->dir, v4);
	if (!file || !str_eq(json_get_str(file, "mac", NULL), a->mac))
		return 0;
	if (is_taken(a, file))
		return is_anothers(a, file, "MAC address", a->mac, err);
	const char *host = network_address_host(file);
	if (host && !a->host)
		snprintf(a->announced, sizeof(a->announced), "%s", host);
	if (wanted && !str_eq(wanted, v4)) {
		if (json_get_bool(file, "host", false))
			strcpy(a->before, v4);
		return 0;
	}
	/* of a change that was not finished */
	if (!wanted && a->had && !str_eq(a->had, v4) && network_address_is_void(file))
		return 0;
	strcpy(a->out.v4, v4);
	if (is_current(a, file) && !network_address_is_void(file))
		return 1;
	return write_file(a, err) < 0 ? -1 : 1;
}

static void make_v6(const struct network *n, const char *mac, char out[46])
{
	struct err ignored = ERR_INIT;
	struct prefix p;
	struct mac bytes;
	uint8_t address[16];
	out[0] = '\0';
	if (!n->address6[0] || prefix_parse(n->address6, &p, &ignored) < 0 ||
		mac_parse(mac, &bytes, &ignored) < 0)
		return;
	address_eui64(&p, &bytes, address);
	inet_ntop(AF_INET6, address, out, 46);
}

static int take(struct asking *a, const char *wanted, struct err *err)
{
	struct network *n = &a->network;
	struct prefix p;
	struct mac bytes;
	if (mac_parse(a->mac, &bytes, err) < 0)
		return -1;
	if (n->mode == NETWORK_BRIDGE)
		return 0;
	if (network_settle(n, err) < 0 || prefix_parse(n->address, &p, err) < 0)
		return -1;
	_cleanup_free_ char *folder = folder_of(n, err);
	_cleanup_close_ int dir = folder ? dir_make_shared(folder, err) : -1;
	_cleanup_close_ int lock = dir < 0 ? -1 : file_lock_wait(dir, ".lock", err);
	if (lock < 0)
		return -1;
	a->dir = dir;
	if (check_name(n, dir, a->guest, a->mac, a->host, err) < 0)
		return -1;
	make_v6(n, a->mac, a->out.v6);
	int found = find(a, wanted, err);
	if (found)
		return found < 0 ? -1 : 0;
	if ((wanted ? take_wanted(a, &p, wanted, a->may_move, err) : take_other(a, &p, err)) < 0)
		return -1;
	point(a);
	if (a->before[0]) /* a host has one address */
		unlinkat(a->dir, a->before, 0);
	return 0;
}

/* A holder that is not there, or does not answer, reads the files when it starts. */
static void tell(const struct network *n, const char *command, json_t *args)
{
	struct err ignored = ERR_INIT;
	if (n->mode != NETWORK_BRIDGE && network_active(n))
		network_call(
			n, command, args, NULL, 0, NULL, NULL, NULL, NETWORK_CALL_MS, &ignored);
	else
		json_decref(args);
}

static int take_and_tell(
	struct asking *a, const char *wanted, struct network_address *out, struct err *err)
{
	if (take(a, wanted, err) < 0)
		return -1;
	*out = a->out;
	tell(&a->network, "net-host",
		json_pack("{s:s, s:s, s:s, s:s}", "mac", a->mac, "guest", a->guest, "address",
			out->v4, "address6", out->v6));
	return 0;
}

int network_address_take(const struct network *n, const struct network_claim *who,
	const char *wanted4, struct network_address *out, struct err *err)
{
	struct asking a = {.network = *n,
		.mac = who->mac,
		.guest = who->guest,
		.uuid = who->uuid,
		.nic = who->nic,
		.had = who->had && who->had[0] ? who->had : NULL,
		.may_move = who->may_move,
		.maker = who->maker ? who->maker : getpid()};
	return take_and_tell(&a, wanted4, out, err);
}

int network_address_take_host(const struct network *n, const char *mac, const char *name,
	const char *wanted4, struct network_address *out, struct err *err)
{
	struct asking a = {.network = *n, .mac = mac, .guest = name, .uuid = "", .host = true};
	return take_and_tell(&a, wanted4, out, err);
}

/* ---- what becomes of it ----------------------------------------------------------------------- */

/* The folder, locked, and the file of an address that this MAC has, as it is written. */
static json_t *open_file(const struct network *n, const char *v4, const char *mac, int *dir,
	int *lock, struct err *err)
{
	if ((*dir = network_addresses_open(n, err)) < 0 ||
		(*lock = file_lock_wait(*dir, ".lock", err)) < 0)
		return NULL;
	struct err ignored = ERR_INIT;
	json_t *file = json_file_read(*dir, v4, &ignored);
	if (file && str_eq(json_get_str(file, "mac", NULL), mac))
		return file;
	json_decref(file);
	err_set(err, ERR_NOT_FOUND, "network '%s': %s is not the address of %s", n->name, v4, mac);
	return NULL;
}

static void tell_host(const struct network *n, const json_t *file)
{
	tell(n, "net-host",
		json_pack("{s:s, s:s, s:s, s:s}", "mac", json_get_str(file, "mac", ""), "guest",
			json_get_str(file, "guest", ""), "address",
			json_get_str(file, "address", ""), "address6",
			json_get_str(file, "address6", "")));
}

static void unlink_host(int dir, const json_t *file)
{
	char name[80];
	host_link(network_address_host(file), name);
	unlinkat(dir, name, 0);
}

/* Unless it has another one, by which it is known. */
static void unpoint(const struct network *n, int dir, const char *v4, const char *mac)
{
	char name[20], pointed_to[16];
	if (!pointed(dir, mac, pointed_to) || !str_eq(pointed_to, v4))
		return;
	mac_link(mac, name);
	unlinkat(dir, name, 0);
	tell(n, "net-unhost", json_pack("{s:s, s:s}", "mac", mac, "address", v4));
}

static void drop(const struct network *n, int dir, const char *v4, const char *mac, json_t *file)
{
	struct err ignored = ERR_INIT;
	if (falls_back(dir, v4, file)) {
		make_host(file);
		json_file_write(dir, v4, file, true, &ignored);
		tell_host(n, file);
		return;
	}
	unlinkat(dir, v4, 0);
	if (json_get_bool(file, "host", false))
		unlink_host(dir, file);
	unpoint(n, dir, v4, mac);
}

void network_address_drop(const struct network *n, const char *v4, const char *mac)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = -1, lock = -1;
	_cleanup_json_ json_t *file = open_file(n, v4, mac, &dir, &lock, &ignored);
	/* of another interface by now: what its guest runs with is known until it ends */
	_cleanup_json_ json_t *other = file || lock < 0 ? NULL : json_file_read(dir, v4, &ignored);
	if (file && !network_address_runs(file))
		drop(n, dir, v4, mac, file);
	else if (other && !network_address_runs(other))
		unpoint(n, dir, v4, mac);
}

int network_address_drop_host(
	const struct network *n, const char *v4, const char *mac, struct err *err)
{
	_cleanup_close_ int dir = -1, lock = -1;
	_cleanup_json_ json_t *file = open_file(n, v4, mac, &dir, &lock, err);
	if (!file)
		return -1;
	if (json_get_str(file, "announced", NULL)) {
		unlink_host(dir, file);
		json_object_del(file, "announced");
		if (!network_address_is_void(file))
			return json_file_write(dir, v4, file, true, err);
	}
	drop(n, dir, v4, mac, file);
	return 0;
}

void network_address_unplugged(
	const struct network *n, const char *mac, const char *guest, pid_t asker)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = -1, lock = -1;
	_cleanup_json_ json_t *known = network_address_of(n, mac);
	const char *v4 = json_get_str(known, "address", "");
	_cleanup_json_ json_t *file = known ? open_file(n, v4, mac, &dir, &lock, &ignored) : NULL;
	if (!str_eq(json_get_str(file, "guest", NULL), guest))
		return;
	/* one that is being plugged or restored is its maker's; one of the definition, too, stays as long as that has it */
	bool its = json_get_int(file, "nic", 0) >= NIC_PLUGGED &&
		   json_get_int(json_object_get(file, "maker"), "pid", 0) == asker;
	if (its ? !network_address_runs(file) : network_address_is_void(file))
		drop(n, dir, v4, mac, file);
}

int network_address_rename(const struct network *n, const char *v4, const char *mac,
	const char *new_guest, struct err *err)
{
	_cleanup_close_ int dir = -1, lock = -1;
	_cleanup_json_ json_t *file = open_file(n, v4, mac, &dir, &lock, err);
	if (!file)
		return -1;
	if (check_name(n, dir, new_guest, mac, false, err) < 0)
		return -1;
	json_object_set(file, "was", json_object_get(file, "guest"));
	json_object_set_new(file, "guest", json_string(new_guest));
	if (json_file_write(dir, v4, file, true, err) < 0)
		return -1;
	tell_host(n, file);
	return 0;
}

int network_addresses_remove(const struct network *n, struct err *err)
{
	_cleanup_free_ char *folder = folder_of(n, err);
	return folder ? dir_remove(AT_FDCWD, folder, err) : -1;
}

/* ---- looking ---------------------------------------------------------------------------------- */

json_t *network_addresses(const struct network *n, struct err *err)
{
	struct err why = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int dir = network_addresses_open(n, &why);
	if (dir < 0 ? why.kind != ERR_NOT_FOUND : dir_names(dir, &names, NULL, &why) < 0) {
		*err = why;
		return NULL;
	}
	json_t *all = json_array();
	for (char **name = names; name && *name; name++) {
		json_t *file = read_file(dir, *name);
		if (file && str_eq(json_get_str(file, "address", NULL), *name))
			json_array_append_new(all, file);
		else
			json_decref(file);
	}
	return all;
}

json_t *network_address_of(const struct network *n, const char *mac)
{
	struct err ignored = ERR_INIT;
	char v4[16];
	_cleanup_close_ int dir = network_addresses_open(n, &ignored);
	json_t *file = dir >= 0 && pointed(dir, mac, v4) ? read_file(dir, v4) : NULL;
	if (file && str_eq(json_get_str(file, "mac", NULL), mac))
		return file;
	json_decref(file);
	return NULL;
}
