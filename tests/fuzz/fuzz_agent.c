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

static void check_addresses(const struct agent_address *out, size_t count)
{
	must(count <= AGENT_ADDRESSES_MAX);
	for (size_t i = 0; i < count; i++) {
		must(out[i].prefix <= (out[i].ipv6 ? 128U : 32U));
		must(out[i].address[0] && memchr(out[i].address, 0, sizeof(out[i].address)));
		must(!out[i].mac[0] || strlen(out[i].mac) == 17);
		must(!strpbrk(out[i].interface, "$`;|&<>\"'\\\n\x1b"));
		must(!strpbrk(out[i].address, "$`;|&<>\"'\\\n\x1b% "));
	}
}

static void call(struct agent *a, uint8_t which)
{
	struct agent_address addresses[AGENT_ADDRESSES_MAX];
	struct err err = ERR_INIT;
	size_t count;
	unsigned n = 0;
	json_t *reply = NULL;
	int result = 0;
	switch (which % 7) {
	case 0:
		result = agent_interfaces(a, addresses, &count, 0, &err);
		if (result == 0)
			check_addresses(addresses, count);
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
	call(a, data[0]);
	call(a, (uint8_t)(data[0] + 1));
	agent_close(a);
	wire_close(&l.wire);
	return 0;
}
