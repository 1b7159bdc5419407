/*
 * The answers of a lying guest agent. The first byte chooses the call; what follows, up to a
 * zero byte, is said before the synchronisation is answered, and the rest, cut at zero bytes, is
 * said to the commands that come, one piece each.
 */
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct liar {
	struct wire wire;
	const uint8_t *data;
	size_t size;
};

static void must(bool what)
{
	if (!what)
		abort();
}

static void say_piece(struct liar *l)
{
	const uint8_t *end = l->size ? memchr(l->data, 0, l->size) : NULL;
	size_t len = end ? (size_t)(end - l->data) : l->size;
	if (len)
		sock_send(l->wire.fd, l->data, len, NULL, 0);
	len += end != NULL;
	l->data += len;
	l->size -= len;
}

static int lie(void *self, int fd, short events, int64_t deadline, struct err *err)
{
	struct liar *l = self;
	struct pollfd p = {.fd = fd, .events = events};
	json_t *msg = NULL;
	(void)deadline;
	wire_read(&l->wire, err);
	while (wire_next(&l->wire, &msg, err) > 0) {
		const json_t *args = json_object_get(msg, "arguments");
		say_piece(l);
		if (str_eq(json_get_str(msg, "execute", ""), "guest-sync-delimited")) {
			char *text = str_fmt(
				"\xff{\"return\":%lld}\n", (long long)json_get_int(args, "id", 0));
			sock_send(l->wire.fd, text, strlen(text), NULL, 0);
			free(text);
		}
		json_decref(msg);
	}
	return poll(&p, 1, 0);
}

static void check_text(const json_t *o, const char *key, const char *never)
{
	const char *text = json_get_str(o, key, "");
	must(strlen(text) < 64 && !strpbrk(text, never));
}

static void check_interfaces(const json_t *list)
{
	size_t i, j, addresses = 0;
	const json_t *o, *address;
	must(json_array_size(list) <= AGENT_INTERFACES_MAX);
	json_array_foreach (list, i, o) {
		const char *mac = json_get_str(o, "mac", "");
		must(!mac[0] || strlen(mac) == 17);
		check_text(o, "name", "$`;|&<>\"'\\\n\x1b");
		json_array_foreach (json_object_get(o, "addresses"), j, address) {
			bool ipv6 = str_eq(json_get_str(address, "type", ""), "ipv6");
			int64_t prefix = json_get_int(address, "prefix", -1);
			must(prefix >= 0 && prefix <= (ipv6 ? 128 : 32));
			must(json_get_str(address, "address", "")[0]);
			check_text(address, "address", "$`;|&<>\"'\\\n\x1b% ");
		}
		addresses += j;
	}
	must(addresses <= AGENT_ADDRESSES_MAX);
}

/* Both ways of asking; the second as guest_wait() would, with the agent acting in between. */
static int ask_interfaces(struct agent *a, struct liar *l, bool waiting, struct err *err)
{
	json_t *reply = NULL, *list;
	int result = 0;
	if (waiting) {
		result = agent_call(a, "guest-network-get-interfaces", NULL, 0, &reply, err);
	} else if (agent_ask(a, "guest-network-get-interfaces", NULL, err) < 0) {
		result = -1;
	} else {
		for (int i = 0; i < 64 && (result = agent_take(a, &reply, err)) == 0; i++)
			lie(l, agent_fd(a), agent_events(a), 0, err);
		if (result == 0)
			return err_set(err, ERR_TIMEOUT, "no answer");
	}
	if (result < 0)
		return -1;
	list = agent_interfaces(reply, err);
	json_decref(reply);
	if (!list)
		return -1;
	check_interfaces(list);
	json_decref(list);
	return 0;
}

static void call(struct agent *a, struct liar *l, uint8_t which)
{
	struct err err = ERR_INIT;
	unsigned n = 0;
	json_t *reply = NULL;
	int result = 0;
	switch (which % 7) {
	case 0:
		result = ask_interfaces(a, l, which & 1, &err);
		break;
	case 1:
		result = agent_set_vcpus(a, which / 7U + 1, &n, 0, &err);
		must(result < 0 || n <= 1024);
		break;
	case 2:
		result = agent_fsfreeze(a, 0, &n, &err);
		break;
	case 3:
		result = agent_shutdown(a, AGENT_REBOOT, 0, &err);
		break;
	case 4:
		result = agent_call(a, "guest-info", NULL, 0, &reply, &err);
		must(result < 0 || reply);
		json_decref(reply);
		break;
	case 5:
		result = agent_set_time(a, 1, 0, &err);
		break;
	default:
		result = agent_ping(a, 0, &err);
	}
	must(result == 0 || (err.kind != ERR_NONE && err.message[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];
	struct err err = ERR_INIT;
	if (size < 1 || size > 32768)
		return 0;
	must(sock_pair(pair, &err) == 0);
	struct liar l = {.data = data + 1, .size = size - 1};
	wire_init(&l.wire, pair[1]);
	struct agent *a = agent_open(pair[0]);
	agent_set_wait(a, lie, &l);
	call(a, &l, data[0]);
	call(a, &l, (uint8_t)(data[0] + 1));
	agent_close(a);
	wire_close(&l.wire);
	return 0;
}
