/* Definitions: the keys of an interface. */
#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/pci_place.h"
#include "orchestrator/publish.h"

static const char *const nic_names[] = {
	[NIC_VIRTIO] = "virtio",
	[NIC_E1000E] = "e1000e",
	[NIC_E1000] = "e1000",
};
static_assert(ARRAY_SIZE(nic_names) == NIC_MODEL_MAX, "a word is missing");
static const struct words nic_words = WORDS(nic_names);

const char *nic_model_name(enum nic_model model)
{
	return nic_names[model];
}

static int read_port(const char *text, const char *what, uint16_t *out, struct err *err)
{
	uint64_t port;
	if (str_parse_u64(text, 1, 65535, what, &port, err) < 0)
		return -1;
	*out = (uint16_t)port;
	return 0;
}

static int hint_forward(struct err *err)
{
	return err_hint(err, "write [tcp|udp:][HOST_ADDRESS:][HOST_PORT]-GUEST_PORT, such as "
			     "\"2222-22\" or \"udp:0.0.0.0:53-53\"");
}

static int not_a_forward(const struct node *n, struct err *err)
{
	node_error(n, err, "'%.80s' is not a forward", n->text);
	return hint_forward(err);
}

/* [HOST_ADDRESS:][HOST_PORT], split in place */
static int read_host_side(char *text, const struct node *n, struct forward *f, struct err *err)
{
	_cleanup_free_ char *path = node_path(n);
	struct in_addr address;
	char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	if (colon)
		*colon = '\0';
	if (colon && inet_pton(AF_INET, text, &address) != 1) {
		node_error(n, err, "'%.60s' is not an IPv4 address", text);
		return hint_forward(err);
	}
	if (*port && read_port(port, path, &f->host_port, err) < 0)
		return node_locate(n, err);
	if (colon)
		inet_ntop(AF_INET, &address, f->host, sizeof(f->host));
	return 0;
}

static int read_forward(const struct node *n, void *base, struct err *err)
{
	struct forward f = {.host = "127.0.0.1"};
	const char *text;
	if (node_text(n, false, &text, err) < 0)
		return -1;
	_cleanup_free_ char *path = node_path(n), *host_side = xstrdup(text);
	char *dash = strrchr(host_side, '-');
	if (!dash || !dash[1] || dash[1] == ':')
		return not_a_forward(n, err);
	*dash = '\0';
	f.udp = str_starts(host_side, "udp:");
	bool named = f.udp || str_starts(host_side, "tcp:");
	if (read_host_side(host_side + (named ? 4 : 0), n, &f, err) < 0)
		return -1;
	if (read_port(dash + 1, path, &f.guest_port, err) < 0)
		return node_locate(n, err);
	*(struct forward *)base = f;
	return 0;
}

static json_t *write_forward(const void *base)
{
	const struct forward *f = base;
	char port[8] = "";
	if (f->host_port)
		snprintf(port, sizeof(port), "%u", f->host_port);
	return json_sprintf("%s:%s:%s-%u", f->udp ? "udp" : "tcp", f->host, port, f->guest_port);
}

static const struct key forward_item = {
	.type = KEY_OWN, .read = read_forward, .write = write_forward};

static int read_publish(const struct node *n, void *base, struct err *err)
{
	const char *text;
	if (node_text(n, false, &text, err) < 0)
		return -1;
	return publish_parse(text, base, err) < 0 ? node_locate(n, err) : 0;
}

static json_t *write_publish(const void *base)
{
	_cleanup_free_ char *text = publish_text(base);
	return json_string(text);
}

static const struct key publish_item = {
	.type = KEY_OWN, .read = read_publish, .write = write_publish};

/* ---- on a network ----------------------------------------------------------------------------- */

/* What people write is what they want; in a record it is what was issued, and address_fixed tells which. */
static int read_address(const struct node *n, void *base, struct err *err)
{
	struct nic_def *nic = base;
	struct in_addr address;
	const char *text;
	if (node_text(n, false, &text, err) < 0)
		return -1;
	if (inet_pton(AF_INET, text, &address) != 1)
		return node_error(n, err, "'%.60s' is not an IPv4 address", text);
	inet_ntop(AF_INET, &address, nic->address, sizeof(nic->address));
	nic->address_fixed = nic->address_fixed || node_by_people(n);
	return 0;
}

static json_t *write_address(const void *base)
{
	const struct nic_def *nic = base;
	return json_string(nic->address);
}

static json_t *dump_address(const void *base)
{
	const struct nic_def *nic = base;
	return nic->address_fixed ? json_string(nic->address) : NULL;
}

static int check_network_name(const char *text, const struct node *n, struct err *err)
{
	return name_check(text, "network", err) < 0 ? node_locate(n, err) : 0;
}

static int check_bridge(const char *text, const struct node *n, struct err *err)
{
	if (strlen(text) < IFNAMSIZ && !strpbrk(text, "/: \t\n") && !str_eq(text, ".") &&
		!str_eq(text, ".."))
		return 0;
	return node_error(n, err, "'%.60s' is not the name of a bridge", text);
}

static int check_pci(const char *text, const struct node *n, struct err *err)
{
	struct pci_place ignored;
	struct err why = ERR_INIT;
	if (pci_place_parse(text, &ignored, &why) == 0)
		return 0;
	node_error(n, err, "%s", why.message);
	return err_hint(err, "%s", why.hint);
}

/* ---- the rows --------------------------------------------------------------------------------- */

static bool is_user(const void *nic)
{
	return ((const struct nic_def *)nic)->kind == NIC_USER;
}
static bool is_network(const void *nic)
{
	return ((const struct nic_def *)nic)->kind == NIC_NETWORK;
}
static bool is_bridge(const void *nic)
{
	return ((const struct nic_def *)nic)->kind == NIC_BRIDGE;
}
static bool has_address(const void *nic)
{
	return ((const struct nic_def *)nic)->address[0];
}
static bool publishes(const void *nic)
{
	return is_network(nic) && ((const struct nic_def *)nic)->forward_count;
}

/* The link is a bool, for nobody says that it is up. */
static const char *const link_names[] = {"up", "down"};
static const struct words link_words = WORDS(link_names);

static int read_link(const struct node *n, void *base, struct err *err)
{
	unsigned word;
	if (node_word(n, &link_words, &word, err) < 0)
		return -1;
	((struct nic_def *)base)->link_down = word;
	return 0;
}

static json_t *write_link(const void *base)
{
	(void)base;
	return json_string(link_names[1]);
}

static bool is_down(const void *nic)
{
	return ((const struct nic_def *)nic)->link_down;
}

#define AT(member) .offset = offsetof(struct nic_def, member)
static const struct key user_net_rows[] = {
	{"hostfwd", KEY_LIST, AT(forwards), .aux = offsetof(struct nic_def, forward_count),
		.max = FORWARDS_MAX, .item = &forward_item, .size = sizeof(struct forward),
		.doc = "ports of the host that lead into the guest, each as "
		       "`[tcp|udp:][ADDRESS:][PORT]-GUEST_PORT`; without PORT a free one is taken at each start"},
	{"restrict", KEY_BOOL, AT(restricted), .doc = "the guest reaches nothing but those"},
};
static const struct keys user_net_keys = {user_net_rows, ARRAY_SIZE(user_net_rows), NULL, NULL};

static const struct key nic_rows[] = {
	{"user", KEY_MAP, KEY_BARE, .keys = &user_net_keys, .there = is_user,
		.doc = "QEMU's own user networking: no privilege, reached by forwarded ports"},
	{"network", KEY_CHARS, KEY_CASE, AT(network), .max = 63, .check = check_network_name,
		.there = is_network,
		.doc = "a network of roost's, `default` for one: `roost net-list --all`"},
	{"bridge", KEY_CHARS, KEY_CASE, AT(network), .max = 63, .check = check_bridge,
		.there = is_bridge, .doc = "a bridge that the host has; for root's guests alone"},
	{"mac", KEY_CHARS, AT(mac), .max = 17, .check = check_mac, .doc = "its MAC address"},
	{"model", KEY_WORD, AT(model), .words = &nic_words, .doc = "which card the guest sees"},
	{"pci", KEY_CHARS, AT(pci), .max = 7, .check = check_pci,
		.doc = "where the guest sees it, BUS:SLOT.0, as `01:00.0` (enp1s0); default: in order"},
	{"address", KEY_OWN, .read = read_address, .write = write_address, .dump = dump_address,
		.there = has_address,
		.doc = "its IPv4 address on the network; default: one is issued, and stays"},
	{"address6", KEY_CHARS, KEY_RECORD | KEY_SPARSE, AT(address6), .max = 45},
	{"address_fixed", KEY_BOOL, KEY_RECORD | KEY_SPARSE, AT(address_fixed)},
	{"publish", KEY_LIST, AT(forwards), .aux = offsetof(struct nic_def, forward_count),
		.max = FORWARDS_MAX, .item = &publish_item, .size = sizeof(struct forward),
		.there = publishes,
		.doc = "ports of the host that lead into the guest, each as "
		       "`[ADDRESS:][PORT:]GUEST_PORT[/tcp|/udp]`; ADDRESS is 127.0.0.1 by default"},
	{"isolated", KEY_BOOL, KEY_SPARSE, AT(isolated),
		.doc = "it reaches the gateway, but no other guest of the network"},
	{"strict_ipv6", KEY_BOOL, KEY_SPARSE, AT(strict6),
		.doc = "it may use no IPv6 address but the issued one (breaks privacy addresses)"},
	{"queues", KEY_NUMBER, KEY_SPARSE, AT(queues), .min = 1, .max = QUEUES_MAX,
		.doc = "how many vCPUs may send at the same time (virtio)"},
	{"mtu", KEY_NUMBER, KEY_SPARSE, AT(mtu), .min = MTU_MIN, .max = MTU_MAX,
		.doc = "the largest packet, in bytes; default the network's"},
	{"link", KEY_OWN, .read = read_link, .write = write_link, .there = is_down,
		.doc = "`down`: its cable is not plugged in"},
};
#undef AT

/* Which of the three it is; and what goes with which. */
static int check_nic(void *thing, const struct node *map, struct err *err)
{
	static const char *const of_networks[] = {"address", "publish", "strict_ipv6", NULL},
				 *const of_taps[] = {"isolated", "queues", "mtu", NULL};
	struct nic_def *nic = thing;
	const struct node *user = node_get(map, "user"), *network = node_get(map, "network"),
			  *bridge = node_get(map, "bridge");
	if (!!user + !!network + !!bridge != 1) {
		node_error(map, err,
			"an interface has one of the keys 'network', 'bridge' and 'user'");
		return err_hint(err,
			"write `network: default`, or `user: {}` for QEMU's own user networking");
	}
	nic->kind = network ? NIC_NETWORK : bridge ? NIC_BRIDGE : NIC_USER;
	for (size_t i = 0; of_networks[i]; i++)
		if (!network && node_get(map, of_networks[i]))
			return node_error(node_place(map, of_networks[i]), err,
				"it goes with a 'network' only");
	for (size_t i = 0; of_taps[i]; i++)
		if (user && node_get(map, of_taps[i]))
			return node_error(node_place(map, of_taps[i]), err,
				"QEMU's user networking does not have it");
	if (nic->queues > 1 && nic->model != NIC_VIRTIO)
		return node_error(node_place(map, "queues"), err, "only virtio has several");
	return 0;
}

const struct keys nic_keys = {nic_rows, ARRAY_SIZE(nic_rows), NULL, check_nic};

int nic_from_json(const json_t *json, struct nic_def *out, struct err *err)
{
	struct nic_def nic = {0};
	if (definition_read_part(&nic_keys, json, &nic, err) < 0)
		return err_prefix(err, "interface");
	*out = nic;
	return 0;
}

json_t *nic_to_json(const struct nic_def *n)
{
	return keys_write(&nic_keys, n);
}
