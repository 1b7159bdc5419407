#include "orchestrator/nic_tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_publish.h"
#include "orchestrator/network_up.h"
#include "orchestrator/publish.h"

/* Sockets in the host's namespace that are handed to the network's holder, or closed. */
struct sockets {
	int fds[FORWARDS_MAX];
	uint16_t ports[FORWARDS_MAX];
	size_t count;
};

static void sockets_close(struct sockets *s)
{
	while (s->count)
		cleanup_close(&s->fds[--s->count]);
}

void nic_tap_close(struct nic_tap *t)
{
	while (t->count)
		cleanup_close(&t->queues[--t->count]);
	while (t->vhost_count)
		cleanup_close(&t->vhosts[--t->vhost_count]);
}

void nic_tap_name(const struct nic_of *of, char out[NIC_TAP_MAX])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	snprintf(out, NIC_TAP_MAX, "t%.12s%c%c", of->id, digits[of->index / 36 % 36],
		digits[of->index % 36]);
}

int nic_network(const struct nic_def *n, struct network *out, struct err *err)
{
	return n->kind == NIC_BRIDGE ? network_of_bridge(n->network, out, err)
				     : network_load(n->network, out, err);
}

static int bind_ports(const struct nic_def *n, struct sockets *s, struct err *err)
{
	for (size_t i = 0; i < n->forward_count; i++, s->count++)
		if ((s->fds[i] = publish_bind(&n->forwards[i], &s->ports[i], err)) < 0)
			return -1;
	return 0;
}

/* A cable that is pulled is QEMU's alone (op_link.c): the tap is up, so that there is one place where it is plugged in again. */
static json_t *wishes(const struct nic_def *n, const struct nic_of *of, const char *tap)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:I, s:b, s:b}", "tap", tap, "guest", of->guest,
		"nic", (json_int_t)of->index, "mac", n->mac, "queues",
		(json_int_t)(n->queues ? n->queues : 1), "isolated", n->isolated, "strict6",
		n->strict6);
	if (n->address[0])
		json_object_set_new(o, "address", json_string(n->address));
	if (n->address6[0])
		json_object_set_new(o, "address6", json_string(n->address6));
	if (n->mtu)
		json_object_set_new(o, "mtu", json_integer(n->mtu));
	return o;
}

/* QEMU opens /dev/vhost-net itself only to end if it cannot. One that we cannot open is done without. */
static void open_vhosts(const struct nic_def *n, struct nic_tap *t)
{
	if (n->model != NIC_VIRTIO)
		return;
	while (t->vhost_count < t->count) {
		int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			break;
		t->vhosts[t->vhost_count++] = fd;
	}
	while (t->vhost_count != t->count && t->vhost_count)
		cleanup_close(&t->vhosts[--t->vhost_count]);
}

static int publish(const struct network *network, const char *tap, const struct nic_def *n,
	const struct nic_of *of, const struct sockets *s, json_t *forwards, struct err *err)
{
	for (size_t i = 0; i < n->forward_count; i++) {
		const struct forward *f = &n->forwards[i];
		if (network_publish(network, tap, f, s->fds[i], s->ports[i], err) < 0)
			return -1;
		json_array_append_new(forwards, forward_told(f, of->index, s->ports[i]));
	}
	return 0;
}

int nic_tap_open(const struct nic_def *n, const struct nic_of *of, json_t *forwards,
	struct nic_tap *out, struct err *err)
{
	_cleanup_(sockets_close) struct sockets sockets = {0};
	_cleanup_nic_tap_ struct nic_tap t = {0};
	struct network network;
	char tap[NIC_TAP_MAX];
	size_t room = QUEUES_MAX;
	nic_tap_name(of, tap);
	if (nic_network(n, &network, err) < 0 ||
		(n->forward_count && network_publish_check(&network, err) < 0) ||
		bind_ports(n, &sockets, err) < 0 || network_up(&network, err) < 0 ||
		network_call(&network, "net-tap", wishes(n, of, tap), NULL, 0, NULL, t.queues,
			&room, NETWORK_CALL_MS, err) < 0)
		return -1;
	t.count = room;
	if (t.count != (n->queues ? n->queues : 1))
		return err_set(err, ERR_SYSTEM, "network '%s' gave %zu open files for a tap",
			network.name, t.count);
	if (publish(&network, tap, n, of, &sockets, forwards, err) < 0)
		return -1;
	open_vhosts(n, &t);
	*out = t;
	t.count = t.vhost_count = 0;
	return 0;
}
