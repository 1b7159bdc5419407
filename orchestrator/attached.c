#include "orchestrator/attached.h"

#include <string.h>

#include "base/str.h"
#include "orchestrator/argv.h"

int attached_save(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *o = json_pack("{s:O}", "attached", g->attached);
	return json_file_write(g->run, "attached", o, false, err);
}

void attached_load(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *o = json_file_read(g->run, "attached", &ignored);
	json_t *list = json_object_get(o, "attached");
	json_decref(g->attached);
	g->attached = json_is_array(list) ? json_incref(list) : json_array();
}

bool attached_port_taken(const struct guest *g, int64_t port)
{
	size_t i;
	json_t *entry;
	json_array_foreach (g->attached, i, entry)
		if (json_get_int(entry, "port", -1) == port)
			return true;
	return pci_port_taken(g->def, port);
}

int attached_free_port(struct guest *g, int64_t *port, struct err *err)
{
	if (pci_old(g->def->machine))
		return err_set(err, ERR_REFUSED,
			       "guest '%s': nothing can be plugged while it runs, for its machine is %s",
			       g->def->name, g->def->machine),
		       err_hint(err, "shut it down and add it to its definition: `roost edit %s`",
			       g->def->name);
	for (int64_t p = 0; p < ROOT_PORTS; p++) {
		if (attached_port_taken(g, p))
			continue;
		*port = p;
		return 0;
	}
	return err_set(err, ERR_REFUSED, "guest '%s': all %d places for plugged devices are taken",
		       g->def->name, ROOT_PORTS),
	       err_hint(err, "detach something first");
}

json_t *attached_find(struct guest *g, const char *key, const char *value)
{
	size_t i;
	json_t *entry;
	json_array_foreach (g->attached, i, entry)
		if (str_eq(json_get_str(entry, key, NULL), value))
			return entry;
	return NULL;
}

int attached_add(struct guest *g, json_t *entry, struct err *err)
{
	json_array_append_new(g->attached, entry);
	return attached_save(g, err);
}

void attached_remove(struct guest *g, const json_t *entry)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *e;
	json_array_foreach (g->attached, i, e) {
		if (e != entry)
			continue;
		json_array_remove(g->attached, i);
		break;
	}
	attached_save(g, &ignored);
}

/* Sent without waiting: this also runs while events are sorted. The order is QEMU's own. */
static void send(struct guest *g, const char *command, json_t *args)
{
	struct err ignored = ERR_INIT;
	uint64_t call = qmp_send(g->qmp, command, args, NULL, 0, &ignored);
	if (call)
		qmp_forget(g->qmp, call);
}

static void remove_backend(struct guest *g, json_t *entry)
{
	size_t i;
	json_t *value;
	json_array_foreach (json_object_get(entry, "nodes"), i, value)
		send(g, "blockdev-del", json_pack("{s:O}", "node-name", value));
	json_array_foreach (json_object_get(entry, "sets"), i, value)
		send(g, "remove-fd", json_pack("{s:O}", "fdset-id", value));
	const char *netdev = json_get_str(entry, "netdev", NULL);
	if (netdev)
		send(g, "netdev_del", json_pack("{s:s}", "id", netdev));
}

void attached_on_deleted(struct guest *g, const json_t *data)
{
	json_t *entry = attached_find(g, "device", json_get_str(data, "device", ""));
	if (!entry)
		return;
	remove_backend(g, entry);
	attached_remove(g, entry);
}

static bool answers_unplug(const json_t *event, const void *device)
{
	const char *name = json_get_str(event, "event", "");
	const json_t *data = json_object_get(event, "data");
	return str_starts(name, "DEVICE_") && str_eq(json_get_str(data, "device", NULL), device);
}

/* What lies behind the device was sent away without waiting; QEMU has done it when it answers this. */
static int settle(struct guest *g)
{
	struct err ignored = ERR_INIT;
	guest_qmp(g, "query-status", NULL, QMP_BLOCK_MS, NULL, &ignored);
	return 0;
}

int attached_unplug(struct guest *g, json_t *entry, int64_t timeout_ms, struct err *err)
{
	struct err why = ERR_INIT;
	_cleanup_free_ char *device = xstrdup(json_get_str(entry, "device", ""));
	bool again = json_get_bool(entry, "unplugging", false);
	json_object_set_new(entry, "unplugging", json_true());
	if (attached_save(g, err) < 0)
		return -1;
	failpoint("detach-before-del");
	/* asked a second time QEMU may say that it is at it already: the event decides */
	if (guest_qmp(g, "device_del", json_pack("{s:s}", "id", device), QMP_BLOCK_MS, NULL, &why) <
			0 &&
		!again) {
		*err = why;
		return -1;
	}
	if (!attached_find(g, "device", device))
		return settle(g); /* its event came before the reply */
	struct wait w = WAIT_FOR(.deadline = deadline_in(timeout_ms), .wants = answers_unplug,
		.about = device);
	enum wake wake = guest_wait(g, &w);
	_cleanup_json_ json_t *event = w.event;
	if (wake == WAKE_EVENT && str_eq(json_get_str(event, "event", ""), "DEVICE_DELETED"))
		return settle(g);
	if (wake == WAKE_GONE)
		return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
	if (wake == WAKE_CANCEL)
		return guest_cancelled(g, err),
		       err_hint(err, "'%s' goes as soon as the guest lets it", device);
	if (wake == WAKE_EVENT)
		return err_set(err, ERR_QEMU, "the guest refuses to let go of '%s'", device);
	err_set(err, ERR_TIMEOUT, "the guest has not answered in %lld s: '%s' is still plugged",
		(long long)timeout_ms / 1000, device);
	return err_hint(err, "it goes as soon as the guest lets it, or at its next reset");
}

bool device_exists(struct guest *g, const char *id)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("/machine/peripheral/%s", id);
	/* no answer is not "no": nobody waits for this but us */
	return guest_qmp(g, "qom-list", json_pack("{s:s}", "path", path), QMP_HEAVY_MS, NULL,
		       &ignored) == 0;
}
