/*
 * Whether what the holder has made is still there. Guards that somebody else has removed (`nft flush ruleset` reaches
 * those of mode bridge) are put back at once; the rest is told, for `roost doctor`.
 */
#include "orchestrator/holder.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_address.h"

enum { CALM_MS = 1000 }; /* between two looks at rules that change and change */

static void tell(json_t *out, const char *kind, const char *name, const char *why)
{
	json_array_append_new(
		out, json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "why", why));
}

/* ---- links and addresses -------------------------------------------------------------------------- */

static bool is_up(const struct ifaddrs *all, const char *link)
{
	for (const struct ifaddrs *one = all; one; one = one->ifa_next)
		if (str_eq(one->ifa_name, link))
			return one->ifa_flags & IFF_UP;
	return false;
}

static bool has_address(const struct ifaddrs *all, const char *link, const struct prefix *p)
{
	for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
		const struct sockaddr *a = one->ifa_addr;
		if (!str_eq(one->ifa_name, link) || !a || a->sa_family != p->family)
			continue;
		if (p->family == AF_INET
				? !memcmp(&((const struct sockaddr_in *)a)->sin_addr, p->address, 4)
				: !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, p->address,
					  16))
			return true;
	}
	return false;
}

static void check_address(
	const struct holder *h, const struct ifaddrs *all, const struct prefix *p, json_t *out)
{
	char text[ADDRESS_TEXT];
	if (has_address(all, h->bridge_name, p))
		return;
	_cleanup_free_ char *why =
		str_fmt("it has lost the gateway's address %s", prefix_address_text(p, text));
	tell(out, "bridge", h->bridge_name, why);
}

static void check_states(struct holder *h, json_t *out)
{
	struct ifaddrs *all = NULL;
	const char *uplink = h->own ? h->way->interface : NULL;
	if (getifaddrs(&all) < 0)
		return;
	if (!is_up(all, h->bridge_name))
		tell(out, "bridge", h->bridge_name, "it is down: no guest reaches another");
	if (h->own)
		check_address(h, all, &h->net4, out);
	if (h->own && h->has6)
		check_address(h, all, &h->net6, out);
	for (const struct port *p = h->ports; p; p = p->next)
		if (!is_up(all, p->tap))
			tell(out, "tap", p->tap, "it is down: its guest is cut off");
	/* of one that does not work its other half tells why */
	if (uplink && json_get_bool(h->uplink, "works", false) && !is_up(all, uplink))
		tell(out, "uplink", uplink, "it is down, or gone: guests do not reach the world");
	freeifaddrs(all);
}

static void check_links(struct holder *h, json_t *out)
{
	struct err ignored = ERR_INIT;
	int bridge = link_index(h->links, h->bridge_name, &ignored);
	if (bridge != h->bridge) {
		tell(out, "bridge", h->bridge_name,
			bridge < 0 ? "it is gone: no guest reaches another"
				   : "it is another one than the guests are on");
		return;
	}
	for (const struct port *p = h->ports; p; p = p->next)
		if (link_master(h->links, p->link, &ignored) != bridge) {
			_cleanup_free_ char *why =
				str_fmt("guest '%s' has it, and it is not on the bridge '%s'",
					json_get_str(p->told, "guest", "?"), h->bridge_name);
			tell(out, "tap", p->tap, why);
		}
	check_states(h, out);
}

/* ---- names and leases ----------------------------------------------------------------------------- */

/* MAC: whose it is, of all that dnsmasq was told; null: it may be told of it. */
static json_t *who_has_names(const struct holder *h)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *one, *all = network_addresses(h->network, &ignored), *who = json_object();
	for (const struct port *p = h->ports; p; p = p->next)
		json_array_append(all, p->told);
	json_array_foreach (all, i, one) {
		struct mac mac;
		char text[MAC_TEXT];
		if (mac_parse(json_get_str(one, "mac", ""), &mac, &ignored) == 0 &&
			json_get_str(one, "address", "")[0])
			json_object_set(who, mac_text(&mac, text),
				names_wait(h, one) ? json_null() : json_object_get(one, "guest"));
	}
	json_decref(all);
	return who;
}

static void check_names_in(struct holder *h, const char *folder, json_t *out)
{
	struct err ignored = ERR_INIT;
	const char *mac;
	json_t *guest;
	_cleanup_names_ char **files = NULL;
	_cleanup_json_ json_t *missing = who_has_names(h);
	_cleanup_close_ int dir = dir_open(h->run, folder, &ignored);
	if (dir < 0 || dir_names(dir, &files, NULL, &ignored) < 0) {
		tell(out, "names", folder, "the folder is gone that dnsmasq reads");
		return;
	}
	for (char **file = files; *file; file++) {
		_cleanup_free_ char *name = str_fmt("%s/%s", folder, *file);
		if (json_object_del(missing, *file) < 0)
			tell(out, "names", name, "it is told of a guest that is not there");
	}
	json_object_foreach (missing, mac, guest) {
		if (json_is_null(guest))
			continue;
		_cleanup_free_ char *name = str_fmt("%s/%s", folder, mac);
		_cleanup_free_ char *why = str_fmt("the file is gone: guest '%s' gets no %s",
			json_string_value(guest) ? json_string_value(guest) : "?",
			str_eq(folder, "dns") ? "name" : "address");
		tell(out, "names", name, why);
	}
}

/* What a next holder would find guests by is written once more. */
static void check_files(struct holder *h, json_t *out)
{
	struct err ignored = ERR_INIT;
	for (const struct port *p = h->ports; p; p = p->next)
		if (faccessat(h->ports_dir, p->tap, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
			port_write(h, p, &ignored) == 0)
			tell(out, "tap", p->tap, "its file in `ports` was gone; it is there again");
	if (!h->own)
		return;
	if (faccessat(h->run, "leases", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		tell(out, "leases", "leases", "the file is gone that dnsmasq writes");
	check_names_in(h, "dhcp", out);
	check_names_in(h, "dns", out);
}

json_t *holder_check(struct holder *h, struct err *err)
{
	ports_look(h); /* what has just gone is no difference */
	json_t *out = ports_check_guards(h, err);
	if (!out)
		return NULL;
	check_links(h, out);
	check_files(h, out);
	return out;
}

void rules_look(struct holder *h)
{
	struct err ignored = ERR_INIT;
	h->rules_changed = nft_watch_look(h->rules) || h->rules_changed;
	if (!h->rules_changed || deadline_left(h->rules_calm))
		return;
	h->rules_changed = false;
	h->rules_calm = deadline_in(CALM_MS);
	ports_look(h);
	_cleanup_json_ json_t *differs = ports_check_guards(h, &ignored);
	if (!differs || json_array_size(differs))
		holder_guard(h, &ignored);
}

int64_t rules_deadline(const struct holder *h)
{
	return h->rules_changed ? h->rules_calm : DEADLINE_NONE;
}
