#include "orchestrator/network_publish.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "orchestrator/event_log.h"
#include "orchestrator/network_call.h"
#include "orchestrator/paths.h"
#include "orchestrator/publish.h"
#include "qmp/server.h"

static json_t *arguments(const char *tap, const struct forward *f, uint16_t port)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:b}", "tap", tap, "host", f->host, "port",
		(int)port, "guest_port", (int)f->guest_port, "udp", f->udp);
}

int network_publish(const struct network *n, const char *tap, const struct forward *f, int socket,
	uint16_t port, struct err *err)
{
	return network_call(n, "net-publish", arguments(tap, f, port), &socket, 1, NULL, NULL, NULL,
		NETWORK_CALL_MS, err);
}

int network_unpublish(
	const struct network *n, const char *tap, const struct forward *f, struct err *err)
{
	json_t *args = arguments(tap, f, f->host_port);
	json_object_del(args, "guest_port");
	return network_call(
		n, "net-unpublish", args, NULL, 0, NULL, NULL, NULL, NETWORK_CALL_MS, err);
}

/* ---- after a holder was killed -------------------------------------------------------------------- */

static void tell_lost(const json_t *tap, const struct forward *f, const struct err *why)
{
	struct err ignored = ERR_INIT;
	const char *state = paths_state(&ignored);
	_cleanup_close_ int dir = state ? dir_open(AT_FDCWD, state, &ignored) : -1;
	_cleanup_json_ json_t *event = event_new("ROOST_PORT_LOST",
		json_pack("{s:s, s:s, s:s}", "guest", json_get_str(tap, "guest", ""), "port",
			publish_host_text(f->host, f->host_port), "why", why->message));
	if (dir >= 0)
		event_log_append(dir, event);
}

static void publish_again(const struct network *n, const json_t *tap, const json_t *entry)
{
	struct err err = ERR_INIT, ignored = ERR_INIT;
	const char *name = json_get_str(tap, "tap", "");
	uint16_t port = 0;
	struct forward f = {.udp = json_get_bool(entry, "udp", false),
		.host_port = (uint16_t)json_get_int(entry, "port", 0),
		.guest_port = (uint16_t)json_get_int(entry, "guest_port", 0)};
	snprintf(f.host, sizeof(f.host), "%s", json_get_str(entry, "host", ""));
	_cleanup_close_ int fd = publish_bind(&f, &port, &err);
	if (fd >= 0 && network_publish(n, name, &f, fd, port, &err) == 0)
		return;
	tell_lost(tap, &f, &err);
	network_unpublish(n, name, &f, &ignored);
}

void network_republish(const struct network *n)
{
	_cleanup_json_ json_t *status = NULL;
	struct err ignored = ERR_INIT;
	size_t i, k;
	json_t *tap, *entry;
	if (network_call(n, "net-status", NULL, NULL, 0, &status, NULL, NULL, NETWORK_CALL_MS,
		    &ignored) < 0)
		return;
	json_array_foreach (json_object_get(status, "taps"), i, tap)
		json_array_foreach (json_object_get(tap, "publish"), k, entry)
			publish_again(n, tap, entry);
}
