#include "orchestrator/network_publish.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/event_log.h"
#include "orchestrator/network_call.h"
#include "orchestrator/paths.h"
#include "orchestrator/publish.h"
#include "qmp/server.h"

enum { AGAIN_MS = 1000, PAUSE_MS = 5 };

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

int network_publish_check(const struct network *n, struct err *err)
{
	if (n->mode != NETWORK_BRIDGE)
		return 0;
	err_set(err, ERR_REFUSED,
		"ports of guests on network '%s', the host's bridge '%s', are not published: they have addresses there themselves",
		n->name, n->bridge);
	return err_hint(err,
		"call the guest by its own (`roost domifaddr GUEST --source arp`), by `roost dial`, or "
		"give it another interface with `network: default`");
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

/* The killed holder's proxy closes its socket at once, but no event tells us when. */
static int bind_again(const struct forward *f, int64_t deadline, struct err *err)
{
	uint16_t port;
	for (;;) {
		int fd = publish_bind(f, &port, err);
		if (fd >= 0 || err->kind != ERR_BUSY || !deadline_left(deadline))
			return fd;
		*err = (struct err)ERR_INIT;
		poll(NULL, 0, PAUSE_MS);
	}
}

static void publish_again(
	const struct network *n, const json_t *tap, const json_t *entry, int64_t deadline)
{
	struct err err = ERR_INIT, ignored = ERR_INIT;
	const char *name = json_get_str(tap, "tap", "");
	struct forward f = {.udp = json_get_bool(entry, "udp", false),
		.host_port = (uint16_t)json_get_int(entry, "port", 0),
		.guest_port = (uint16_t)json_get_int(entry, "guest_port", 0)};
	snprintf(f.host, sizeof(f.host), "%s", json_get_str(entry, "host", ""));
	_cleanup_close_ int fd = bind_again(&f, deadline, &err);
	if (fd >= 0 && network_publish(n, name, &f, fd, f.host_port, &err) == 0)
		return;
	tell_lost(tap, &f, &err);
	network_unpublish(n, name, &f, &ignored);
}

void network_republish(const struct network *n)
{
	_cleanup_json_ json_t *status = NULL;
	struct err ignored = ERR_INIT;
	int64_t deadline = deadline_in(AGAIN_MS);
	size_t i, k;
	json_t *tap, *entry;
	if (network_call(n, "net-status", NULL, NULL, 0, &status, NULL, NULL, NETWORK_CALL_MS,
		    &ignored) < 0)
		return;
	json_array_foreach (json_object_get(status, "taps"), i, tap)
		json_array_foreach (json_object_get(tap, "publish"), k, entry)
			publish_again(n, tap, entry, deadline);
}
