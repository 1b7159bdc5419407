/* The taps of guests: each is an element of the guards' sets, a port of the bridge, and a file in `ports`. */
#include "orchestrator/holder.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "netsetup/tap.h"

struct port *port_find(const struct holder *h, const char *tap)
{
	for (struct port *p = h->ports; p; p = p->next)
		if (str_eq(p->tap, tap))
			return p;
	return NULL;
}

static void port_free(struct port *p)
{
	if (p)
		json_decref(p->told);
	free(p);
}

static void port_cleanup(struct port **p)
{
	port_free(*p);
}

/* ---- what net-tap says ---------------------------------------------------------------------------- */

/* "t" and what identifies guest and interface: it must not be one of the namespace's own. */
static int check_tap(const char *tap, struct err *err)
{
	bool good = tap[0] == 't' && tap[1] && strlen(tap) < IFNAMSIZ;
	for (const char *c = tap; *c; c++)
		good = good && (islower((unsigned char)*c) || isdigit((unsigned char)*c));
	return good ? 0 : err_set(err, ERR_USAGE, "'%.40s' is not the name of a guest's tap", tap);
}

/* An address of this network's, alone. */
static int read_address(const struct network *n, const json_t *args, const char *key,
	const struct prefix *net, struct prefix *out, bool *has, struct err *err)
{
	const char *text = json_get_str(args, key, "");
	_cleanup_free_ char *whole = str_fmt("%s/%d", text, str_eq(key, "address") ? 32 : 128);
	if (!text[0])
		return 0;
	if (prefix_parse(whole, out, err) < 0)
		return -1;
	if (net && !prefix_has(net, out->family, out->address)) {
		err_set(err, ERR_REFUSED, "address %s is not of this network: '%s' runs with %s",
			text, n->name, out->family == AF_INET ? n->address : n->address6);
		return err_hint(err,
			"if it was changed while it is active, `roost net-destroy %s` and `roost net-start %s` let that take effect",
			n->name, n->name);
	}
	*has = true;
	return 0;
}

static struct port *read_port(const struct holder *h, const json_t *args, struct err *err)
{
	_cleanup_(port_cleanup) struct port *p = xcalloc(1, sizeof(*p));
	const char *tap = json_get_str(args, "tap", ""), *guest = json_get_str(args, "guest", "");
	p->told = json_deep_copy(args);
	p->strict6 = json_get_bool(args, "strict6", false);
	if (check_tap(tap, err) < 0 || name_check(guest, "guest", err) < 0 ||
		mac_parse(json_get_str(args, "mac", ""), &p->mac, err) < 0 ||
		read_address(h->network, args, "address", h->own ? &h->net4 : NULL, &p->address4,
			&p->has4, err) < 0 ||
		read_address(h->network, args, "address6", h->own && h->has6 ? &h->net6 : NULL,
			&p->address6, &p->has6, err) < 0)
		return NULL;
	snprintf(p->tap, sizeof(p->tap), "%s", tap);
	return TAKE(p);
}

static struct guard_port guard_of(const struct port *p)
{
	return (struct guard_port){.tap = p->tap,
		.mac = p->mac,
		.address4 = p->has4 ? &p->address4 : NULL,
		.address6 = p->has6 ? &p->address6 : NULL,
		.strict6 = p->strict6,
		.isolated = json_get_bool(p->told, "isolated", false)};
}

/*
 * With two interfaces on one network a guest answers by either of them for both (Linux does: arp_ignore and rp_filter of
 * ip-sysctl), so each may use the other's addresses.
 */
static bool are_of_one_guest(const struct port *a, const struct port *b)
{
	return a != b &&
	       str_eq(json_get_str(a->told, "guest", ""), json_get_str(b->told, "guest", ""));
}

static struct guard_port guard_besides(const struct port *p, const struct port *other)
{
	return (struct guard_port){.tap = p->tap,
		.mac = p->mac,
		.address4 = other->has4 ? &other->address4 : NULL,
		.address6 = other->has6 ? &other->address6 : NULL,
		.strict6 = p->strict6,
		.also = true};
}

static int share(struct holder *h, const struct port *p,
	int (*change)(struct guard *, const struct guard_port *, struct err *), struct err *err)
{
	for (const struct port *other = h->ports; other; other = other->next) {
		struct guard_port one = guard_besides(p, other), two = guard_besides(other, p);
		if (are_of_one_guest(p, other) &&
			(change(h->guard, &one, err) < 0 || change(h->guard, &two, err) < 0))
			return -1;
	}
	return 0;
}

static int start_guards(struct holder *h, const struct port *p, struct err *err)
{
	struct guard_port guard = guard_of(p);
	return guard_add(h->guard, &guard, err) < 0 ? -1 : share(h, p, guard_add, err);
}

static void end_guards(struct holder *h, const struct port *p)
{
	struct err ignored = ERR_INIT;
	struct guard_port guard = guard_of(p);
	share(h, p, guard_remove, &ignored);
	guard_remove(h->guard, &guard, &ignored);
}

/* ---- a port comes and goes ------------------------------------------------------------------------ */

static int join(struct holder *h, const struct port *p, struct err *err)
{
	struct port_flags flags = {.isolated = json_get_bool(p->told, "isolated", false)};
	return port_join(h->links, p->link, h->bridge, flags, err);
}

int ports_join(struct holder *h, struct err *err)
{
	for (const struct port *p = h->ports; p; p = p->next) {
		int master = link_master(h->links, p->link, err);
		if (master < 0 || (master != h->bridge && join(h, p, err) < 0))
			return -1;
	}
	return 0;
}

static int connect_tap(struct holder *h, struct port *p, struct err *err)
{
	const json_t *told = p->told;
	unsigned own = 1500;
	int64_t mtu = json_get_int(told, "mtu", 0);
	_cleanup_free_ char *alias = str_fmt("%s nic%lld", json_get_str(told, "guest", ""),
		(long long)json_get_int(told, "nic", 0));
	p->link = link_index(h->links, p->tap, err);
	/* a bridge whose MTU nobody has set takes the least of its ports' */
	if (p->link < 0 || link_mtu(h->bridge_name, &own, err) < 0 ||
		link_set_alias(h->links, p->link, alias, err) < 0 ||
		link_set_mtu(h->links, p->link, mtu > 0 ? (unsigned)mtu : own, err) < 0 ||
		join(h, p, err) < 0)
		return -1;
	return 0;
}

static void close_all(int *fds, size_t count)
{
	while (count > 0)
		cleanup_close(&fds[--count]);
}

static void tell_asker(struct port *p, const struct sock_peer *peer)
{
	struct err ignored = ERR_INIT;
	struct proc asker = PROC_NONE;
	if (proc_open(peer->pid, &asker, &ignored) == 0) {
		json_object_set_new(p->told, "pid", json_integer(asker.pid));
		json_object_set_new(p->told, "start", json_integer((json_int_t)asker.start));
	}
	proc_close(&asker);
}

static void keep(struct holder *h, struct port *p)
{
	p->next = h->ports;
	h->ports = p;
}

int port_write(const struct holder *h, const struct port *p, struct err *err)
{
	return json_file_write(h->ports_dir, p->tap, p->told, false, err);
}

/* Names, guards and file are there before the tap is: no moment is unguarded or unknown. */
int port_add(struct holder *h, const json_t *args, const struct sock_peer *peer, int *fds,
	size_t *count, struct err *err)
{
	_cleanup_(port_cleanup) struct port *p = read_port(h, args, err);
	int64_t queues = json_get_int(args, "queues", 1);
	if (!p)
		return -1;
	if (queues < 1 || queues > TAP_QUEUES_MAX)
		return err_set(err, ERR_USAGE, "a tap has 1 to %d queues, not %lld", TAP_QUEUES_MAX,
			(long long)queues);
	ports_look(h); /* a former one of that name may just have gone */
	if (port_find(h, p->tap))
		return err_set(err, ERR_REFUSED, "the tap '%s' is there already", p->tap);
	tell_asker(p, peer);
	if (h->dhcp && names_add(h, args, err) < 0)
		return -1;
	if (start_guards(h, p, err) == 0 && port_write(h, p, err) == 0 &&
		tap_open(p->tap, (unsigned)queues, fds, err) == 0) {
		*count = (size_t)queues;
		if (connect_tap(h, p, err) == 0) {
			keep(h, TAKE(p));
			return 0;
		}
		close_all(fds, *count);
	}
	unlinkat(h->ports_dir, p->tap, 0);
	end_guards(h, p);
	return -1;
}

void port_drop(struct holder *h, struct port *p)
{
	for (struct port **at = &h->ports; *at; at = &(*at)->next) {
		if (*at != p)
			continue;
		*at = p->next;
		break;
	}
	publish_drop(h, p->tap);
	end_guards(h, p);
	unlinkat(h->ports_dir, p->tap, 0);
	port_free(p);
}

/* With 0 any may have. */
static void gone(int link, void *self)
{
	struct holder *h = self;
	char name[IF_NAMESIZE];
	for (struct port *p = h->ports, *next; p; p = next) {
		next = p->next;
		if (p->link == link || (link == 0 && !if_indextoname((unsigned)p->link, name)))
			port_drop(h, p);
	}
}

void ports_look(struct holder *h)
{
	link_watch_look(h->watch, gone, h);
}

/* ---- a former holder's ---------------------------------------------------------------------------- */

/* A tap has no two owners: one of that name in this namespace is that one. */
static int find_one(struct holder *h, const char *tap, struct err *err)
{
	_cleanup_json_ json_t *told = json_file_read(h->ports_dir, tap, err);
	_cleanup_(port_cleanup) struct port *p = told ? read_port(h, told, err) : NULL;
	if (!p || (p->link = link_index(h->links, p->tap, err)) < 0)
		return -1;
	keep(h, TAKE(p));
	return 0;
}

int ports_find(struct holder *h, struct err *err)
{
	_cleanup_names_ char **taps = NULL;
	if (dir_names(h->ports_dir, &taps, NULL, err) < 0)
		return -1;
	for (char **tap = taps; *tap; tap++) {
		struct err why = ERR_INIT;
		if (find_one(h, *tap, &why) < 0)
			unlinkat(h->ports_dir, *tap, 0);
	}
	return 0;
}

/* Freed by the caller. */
static struct guard_port *all_guards(const struct holder *h, size_t *count)
{
	struct guard_port *guards = NULL;
	*count = 0;
	for (const struct port *p = h->ports; p; p = p->next) {
		guards = xrealloc(guards, (*count + 1) * sizeof(*guards));
		guards[(*count)++] = guard_of(p);
		for (const struct port *other = h->ports; other; other = other->next) {
			if (!are_of_one_guest(p, other))
				continue;
			guards = xrealloc(guards, (*count + 1) * sizeof(*guards));
			guards[(*count)++] = guard_besides(p, other);
		}
	}
	return guards;
}

int ports_guard(struct holder *h, const struct guard_network *network, struct err *err)
{
	size_t count;
	_cleanup_free_ struct guard_port *guards = all_guards(h, &count);
	return guard_install(h->guard, network, guards, count, err);
}

json_t *ports_check_guards(struct holder *h, struct err *err)
{
	size_t count;
	_cleanup_free_ struct guard_port *guards = all_guards(h, &count);
	return guard_check(h->guard, !h->own, guards, count, err);
}
