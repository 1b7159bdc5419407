#include "orchestrator/network_users.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_call.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

static bool has_interface(const json_t *record, const struct network *n)
{
	size_t i;
	json_t *nic;
	json_array_foreach (json_object_get(record, "interfaces"), i, nic)
		if (str_eq(json_get_str(nic, "network", NULL), n->name) ||
			(n->implicit && n->bridge[0] &&
				str_eq(json_get_str(nic, "bridge", NULL), n->bridge)))
			return true;
	return false;
}

json_t *network_users(const struct network *n, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return NULL;
	json_t *users = json_array();
	for (char **name = names; *name; name++) {
		struct err ignored = ERR_INIT;
		_cleanup_close_ int dir = guest_dir_open(*name, &ignored);
		_cleanup_json_ json_t *record = dir < 0 ? NULL : record_look(dir, &ignored);
		if (record && has_interface(record, n))
			json_array_append_new(users, json_string(*name));
	}
	return users;
}

static bool is_in(const json_t *names, const char *name)
{
	size_t i;
	json_t *one;
	json_array_foreach (names, i, one)
		if (str_eq(json_string_value(one), name))
			return true;
	return false;
}

json_t *network_users_running(const struct network *n)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *status = NULL;
	json_t *users = json_array(), *tap;
	size_t i;
	if (network_call(n, "net-status", NULL, NULL, 0, &status, NULL, NULL, NETWORK_CALL_MS,
		    &ignored) < 0)
		return users;
	json_array_foreach (json_object_get(status, "taps"), i, tap) {
		const char *guest = json_get_str(tap, "guest", "");
		if (!is_in(users, guest))
			json_array_append_new(users, json_string(guest));
	}
	return users;
}

char *network_users_text(const json_t *names)
{
	enum { SHOWN = 3 };
	size_t total = json_array_size(names), shown = total > SHOWN ? SHOWN - 1 : total;
	_cleanup_buf_ struct buf out = {0};
	buf_str(&out, total == 1 ? "guest" : "guests");
	for (size_t i = 0; i < shown; i++)
		buf_fmt(&out, "%s '%s'",
			i == 0           ? ""
			: i + 1 == total ? " and"
					 : ",",
			json_string_value(json_array_get(names, i)));
	if (total > shown)
		buf_fmt(&out, " and %zu others", total - shown);
	return buf_steal(&out);
}
