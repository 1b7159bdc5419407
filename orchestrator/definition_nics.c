/* Definitions: the keys of an interface. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/definition_check.h"

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
	{"user", KEY_MAP, KEY_REQUIRED | KEY_BARE, .keys = &user_net_keys,
		.doc = "QEMU's own user networking: no privilege, reached by forwarded ports"},
	{"mac", KEY_CHARS, AT(mac), .max = 17, .check = check_mac, .doc = "its MAC address"},
	{"model", KEY_WORD, AT(model), .words = &nic_words, .doc = "which card the guest sees"},
};
#undef AT
const struct keys nic_keys = {nic_rows, ARRAY_SIZE(nic_rows), NULL, NULL};

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
