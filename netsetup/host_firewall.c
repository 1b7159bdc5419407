#include "netsetup/host_firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "netsetup/legacy_firewall.h"
#include "netsetup/nft_watch.h"

struct host_firewall {
	char id[9], interface[16], comment[16], table[16];
	struct passage passages[2]; /* what shall be let through */
	size_t passage_count;
	struct nft_ctx *look; /* to look and to change others' chains */
	struct nft_ctx *own;  /* its socket is the owner of our table, and used for nothing else */
	struct nft_watch *changes;
};

/*
 * Docker jumps there first, and never empties it; ufw's is what `ufw route` fills, and is read anew by `ufw reload`. There,
 * what the administrator forbids by `ufw route deny` comes before what we allow.
 */
const struct filter_opening filter_openings[] = {
	{"DOCKER-USER", "DOCKER-USER", "Docker", false},
	{"ufw-before-forward", "ufw-user-forward", "ufw", true},
	{"ufw6-before-forward", "ufw6-user-forward", "ufw", true},
};
const size_t filter_opening_count = ARRAY_SIZE(filter_openings);

static struct nft_ctx *open_nft(void)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (nft && nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0)
		return nft;
	if (nft)
		nft_ctx_free(nft);
	return NULL;
}

struct host_firewall *host_firewall_open(
	const char *id, const char *interface, bool bridged, struct err *err)
{
	struct host_firewall *f = xcalloc(1, sizeof(*f));
	snprintf(f->id, sizeof(f->id), "%s", id);
	snprintf(f->interface, sizeof(f->interface), "%s", interface);
	snprintf(f->comment, sizeof(f->comment), FILTER_MARK "%s", f->id);
	snprintf(f->table, sizeof(f->table), "roost_%s", f->id);
	f->passages[0] = (struct passage){f->interface, bridged ? f->interface : NULL};
	f->passages[1] = (struct passage){NULL, f->interface};
	f->passage_count = bridged ? 1 : 2;
	f->look = open_nft();
	f->own = open_nft();
	f->changes = nft_watch_open(err);
	if (f->look && f->own && f->changes)
		return f;
	if (!f->look || !f->own)
		err_errno(err, "cannot open nftables");
	host_firewall_close(f);
	return NULL;
}

void host_firewall_close(struct host_firewall *f)
{
	if (!f)
		return;
	if (f->look)
		nft_ctx_free(f->look);
	if (f->own)
		nft_ctx_free(f->own);
	nft_watch_close(f->changes);
	free(f);
}

/* What it says is many lines: the first one has the reason. */
static int run(struct nft_ctx *nft, const char *commands, const char *what, struct err *err)
{
	/* what nobody has read stays there, before what is said next */
	nft_ctx_get_output_buffer(nft);
	nft_ctx_get_error_buffer(nft);
	if (nft_run_cmd_from_buffer(nft, commands) == 0)
		return 0;
	const char *said = nft_ctx_get_error_buffer(nft);
	const char *reason = said ? strstr(said, "Error: ") : NULL;
	reason = reason ? reason + strlen("Error: ") : "nftables does not say why";
	return err_set(
		err, ERR_SYSTEM, "cannot %s: %.*s", what, (int)strcspn(reason, "\n"), reason);
}

/* The array of what libnftables(5) answers; NULL with *err. */
static json_t *ask(struct host_firewall *f, const char *command, struct err *err)
{
	nft_ctx_output_set_flags(f->look, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
	if (run(f->look, command, "read the host's firewall", err) < 0)
		return NULL;
	const char *said = nft_ctx_get_output_buffer(f->look);
	_cleanup_json_ json_t *answer =
		json_text_parse(said ? said : "", said ? strlen(said) : 0, err);
	if (!answer) {
		err_prefix(err, "nftables' answer");
		return NULL;
	}
	return json_incref(json_object_get(answer, "nftables"));
}

/* The rules of a chain. One that has gone meanwhile, or whose name nft's own language has no word for, has none. */
static json_t *rules_of(
	struct host_firewall *f, const char *family, const char *table, const char *chain)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *command = str_fmt("list chain %s %s %s\n", family, table, chain);
	json_t *rules = ask(f, command, &ignored);
	return rules ? rules : json_array();
}

/* ---- filters that drop ---------------------------------------------------------------------------- */

/* A rule for all packets that ends in drop or reject. iptables' own targets are "xt" here. */
static bool is_last_word(const json_t *rule)
{
	size_t i;
	json_t *e;
	bool drops = false;
	json_array_foreach (json_object_get(rule, "expr"), i, e) {
		const char *target = json_get_str(json_object_get(e, "xt"), "name", "");
		if (json_object_get(e, "drop") || json_object_get(e, "reject") ||
			strcmp(target, "REJECT") == 0)
			drops = true;
		else if (!json_object_get(e, "counter") && !json_object_get(e, "log"))
			return false;
	}
	return drops;
}

/* A rule that accepts all packets of that interface, such as host_filter_remedy() tells. */
static bool accepts_all(const json_t *rule, const char *key, const char *interface)
{
	size_t i;
	json_t *e;
	bool named = false, accepts = false;
	json_array_foreach (json_object_get(rule, "expr"), i, e) {
		const json_t *match = json_object_get(e, "match"),
			     *meta = json_object_get(json_object_get(match, "left"), "meta");
		if (str_eq(json_get_str(match, "op", NULL), "==") &&
			str_eq(json_get_str(meta, "key", NULL), key) &&
			str_eq(json_get_str(match, "right", NULL), interface))
			named = true;
		else if (json_object_get(e, "accept"))
			accepts = true;
		else if (!json_object_get(e, "counter"))
			return false;
	}
	return named && accepts;
}

static bool drops(const json_t *chain, const json_t *rules, const char *interface)
{
	size_t i;
	json_t *part;
	bool in = false, out = false;
	json_array_foreach (rules, i, part) {
		const json_t *rule = json_object_get(part, "rule");
		in = in || accepts_all(rule, "iifname", interface);
		out = out || accepts_all(rule, "oifname", interface);
		if (in && out)
			return false;
		if (is_last_word(rule))
			return true;
	}
	return str_eq(json_get_str(chain, "policy", ""), "drop");
}

static bool jumps(const json_t *rules, const char *target)
{
	size_t i, k;
	json_t *part, *e;
	json_array_foreach (rules, i, part)
		json_array_foreach (json_object_get(json_object_get(part, "rule"), "expr"), k, e)
			if (str_eq(json_get_str(json_object_get(e, "jump"), "target", NULL),
				    target))
				return true;
	return false;
}

static bool has_chain(const json_t *chains, const char *family, const char *table, const char *name)
{
	size_t i;
	json_t *part;
	json_array_foreach (chains, i, part) {
		const json_t *c = json_object_get(part, "chain");
		if (str_eq(json_get_str(c, "family", NULL), family) &&
			str_eq(json_get_str(c, "table", NULL), table) &&
			str_eq(json_get_str(c, "name", NULL), name))
			return true;
	}
	return false;
}

static void tell_filter(
	const json_t *chains, const json_t *chain, const json_t *rules, struct host_filter *out)
{
	const char *family = json_get_str(chain, "family", ""),
		   *table = json_get_str(chain, "table", "");
	*out = (struct host_filter){.owner = strcmp(table, "firewalld") == 0 ? "firewalld" : NULL};
	snprintf(out->kind, sizeof(out->kind), "%s", family);
	snprintf(out->table, sizeof(out->table), "%s", table);
	snprintf(out->chain, sizeof(out->chain), "%s", json_get_str(chain, "name", ""));
	for (size_t i = 0; i < filter_opening_count; i++) {
		const struct filter_opening *o = &filter_openings[i];
		if (!jumps(rules, o->jump) || !has_chain(chains, family, table, o->opening))
			continue;
		out->owner = o->owner;
		snprintf(out->opening, sizeof(out->opening), "%s", o->opening);
		return;
	}
}

int host_firewall_filters(
	struct host_firewall *f, struct host_filter out[HOST_FILTERS_MAX], struct err *err)
{
	size_t i;
	json_t *part;
	int count = 0;
	_cleanup_json_ json_t *chains = ask(f, "list chains\n", err);
	if (!chains)
		return -1;
	json_array_foreach (chains, i, part) {
		const json_t *c = json_object_get(part, "chain");
		const char *family = json_get_str(c, "family", ""),
			   *table = json_get_str(c, "table", "");
		if (!str_eq(json_get_str(c, "hook", NULL), "forward") ||
			(strcmp(family, "ip") != 0 && strcmp(family, "ip6") != 0 &&
				strcmp(family, "inet") != 0) ||
			str_starts(table, "roost") || count == HOST_FILTERS_MAX)
			continue;
		_cleanup_json_ json_t *rules =
			rules_of(f, family, table, json_get_str(c, "name", ""));
		if (drops(c, rules, f->interface))
			tell_filter(chains, c, rules, &out[count++]);
	}
	return legacy_filters(out, count);
}

static bool is_legacy(const struct host_filter *filter)
{
	return str_starts(filter->kind, "legacy");
}

static bool is_ipv6(const struct host_filter *filter)
{
	return strchr(filter->kind, '6') != NULL;
}

char *host_filter_text(const struct host_filter *filter)
{
	_cleanup_free_ char *owner = filter->owner ? str_fmt(" (%s)", filter->owner) : xstrdup("");
	if (is_legacy(filter))
		return str_fmt("the chain %s of %s-legacy%s", filter->chain,
			is_ipv6(filter) ? "ip6tables" : "iptables", owner);
	return str_fmt("the chain %s of table '%s %s'%s", filter->chain, filter->kind,
		filter->table, owner);
}

char *host_filter_remedy(const struct host_filter *filter, const char *interface)
{
	if (str_eq(filter->owner, "firewalld"))
		return str_fmt("`firewall-cmd --permanent --zone=trusted --add-interface=%s && "
			       "firewall-cmd --reload`",
			interface);
	if (str_eq(filter->owner, "ufw"))
		return str_fmt("`ufw route allow in on %s && ufw route allow out on %s`", interface,
			interface);
	if (is_legacy(filter)) {
		const char *program = is_ipv6(filter) ? "ip6tables-legacy" : "iptables-legacy";
		const char *chain = filter->opening[0] ? filter->opening : filter->chain;
		return str_fmt("`%s -I %s -i %s -j ACCEPT && %s -I %s -o %s -j ACCEPT`", program,
			chain, interface, program, chain, interface);
	}
	return str_fmt("`nft insert rule %s %s %s iifname %s accept && "
		       "nft insert rule %s %s %s oifname %s accept`",
		filter->kind, filter->table, filter->opening[0] ? filter->opening : filter->chain,
		interface, filter->kind, filter->table,
		filter->opening[0] ? filter->opening : filter->chain, interface);
}

/* ---- openings ------------------------------------------------------------------------------------- */

/* Adds to `text` the commands that delete our rules of a chain; returns how many. */
static size_t add_deletions(struct host_firewall *f, const char *family, const char *table,
	const char *chain, struct buf *text)
{
	size_t i, count = 0;
	json_t *part;
	_cleanup_json_ json_t *rules = rules_of(f, family, table, chain);
	json_array_foreach (rules, i, part) {
		const json_t *rule = json_object_get(part, "rule");
		if (!str_eq(json_get_str(rule, "comment", NULL), f->comment))
			continue;
		buf_fmt(text, "delete rule %s %s %s handle %lld\n", family, table, chain,
			(long long)json_get_int(rule, "handle", 0));
		count++;
	}
	return count;
}

bool filter_opening_is_last(const char *opening)
{
	for (size_t i = 0; i < filter_opening_count; i++)
		if (strcmp(filter_openings[i].opening, opening) == 0)
			return filter_openings[i].last;
	return false;
}

/* Plain matches only: those of nft's own that iptables has no word for would make it refuse the whole table. */
static void add_passages(
	const struct host_firewall *f, const struct host_filter *filter, struct buf *text)
{
	for (size_t i = 0; i < f->passage_count; i++) {
		const struct passage *p = &f->passages[i];
		buf_fmt(text, "%s rule %s %s %s",
			filter_opening_is_last(filter->opening) ? "add" : "insert", filter->kind,
			filter->table, filter->opening);
		if (p->from)
			buf_fmt(text, " iifname \"%s\"", p->from);
		if (p->to)
			buf_fmt(text, " oifname \"%s\"", p->to);
		buf_fmt(text, " counter accept comment \"%s\"\n", f->comment);
	}
}

/* 1: opened; 0: it was open. */
static int open_filter(struct host_firewall *f, const struct host_filter *filter, struct err *err)
{
	if (is_legacy(filter)) {
		if (legacy_count(filter, f->comment) == f->passage_count)
			return 0;
		return legacy_open(filter, f->passages, f->passage_count, f->comment, err) < 0 ? -1
											       : 1;
	}
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *what = str_fmt("put a rule into the chain %s of table '%s %s'",
		filter->opening, filter->kind, filter->table);
	if (add_deletions(f, filter->kind, filter->table, filter->opening, &text) ==
		f->passage_count)
		return 0;
	add_passages(f, filter, &text);
	return run(f->look, text.data, what, err) < 0 ? -1 : 1;
}

int host_firewall_heal(struct host_firewall *f, struct err *err)
{
	struct host_filter filters[HOST_FILTERS_MAX];
	int opened = 0, count = host_firewall_filters(f, filters, err);
	for (int i = 0; i < count; i++) {
		int result = filters[i].opening[0] ? open_filter(f, &filters[i], err) : 0;
		if (result < 0)
			return -1;
		opened += result;
	}
	return count < 0 ? -1 : opened;
}

/* For each chain that takes rules of others, whoever has opened it. */
static int each_opening(struct host_firewall *f,
	void (*fn)(struct host_firewall *f, const json_t *chain, void *context), void *context,
	struct err *err)
{
	size_t i;
	json_t *part;
	_cleanup_json_ json_t *chains = ask(f, "list chains\n", err);
	if (!chains)
		return -1;
	json_array_foreach (chains, i, part) {
		const json_t *c = json_object_get(part, "chain");
		for (size_t k = 0; k < filter_opening_count; k++)
			if (str_eq(json_get_str(c, "name", NULL), filter_openings[k].opening))
				fn(f, c, context);
	}
	return 0;
}

static void add_deletions_of(struct host_firewall *f, const json_t *chain, void *text)
{
	add_deletions(f, json_get_str(chain, "family", ""), json_get_str(chain, "table", ""),
		json_get_str(chain, "name", ""), text);
}

int host_firewall_unheal(struct host_firewall *f, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (each_opening(f, add_deletions_of, &text, err) < 0 ||
		(text.len &&
			run(f->look, text.data, "remove rules from the host's firewall", err) < 0))
		return -1;
	return legacy_remove(f->comment, err);
}

static void add_marks_of(struct host_firewall *f, const json_t *chain, void *marks)
{
	size_t i;
	json_t *part;
	_cleanup_json_ json_t *rules = rules_of(f, json_get_str(chain, "family", ""),
		json_get_str(chain, "table", ""), json_get_str(chain, "name", ""));
	json_array_foreach (rules, i, part)
		filter_mark_add(marks, json_get_str(json_object_get(part, "rule"), "comment", ""));
}

json_t *host_firewall_marks(struct host_firewall *f, struct err *err)
{
	json_t *marks = json_array();
	if (each_opening(f, add_marks_of, marks, err) < 0) {
		json_decref(marks);
		return NULL;
	}
	legacy_marks(marks);
	return marks;
}

/* In words: libnftables 1.0.6 writes whatever there is in its memory as "flags" into JSON. */
bool host_table_is_owned(struct host_firewall *f, const char *id)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *command = str_fmt("list table inet roost_%s\n", id);
	nft_ctx_output_set_flags(f->look, 0);
	if (run(f->look, command, "", &ignored) < 0)
		return false;
	const char *said = nft_ctx_get_output_buffer(f->look);
	return said && strstr(said, "flags owner");
}

/* ---- changes -------------------------------------------------------------------------------------- */

int host_firewall_fd(const struct host_firewall *f)
{
	return nft_watch_fd(f->changes);
}

bool host_firewall_changed(struct host_firewall *f)
{
	return nft_watch_look(f->changes);
}

/* ---- our own table -------------------------------------------------------------------------------- */

static void add_masquerade(const struct host_firewall *f, const struct prefix *of, struct buf *text)
{
	char net[ADDRESS_TEXT + 4];
	if (of->family)
		buf_fmt(text, "		%s saddr %s oifname != \"%s\" masquerade\n",
			of->family == AF_INET ? "ip" : "ip6", prefix_text(of, net), f->interface);
}

static void add_table(const struct host_firewall *f, const struct host_table *t, const char *flags,
	struct buf *text)
{
	buf_fmt(text,
		"table inet %s {\n%s"
		"	counter proven { }\n"
		"	chain forward {\n"
		"		type filter hook forward priority filter; policy accept;\n",
		f->table, flags);
	/* those of other networks, too, who come with the host's address */
	if (t->nat)
		buf_fmt(text,
			"		oifname \"%s\" ct state established,related accept\n"
			"		oifname \"%s\" ct status dnat accept\n"
			"		oifname \"%s\" drop\n",
			f->interface, f->interface, f->interface);
	buf_fmt(text, "	}\n"
		      "	chain leave {\n"
		      "		type nat hook postrouting priority srcnat; policy accept;\n");
	if (t->nat) {
		add_masquerade(f, &t->guests, text);
		add_masquerade(f, &t->guests6, text);
	}
	/* what the network's dnsmasq asks: nobody knows the way there */
	add_masquerade(f, &t->transfer, text);
	add_masquerade(f, &t->transfer6, text);
	buf_fmt(text, "	}\n"
		      "}\n");
}

int host_table_put(struct host_firewall *f, const struct host_table *t, struct err *err)
{
	struct err owned = ERR_INIT;
	_cleanup_buf_ struct buf text = {0}, plain = {0};
	if (host_table_remove(f, err) < 0)
		return -1;
	add_table(f, t, "	flags owner\n", &text);
	if (run(f->own, text.data, "install the network's rules on the host", &owned) == 0)
		return 0;
	add_table(f, t, "", &plain);
	return run(f->own, plain.data, "install the network's rules on the host", err);
}

bool host_table_is_there(struct host_firewall *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *command = str_fmt("list counter inet %s proven\n", f->table);
	return run(f->look, command, "", &ignored) == 0;
}

int host_table_remove(struct host_firewall *f, struct err *err)
{
	_cleanup_free_ char *command = str_fmt("delete table inet %s\n", f->table);
	if (!host_table_is_there(f))
		return 0;
	return run(f->own, command, "remove the network's rules from the host", err);
}

/* ---- the proof ------------------------------------------------------------------------------------ */

static int64_t came(struct host_firewall *f)
{
	size_t i;
	json_t *part;
	int64_t packets = -1;
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *command = str_fmt("list counter inet %s proven\n", f->table);
	_cleanup_json_ json_t *answer = ask(f, command, &ignored);
	json_array_foreach (answer, i, part) {
		const json_t *counter = json_object_get(part, "counter");
		if (counter)
			packets = json_get_int(counter, "packets", -1);
	}
	return packets;
}

/* Sends until one comes, for on a busy host that may take its time. */
static int send_until_it_comes(
	struct host_firewall *f, const struct host_proof *proof, int64_t before, struct err *err)
{
	enum { PAUSE_MS = 10 };
	int64_t deadline = deadline_in(proof->wait_ms);
	for (;;) {
		if (proof->send(proof->context, err) < 0)
			return -1;
		if (came(f) > before)
			return 1;
		if (clock_ms() >= deadline)
			return 0;
		poll(NULL, 0, PAUSE_MS);
	}
}

int host_firewall_prove(struct host_firewall *f, const struct host_proof *proof, struct err *err)
{
	char to[ADDRESS_TEXT];
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *begin = str_fmt(
		"add chain inet %s prove { type filter hook postrouting priority mangle; }\n"
		"add rule inet %s prove %s daddr %s udp dport %u counter name proven drop\n",
		f->table, f->table, proof->to.family == AF_INET ? "ip" : "ip6",
		prefix_address_text(&proof->to, to), proof->port);
	_cleanup_free_ char *end = str_fmt(
		"flush chain inet %s prove\ndelete chain inet %s prove\n", f->table, f->table);
	int64_t before = came(f);
	if (before < 0)
		return err_set(err, ERR_SYSTEM, "the table 'inet %s' is gone", f->table);
	if (run(f->own, begin, "watch for the packet that proves the path", err) < 0)
		return -1;
	int result = send_until_it_comes(f, proof, before, err);
	run(f->own, end, "", &ignored);
	return result;
}
