#include "orchestrator/look_net.h"

#include <strings.h>

#include "base/str.h"

const char *const nic_counters[] = {"rx_bytes", "rx_packets", "rx_errs", "rx_drop", "tx_bytes",
	"tx_packets", "tx_errs", "tx_drop", NULL};

static json_t *forwards_of(const json_t *all, int64_t nic)
{
	json_t *list = json_array(), *f;
	size_t i;
	json_array_foreach (all, i, f)
		if (json_get_int(f, "nic", 0) == nic)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:I, s:I}", "protocol",
					      json_get_bool(f, "udp", false) ? "udp" : "tcp",
					      "address", json_get_str(f, "host", ""), "port",
					      (json_int_t)json_get_int(f, "port", 0), "guest_port",
					      (json_int_t)json_get_int(f, "guest_port", 0)));
	return list;
}

static void add_nic(json_t *nics, const char *name, const char *mac, json_t *forwards)
{
	json_array_append_new(nics, json_pack("{s:s, s:s, s:s, s:o}", "interface", name, "type",
					    "user", "mac", mac, "forwards", forwards));
}

json_t *look_nics(const struct look *l, struct err *err)
{
	_cleanup_definition_ struct definition *d = look_definition(&l->f, err);
	if (!d)
		return NULL;
	_cleanup_json_ json_t *live = look_plugged(&l->f);
	json_t *nics = json_array(), *entry;
	size_t i;
	for (i = 0; i < d->nic_count; i++) {
		_cleanup_free_ char *name = str_fmt("nic%zu", i);
		add_nic(nics, name, d->nics[i].mac, forwards_of(l->s.forwards, (int64_t)i));
	}
	json_array_foreach (live, i, entry) {
		const json_t *forwards = json_object_get(entry, "forwards");
		int64_t index = json_get_int(json_array_get(forwards, 0), "nic", 0);
		if (str_eq(json_get_str(entry, "kind", ""), "interface"))
			add_nic(nics, json_get_str(entry, "device", "?"),
				json_get_str(entry, "mac", "?"), forwards_of(forwards, index));
	}
	return nics;
}

json_t *look_nic(const struct look *l, const json_t *nics, const char *word, struct err *err)
{
	size_t i;
	json_t *nic;
	json_array_foreach (nics, i, nic)
		if (str_eq(json_get_str(nic, "interface", ""), word) ||
			strcasecmp(json_get_str(nic, "mac", ""), word) == 0)
			return nic;
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no interface '%s'", l->f.name, word);
	err_hint(err, "`roost domiflist %s` lists them", l->f.name);
	return NULL;
}

int look_guest_interfaces(struct look *l, int64_t timeout_ms, json_t **out, struct err *err)
{
	return look_ask_guest(l, "roost-interfaces", timeout_ms, out, err);
}

const json_t *look_nic_counters(const json_t *guests, const json_t *nic, struct err *err)
{
	const char *mac = json_get_str(nic, "mac", "");
	size_t i;
	json_t *theirs;
	json_array_foreach (guests, i, theirs) {
		if (!str_eq(json_get_str(theirs, "mac", ""), mac))
			continue;
		const json_t *statistics = json_object_get(theirs, "statistics");
		if (!statistics)
			err_set(err, ERR_QEMU, "the guest's agent tells no counters of %s", mac);
		return statistics;
	}
	err_set(err, ERR_NOT_FOUND, "the guest knows no interface %s", mac);
	return NULL;
}
