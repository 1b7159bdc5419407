#include "orchestrator/look_net.h"

#include <fcntl.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "orchestrator/network_call.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/guest_text.h"

const char *const nic_counters[] = {"rx_bytes", "rx_packets", "rx_errs", "rx_drop", "tx_bytes",
	"tx_packets", "tx_errs", "tx_drop", NULL};

/* Those of one interface, of the list of all; with -1 every one. */
static json_t *forwards_of(const json_t *all, int64_t nic)
{
	json_t *list = json_array(), *f;
	size_t i;
	json_array_foreach (all, i, f)
		if (nic < 0 || json_get_int(f, "nic", 0) == nic)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:I, s:I}", "protocol",
					      json_get_bool(f, "udp", false) ? "udp" : "tcp",
					      "address", json_get_str(f, "host", ""), "port",
					      (json_int_t)json_get_int(f, "port", 0), "guest_port",
					      (json_int_t)json_get_int(f, "guest_port", 0)));
	return list;
}

/* As its tap's holder was told, which hears also of what is published of a guest that runs (holder_publish.c). NULL: it tells nothing. */
static json_t *published_of(const struct nic_def *n, const char *tap)
{
	struct err ignored = ERR_INIT;
	struct network network;
	_cleanup_free_ char *file = str_fmt("ports/%s", tap);
	if (nic_network(n, &network, &ignored) < 0)
		return NULL;
	_cleanup_free_ char *path = network_run_path(&network, file, &ignored);
	_cleanup_json_ json_t *told = path ? json_file_read(AT_FDCWD, path, &ignored) : NULL;
	return told ? forwards_of(json_object_get(told, "publish"), -1) : NULL;
}

static void add_address(json_t *list, const char *protocol, const char *address, const char *net)
{
	const char *slash = strchr(net, '/');
	if (address[0])
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:i}", "protocol", protocol, "address", address,
				      "prefix", slash ? atoi(slash + 1) : 0));
}

static json_t *addresses_of(const struct nic_def *n)
{
	struct err ignored = ERR_INIT;
	struct network network;
	json_t *list = json_array();
	if (n->kind != NIC_NETWORK || network_load(n->network, &network, &ignored) < 0)
		return list;
	add_address(list, "ipv4", n->address, network.address);
	add_address(list, "ipv6", n->address6, network.address6);
	return list;
}

/* GUEST.NETWORK.internal, as the network's DNS has it; NULL: it has none. */
static char *name_of(const char *guest, const struct nic_def *n)
{
	struct err ignored = ERR_INIT;
	struct network network;
	if (n->kind != NIC_NETWORK || network_load(n->network, &network, &ignored) < 0 ||
		!network.dns)
		return NULL;
	char *name = str_fmt("%s.%s", guest, network.domain);
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return name;
}

/* Which cables somebody has pulled, or plugged in again, while it runs: op_link.c. */
static bool link_is_down(const json_t *live, const char *nic, bool otherwise)
{
	size_t i;
	json_t *entry;
	json_array_foreach (live, i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "link") &&
			str_eq(json_get_str(entry, "of", ""), nic))
			return json_get_bool(entry, "down", false);
	return otherwise;
}

/* `started` are those that were there when the guest, or the interface, came. */
static void add_nic(json_t *nics, const struct look *l, const struct nic_def *n, size_t index,
	const json_t *live, json_t *started)
{
	static const char *const types[] = {
		[NIC_USER] = "user", [NIC_NETWORK] = "network", [NIC_BRIDGE] = "bridge"};
	_cleanup_free_ char *name = str_fmt("nic%zu", index);
	const struct nic_of of = {.guest = l->f.name, .id = l->f.id, .index = index};
	char tap[NIC_TAP_MAX];
	_cleanup_free_ char *hostname = name_of(l->f.name, n);
	nic_tap_name(&of, tap);
	bool taps = n->kind != NIC_USER && look_runs(l);
	json_t *now = taps ? published_of(n, tap) : NULL;
	if (now) {
		json_decref(started);
		started = now;
	}
	json_array_append_new(nics,
		json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s?, s:s?, s:s, s:o, s:o}", "interface",
			name, "type", types[n->kind], "source",
			n->kind == NIC_USER ? NULL : n->network, "model", nic_model_name(n->model),
			"mac", n->mac, "hostname", hostname, "tap", taps ? tap : NULL, "link",
			link_is_down(live, name, n->link_down) ? "down" : "up", "addresses",
			addresses_of(n), "forwards", started));
}

json_t *look_nics(const struct look *l, struct err *err)
{
	_cleanup_definition_ struct definition *d = look_definition(&l->f, err);
	if (!d)
		return NULL;
	_cleanup_json_ json_t *live = look_plugged(&l->f);
	json_t *nics = json_array(), *entry;
	size_t i;
	for (i = 0; i < d->nic_count; i++)
		add_nic(nics, l, &d->nics[i], i, live,
			forwards_of(look_runs(l) ? l->s.forwards : NULL, (int64_t)i));
	json_array_foreach (live, i, entry) {
		struct err ignored = ERR_INIT;
		struct nic_def n = {0};
		size_t index = NIC_PLUGGED + (size_t)json_get_int(entry, "port", 0);
		if (!str_eq(json_get_str(entry, "kind", ""), "interface") ||
			nic_from_json(json_object_get(entry, "interface"), &n, &ignored) < 0)
			continue;
		/* what was plugged is not among the status' forwards */
		add_nic(nics, l, &n, index, live,
			forwards_of(json_object_get(entry, "forwards"), (int64_t)index));
	}
	return nics;
}

json_t *look_nic(const struct look *l, const json_t *nics, const char *word, struct err *err)
{
	size_t i;
	json_t *nic;
	json_array_foreach (nics, i, nic)
		if (str_eq(json_get_str(nic, "interface", ""), word) ||
			str_eq(json_get_str(nic, "tap", ""), word) ||
			strcasecmp(json_get_str(nic, "mac", ""), word) == 0)
			return nic;
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no interface '%s'", l->f.name, word);
	err_hint(err, "`roost domiflist %s` lists them", l->f.name);
	return NULL;
}

int look_guest_interfaces(struct look *l, int64_t timeout_ms, json_t **out, struct err *err)
{
	if (look_ask_guest(l, "roost-interfaces", timeout_ms, out, err) < 0)
		return -1;
	text_lines(*out);
	return 0;
}

const json_t *look_nic_counters(const json_t *guests, const json_t *nic, struct err *err)
{
	const char *mac = json_get_str(nic, "mac", "");
	size_t i;
	json_t *theirs;
	json_array_foreach (guests, i, theirs) {
		if (!str_eq(json_get_str(theirs, "mac", ""), mac))
			continue;
		const json_t *statistics = json_object_get(theirs, "statistics");
		if (!statistics)
			err_set(err, ERR_QEMU, "the guest's agent tells no counters of %s", mac);
		return statistics;
	}
	err_set(err, ERR_NOT_FOUND, "the guest knows no interface %s", mac);
	return NULL;
}

int look_nic_network(const json_t *nic, struct network *out, struct err *err)
{
	const char *source = json_get_str(nic, "source", "");
	return str_eq(json_get_str(nic, "type", ""), "bridge") ? network_of_bridge(source, out, err)
							       : network_load(source, out, err);
}

static json_t *count_tap(const json_t *nic, struct err *err)
{
	struct network n;
	json_t *ret = NULL;
	if (look_nic_network(nic, &n, err) < 0 ||
		network_call(&n, "net-counters",
			json_pack("{s:s}", "tap", json_get_str(nic, "tap", "")), NULL, 0, &ret,
			NULL, NULL, NETWORK_CALL_MS, err) < 0)
		return NULL;
	return ret;
}

json_t *look_nic_count(struct look *l, const json_t *nic, struct err *err)
{
	_cleanup_json_ json_t *guests = NULL;
	if (json_get_str(nic, "tap", NULL))
		return count_tap(nic, err);
	if (look_guest_interfaces(l, AGENT_LOOK_MS, &guests, err) < 0) {
		bool no_agent = err->kind == ERR_REFUSED && !err->hint[0];
		err_prefix(err, "only the guest counts what goes through user networking");
		if (no_agent)
			err_hint(err, "install qemu-guest-agent in the guest");
		return NULL;
	}
	const json_t *counters = look_nic_counters(guests, nic, err);
	return counters ? json_deep_copy(counters)
			: (err_prefix(err, "guest '%s'", l->f.name), NULL);
}
