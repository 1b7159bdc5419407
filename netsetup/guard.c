#include "netsetup/guard.h"

#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

struct guard {
	struct nft_ctx *nft;
	char table[GUARD_TABLE_MAX];
};

static const char *const reasons[] = {
	"mac", "arp", "ipv4", "ipv6", "dhcp-server", "router", "protocol"};

struct guard *guard_open(const char *table, struct err *err)
{
	struct guard *g = xcalloc(1, sizeof(*g));
	snprintf(g->table, sizeof(g->table), "%s", table);
	g->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!g->nft || nft_ctx_buffer_output(g->nft) || nft_ctx_buffer_error(g->nft)) {
		err_set(err, ERR_SYSTEM, "cannot open nftables");
		guard_close(g);
		return NULL;
	}
	return g;
}

void guard_close(struct guard *g)
{
	if (g && g->nft)
		nft_ctx_free(g->nft);
	free(g);
}

void guard_cleanup(struct guard **g)
{
	guard_close(*g);
	*g = NULL;
}

/* What it says is many lines: the first one has the reason. */
static int run(struct guard *g, const char *commands, const char *what, struct err *err)
{
	if (nft_run_cmd_from_buffer(g->nft, commands) == 0)
		return 0;
	const char *said = nft_ctx_get_error_buffer(g->nft);
	const char *reason = said ? strstr(said, "Error: ") : NULL;
	reason = reason ? reason + strlen("Error: ") : "nftables does not say why";
	return err_set(
		err, ERR_SYSTEM, "cannot %s: %.*s", what, (int)strcspn(reason, "\n"), reason);
}

/* ---- the tables ----------------------------------------------------------------------------------- */

/* Two rules: whether it is counted or not, it is dropped. Each guest has its elements from the start (add_counters()). */
static void add_drops(struct buf *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		buf_fmt(text,
			"	set drops-%s { type ifname; flags dynamic; size 4096; counter; }\n"
			"	chain drop-%s {\n"
			"		update @drops-%s { iifname }\n"
			"		drop\n"
			"	}\n",
			reasons[i], reasons[i], reasons[i]);
}

/* What a guest may say: of a foreign bridge nobody knows its addresses beforehand, so they are learned. */
static void add_looks_foreign(struct buf *text)
{
	buf_fmt(text,
		"	set learned4 { type ifname . ether_addr . ipv4_addr; flags dynamic,timeout; "
		"timeout 12h; size 8192; }\n"
		"	set learned6 { type ifname . ether_addr . ipv6_addr; flags dynamic,timeout; "
		"timeout 12h; size 8192; }\n"
		"	chain look-arp {\n"
		"		iifname . arp saddr ether != @macs goto drop-arp\n"
		"		arp saddr ip 0.0.0.0 accept\n"
		"		update @learned4 { iifname . ether saddr . arp saddr ip }\n"
		"		accept\n"
		"	}\n"
		"	chain look-ipv4 {\n"
		"		udp sport 67 goto drop-dhcp-server\n"
		"		udp dport 68 goto drop-dhcp-server\n"
		"		accept\n"
		"	}\n"
		"	chain look-ipv6 {\n"
		"		icmpv6 type { nd-router-advert, nd-redirect } goto drop-router\n"
		"		udp sport 547 goto drop-dhcp-server\n"
		"		udp dport 546 goto drop-dhcp-server\n"
		"		ip6 saddr != :: icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } "
		"update @learned6 { iifname . ether saddr . ip6 saddr }\n"
		"		accept\n"
		"	}\n");
}

static void add_looks(struct buf *text, const struct guard_network *network)
{
	char prefix[ADDRESS_TEXT + 4];
	buf_fmt(text,
		"	chain look-arp {\n"
		"		iifname . arp saddr ether != @macs goto drop-arp\n"
		"		arp saddr ip 0.0.0.0 accept\n"
		"		iifname . ether saddr . arp saddr ip @addresses4 accept\n"
		"		goto drop-arp\n"
		"	}\n"
		"	chain look-ipv4 {\n"
		"		udp sport 67 goto drop-dhcp-server\n"
		"		udp dport 68 goto drop-dhcp-server\n"
		"		ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept\n"
		"		iifname . ether saddr . ip saddr @addresses4 accept\n"
		"		goto drop-ipv4\n"
		"	}\n"
		"	chain look-ipv6 {\n"
		"		icmpv6 type { nd-router-advert, nd-redirect } goto drop-router\n"
		"		udp sport 547 goto drop-dhcp-server\n"
		"		udp dport 546 goto drop-dhcp-server\n"
		"		ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, "
		"mld2-listener-report } accept\n"
		"		iifname . ip6 saddr @addresses6 accept\n"
		"		iifname @strict6 goto drop-ipv6\n"
		"		ip6 saddr fe80::/64 accept\n");
	if (network->prefix6)
		buf_fmt(text, "		ip6 saddr %s accept\n",
			prefix_text(network->prefix6, prefix));
	buf_fmt(text, "		goto drop-ipv6\n"
		      "	}\n");
}

static void add_bridge_table(
	struct buf *text, const char *table, const struct guard_network *network)
{
	buf_fmt(text,
		"table bridge %s\n"
		"delete table bridge %s\n"
		"table bridge %s {\n"
		"	set ports { type ifname; }\n"
		"	set strict6 { type ifname; }\n"
		"	set isolated { type ifname; }\n"
		"	set macs { type ifname . ether_addr; }\n"
		"	set addresses4 { type ifname . ether_addr . ipv4_addr; }\n"
		"	set addresses6 { type ifname . ipv6_addr; }\n",
		table, table, table);
	add_drops(text);
	if (network->foreign)
		add_looks_foreign(text);
	else
		add_looks(text, network);
	buf_fmt(text, "	chain look {\n"
		      "		type filter hook prerouting priority -300; policy accept;\n"
		      /* nearly all that guests send: by one look */
		      "		ether type ip ip protocol != udp iifname . ether saddr . ip saddr "
		      "@addresses4 accept\n"
		      "		iifname != @ports accept\n"
		      "		iifname . ether saddr != @macs goto drop-mac\n"
		      "		ether type arp arp htype 1 arp ptype ip goto look-arp\n"
		      "		ether type ip goto look-ipv4\n"
		      "		ether type ip6 goto look-ipv6\n"
		      "		goto drop-protocol\n"
		      "	}\n"
		      "	chain apart {\n"
		      "		type filter hook forward priority -300; policy accept;\n"
		      "		iifname @isolated oifname @ports drop\n"
		      "		oifname @isolated iifname @ports drop\n"
		      "	}\n"
		      "}\n");
}

/* Who comes by the uplink, unasked. */
static void add_from(struct buf *text, const struct guard_network *network,
	const struct prefix *from, const char *verdict)
{
	char net[ADDRESS_TEXT + 4];
	if (from && from->family && network->uplink)
		buf_fmt(text, "		iifname \"%s\" oifname \"%s\" %s saddr %s %s\n",
			network->uplink, network->bridge, from->family == AF_INET ? "ip" : "ip6",
			prefix_text(from, net), verdict);
}

static void add_inet_table(struct buf *text, const char *table, const struct guard_network *network)
{
	char mac[MAC_TEXT];
	const char *bridge = network->bridge, *uplink = network->uplink;
	/* with br_netfilter the bridge's own frames come through here, too: those are not the gateway's */
	buf_fmt(text,
		"table inet %s\n"
		"delete table inet %s\n"
		"table inet %s {\n"
		"	chain forward {\n"
		"		type filter hook forward priority filter; policy drop;\n"
		"		iifname \"%s\" oifname \"%s\" ether daddr != %s accept\n"
		"		iifname \"%s\" oifname \"%s\" drop\n"
		"		ct state established,related accept\n",
		table, table, table, bridge, bridge, mac_text(&network->gateway, mac), bridge,
		bridge);
	if (uplink)
		buf_fmt(text,
			"		ct state invalid drop\n"
			"		iifname \"%s\" oifname \"%s\" accept\n",
			bridge, uplink);
	add_from(text, network, network->from, "accept");
	add_from(text, network, network->from6, "accept");
	buf_fmt(text,
		"	}\n"
		"	chain input {\n"
		"		type filter hook input priority filter; policy accept;\n"
		"		iifname != \"%s\" accept\n"
		"		ct state established,related accept\n"
		"		udp dport { 53, 67 } accept\n"
		"		tcp dport 53 accept\n"
		"		icmp type echo-request accept\n"
		"		meta l4proto ipv6-icmp accept\n"
		"		drop\n"
		"	}\n"
		"	chain leave {\n"
		"		type nat hook postrouting priority srcnat; policy accept;\n",
		bridge);
	if (uplink && network->masquerade)
		buf_fmt(text, "		iifname \"%s\" oifname \"%s\" masquerade\n", bridge,
			uplink);
	add_from(text, network, network->host, "masquerade");
	add_from(text, network, network->host6, "masquerade");
	buf_fmt(text, "	}\n"
		      "}\n");
}

int guard_uninstall(struct guard *g, struct err *err)
{
	static const char *const families[] = {"bridge", "inet"};
	_cleanup_buf_ struct buf text = {0};
	/* naming it first makes one that is not there: so it can be deleted in any case */
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		buf_fmt(&text, "table %s %s\ndelete table %s %s\n", families[i], g->table,
			families[i], g->table);
	return run(g, text.data, "remove the network's guards", err);
}

/* ---- guests --------------------------------------------------------------------------------------- */

/* With what was dropped before, if there is something: `drops` is as guard_drops() tells it, or NULL. */
static void add_counters(struct buf *text, const struct guard *g, const char *verb, const char *tap,
	const json_t *drops)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		const json_t *before = NULL;
		size_t k;
		json_t *d;
		json_array_foreach (drops, k, d)
			if (str_eq(json_get_str(d, "tap", ""), tap) &&
				str_eq(json_get_str(d, "reason", ""), reasons[i]))
				before = d;
		buf_fmt(text, "%s element bridge %s drops-%s { \"%s\"", verb, g->table, reasons[i],
			tap);
		if (before)
			buf_fmt(text, " counter packets %lld bytes %lld",
				(long long)json_get_int(before, "packets", 0),
				(long long)json_get_int(before, "bytes", 0));
		buf_str(text, " }\n");
	}
}

static void add_change(struct buf *text, const struct guard *g, const char *verb,
	const struct guard_port *port, const json_t *drops)
{
	char mac[MAC_TEXT], address[ADDRESS_TEXT];
	if (port->address4)
		buf_fmt(text, "%s element bridge %s addresses4 { \"%s\" . %s . %s }\n", verb,
			g->table, port->tap, mac_text(&port->mac, mac),
			prefix_address_text(port->address4, address));
	if (port->strict6 && port->address6)
		buf_fmt(text, "%s element bridge %s addresses6 { \"%s\" . %s }\n", verb, g->table,
			port->tap, prefix_address_text(port->address6, address));
	if (port->also)
		return;
	buf_fmt(text, "%s element bridge %s ports { \"%s\" }\n", verb, g->table, port->tap);
	buf_fmt(text, "%s element bridge %s macs { \"%s\" . %s }\n", verb, g->table, port->tap,
		mac_text(&port->mac, mac));
	if (port->strict6)
		buf_fmt(text, "%s element bridge %s strict6 { \"%s\" }\n", verb, g->table,
			port->tap);
	if (port->isolated)
		buf_fmt(text, "%s element bridge %s isolated { \"%s\" }\n", verb, g->table,
			port->tap);
	add_counters(text, g, verb, port->tap, drops);
}

static int change(struct guard *g, const char *verb, const struct guard_port *port, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *what = str_fmt("%s the guards of '%s'", verb, port->tap);
	add_change(&text, g, verb, port, NULL);
	return run(g, text.data, what, err);
}

int guard_install(struct guard *g, const struct guard_network *network,
	const struct guard_port *ports, size_t count, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_json_ json_t *drops = count ? guard_drops(g, &none) : NULL;
	add_bridge_table(&text, g->table, network);
	if (!network->foreign)
		add_inet_table(&text, g->table, network);
	for (size_t i = 0; i < count; i++)
		add_change(&text, g, "add", &ports[i], drops);
	return run(g, text.data, "install the network's guards", err);
}

int guard_add(struct guard *g, const struct guard_port *port, struct err *err)
{
	return change(g, "add", port, err);
}

int guard_remove(struct guard *g, const struct guard_port *port, struct err *err)
{
	return change(g, "delete", port, err);
}

/* ---- what was dropped, what was learned ------------------------------------------------------------ */

/* The elements of a set of the bridge table, as libnftables-json(5) tells them; borrowed from *answer, which is the caller's. */
static const json_t *list_set(struct guard *g, const char *set, json_t **answer, struct err *err)
{
	_cleanup_free_ char *command = str_fmt("list set bridge %s %s\n", g->table, set);
	unsigned before = nft_ctx_output_get_flags(g->nft);
	size_t i;
	json_t *part;
	nft_ctx_output_set_flags(g->nft, before | NFT_CTX_OUTPUT_JSON);
	int result = run(g, command, "read the guards' sets", err);
	nft_ctx_output_set_flags(g->nft, before);
	const char *said = result < 0 ? NULL : nft_ctx_get_output_buffer(g->nft);
	*answer =
		result < 0 ? NULL : json_text_parse(said ? said : "", said ? strlen(said) : 0, err);
	if (!*answer)
		return err_prefix(err, "nftables' answer"), NULL;
	json_array_foreach (json_object_get(*answer, "nftables"), i, part)
		if (json_object_get(part, "set"))
			return json_object_get(json_object_get(part, "set"), "elem");
	return NULL;
}

/* {"elem": {"val": "tap0", "counter": {"packets": 1, "bytes": 60}}} */
static void add_drop(json_t *out, const char *reason, const json_t *element)
{
	const json_t *e = json_object_get(element, "elem"),
		     *counter = json_object_get(e, "counter");
	int64_t packets = json_get_int(counter, "packets", 0);
	if (packets > 0)
		json_array_append_new(
			out, json_pack("{s:s, s:s, s:I, s:I}", "tap", json_get_str(e, "val", ""),
				     "reason", reason, "packets", (json_int_t)packets, "bytes",
				     (json_int_t)json_get_int(counter, "bytes", 0)));
}

json_t *guard_drops(struct guard *g, struct err *err)
{
	_cleanup_json_ json_t *out = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		_cleanup_free_ char *set = str_fmt("drops-%s", reasons[i]);
		_cleanup_json_ json_t *answer = NULL;
		const json_t *elements = list_set(g, set, &answer, err), *element;
		size_t k;
		if (!answer)
			return NULL;
		json_array_foreach (elements, k, element)
			add_drop(out, reasons[i], element);
	}
	return TAKE(out);
}

/* {"elem": {"val": {"concat": ["tap0", "52:54:...", "192.0.2.7"]}, ...}} */
static void add_learned(json_t *out, const json_t *element)
{
	const json_t *e = json_object_get(element, "elem");
	const json_t *words = json_object_get(json_object_get(e, "val"), "concat");
	const char *tap = json_string_value(json_array_get(words, 0)),
		   *mac = json_string_value(json_array_get(words, 1)),
		   *address = json_string_value(json_array_get(words, 2));
	if (tap && mac && address)
		json_array_append_new(
			out, json_pack("{s:s, s:s, s:s, s:I}", "tap", tap, "mac", mac, "address",
				     address, "left", (json_int_t)json_get_int(e, "expires", 0)));
}

json_t *guard_learned(struct guard *g, struct err *err)
{
	static const char *const sets[] = {"learned4", "learned6"};
	_cleanup_json_ json_t *out = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		_cleanup_json_ json_t *answer = NULL;
		const json_t *elements = list_set(g, sets[i], &answer, err), *element;
		size_t k;
		if (!answer)
			return NULL;
		json_array_foreach (elements, k, element)
			add_learned(out, element);
	}
	return TAKE(out);
}

/* ---- is it all there? ------------------------------------------------------------------------------ */

/* The sets that tell of guests. */
static const char *const guest_sets[] = {
	"ports", "macs", "addresses4", "addresses6", "strict6", "isolated"};

static void tell(json_t *out, const char *kind, const char *name, const char *why)
{
	json_array_append_new(
		out, json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "why", why));
}

/* Does the chain have what its last rule, or its policy, says? */
static void check_chain(
	struct guard *g, const char *family, const char *chain, const char *words, json_t *out)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *command = str_fmt("list chain %s %s %s\n", family, g->table, chain);
	_cleanup_free_ char *name = str_fmt("%s %s", family, g->table);
	int result = run(g, command, "", &ignored);
	const char *said = result < 0 ? NULL : nft_ctx_get_output_buffer(g->nft);
	if (!said || !strstr(said, words))
		tell(out, "table", name, "somebody has removed or emptied it");
}

/* As add_change() writes it. */
static char *element_text(const json_t *element)
{
	const json_t *words = json_object_get(element, "concat");
	if (!words)
		return xstrdup(json_string_value(element) ? json_string_value(element) : "?");
	_cleanup_buf_ struct buf text = {0};
	size_t i;
	const json_t *word;
	json_array_foreach (words, i, word) {
		const char *value = json_string_value(word);
		buf_fmt(&text, "%s%s", i ? " . " : "", value ? value : "?");
	}
	return buf_steal(&text);
}

static void want(json_t *wanted, const char *tap, const char *value)
{
	_cleanup_free_ char *text = value ? str_fmt("%s . %s", tap, value) : xstrdup(tap);
	json_object_set_new(wanted, text, json_true());
}

static void want_of(json_t *wanted, const char *set, const struct guard_port *p)
{
	char mac[MAC_TEXT], address[ADDRESS_TEXT];
	if (strcmp(set, "addresses4") == 0 && p->address4) {
		_cleanup_free_ char *both = str_fmt("%s . %s", mac_text(&p->mac, mac),
			prefix_address_text(p->address4, address));
		want(wanted, p->tap, both);
	} else if (strcmp(set, "addresses6") == 0 && p->strict6 && p->address6)
		want(wanted, p->tap, prefix_address_text(p->address6, address));
	else if (p->also)
		return;
	else if (strcmp(set, "ports") == 0 || (strcmp(set, "strict6") == 0 && p->strict6) ||
		 (strcmp(set, "isolated") == 0 && p->isolated))
		want(wanted, p->tap, NULL);
	else if (strcmp(set, "macs") == 0)
		want(wanted, p->tap, mac_text(&p->mac, mac));
}

static int check_set(struct guard *g, const char *set, const struct guard_port *ports, size_t count,
	json_t *out, struct err *err)
{
	_cleanup_json_ json_t *wanted = json_object(), *answer = NULL;
	const json_t *elements = list_set(g, set, &answer, err), *element;
	const char *key;
	size_t i;
	json_t *value;
	if (!answer)
		return -1;
	for (i = 0; i < count; i++)
		want_of(wanted, set, &ports[i]);
	json_array_foreach (elements, i, element) {
		_cleanup_free_ char *text = element_text(element),
				    *name = str_fmt("%s: %s", set, text);
		if (json_object_del(wanted, text) < 0)
			tell(out, "element", name, "it lets a guest pass that is not there");
	}
	json_object_foreach (wanted, key, value) {
		_cleanup_free_ char *name = str_fmt("%s: %s", set, key);
		tell(out, "element", name,
			"it is missing: what the guest sends is not judged as it should be");
	}
	return 0;
}

json_t *guard_check(struct guard *g, bool foreign, const struct guard_port *ports, size_t count,
	struct err *err)
{
	_cleanup_json_ json_t *out = json_array();
	check_chain(g, "bridge", "look", "goto drop-protocol", out);
	if (!foreign)
		check_chain(g, "inet", "forward", "policy drop", out);
	for (size_t i = 0; i < ARRAY_SIZE(guest_sets) && !json_array_size(out); i++)
		if (check_set(g, guest_sets[i], ports, count, out, err) < 0)
			return NULL;
	return TAKE(out);
}
