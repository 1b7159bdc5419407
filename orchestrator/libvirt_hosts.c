#include "orchestrator/libvirt_hosts.h"

#include "base/str.h"
#include "orchestrator/connect.h"
#include "orchestrator/network_address.h"

/* A guest of ours, say, of which dumpxml has told. */
static bool has_it(const struct network *n, const json_t *host)
{
	_cleanup_json_ json_t *file = network_address_of(n, json_get_str(host, "mac", ""));
	return file &&
	       str_eq(json_get_str(file, "address", ""), json_get_str(host, "address", NULL));
}

json_t *libvirt_take_hosts(const struct network *n, const json_t *hosts)
{
	json_t *told = json_array(), *host;
	size_t i;
	json_array_foreach (hosts, i, host) {
		const char *mac = json_get_str(host, "mac", "");
		json_t *reply = NULL;
		struct err why = ERR_INIT;
		if (has_it(n, host))
			continue;
		if (supervisor_call("roost-net-host",
			    json_pack("{s:s, s:s, s:s*, s:s}", "network", n->name, "mac", mac,
				    "name", json_get_str(host, "name", NULL), "address",
				    json_get_str(host, "address", "")),
			    &reply, &why) < 0)
			json_array_append_new(told,
				json_sprintf("host %.20s is not taken: %s", mac, why.message));
		json_decref(reply);
	}
	return told;
}
