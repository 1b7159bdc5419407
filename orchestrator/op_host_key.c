/*
 * The host key of a guest that no seed of ours has given one: somebody has seen it, and it is what the guest is known
 * by from now on. Runs in a worker of roostd.
 */
#include "orchestrator/roostd.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "orchestrator/event_log.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

int op_host_key(const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", ""), *key = json_get_str(args, "key", ""),
		   *instead = json_get_str(args, "instead", NULL);
	_cleanup_definition_ struct definition *d = record_read(name, err);
	_cleanup_close_ int dir = d ? guest_dir_open(name, err) : -1;
	if (dir < 0)
		return -1;
	if (d->issued.host_key && !str_eq(d->issued.host_key, instead))
		return err_set(
			err, ERR_REFUSED, "guest '%s' is known by another host key by now", name);
	free(d->issued.host_key);
	d->issued.host_key = xstrdup(key);
	/* as whoever reads it will: a record that nobody can read would be no guest's any more */
	_cleanup_json_ json_t *json = definition_to_json(d);
	_cleanup_definition_ struct definition *same = definition_from_json(json, err);
	if (!same || record_write(dir, d, err) < 0)
		return -1;
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND",
		event_command(name, "roost-host-key", json_incref(json_object_get(args, "by"))));
	event_log_append_as(dir, d->issued.keeper_uid, event);
	*ret = json_pack("{s:s, s:s}", "name", name, "host_key", key);
	return 0;
}
