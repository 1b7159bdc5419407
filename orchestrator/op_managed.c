/*
 * For a member of the group `roost`, who may write nothing into a guest's folder: its managed save is made, used and
 * removed for him by root, in a worker of roostd, which does what root's own `roost` does. The RAM of a snapshot is such
 * a file, too.
 */
#include "orchestrator/roostd.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/connect.h"
#include "orchestrator/event_log.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/saved.h"
#include "orchestrator/saving.h"

/* The guest's log has what root does from here on: who wants it is told before. */
static int find_and_tell(const json_t *args, const char *command, struct found *f, struct err *err)
{
	if (guest_find(json_get_str(args, "name", ""), f, err) < 0)
		return -1;
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	_cleanup_close_ int dir = d ? guest_dir_open(f->name, err) : -1;
	if (dir < 0)
		return -1;
	_cleanup_json_ json_t *event = event_new("ROOST_COMMAND",
		event_command(f->name, command, json_incref(json_object_get(args, "by"))));
	event_log_append_as(dir, d->issued.keeper_uid, event);
	return 0;
}

int op_managed_save(const json_t *args, json_t **ret, struct err *err)
{
	struct found f;
	uint64_t size = 0;
	if (find_and_tell(args, "roost-managed-save", &f, err) < 0)
		return -1;
	_cleanup_free_ char *path = saved_managed_path(f.name, err);
	if (!path || saving_run(&f, "roost-save", json_pack("{s:b}", "managed", true), path, true,
			     &size, err) < 0)
		return -1;
	*ret = json_pack("{s:s, s:I}", "file", path, "size", (json_int_t)size);
	return 0;
}

int op_managed_snapshot(const json_t *args, json_t **ret, struct err *err)
{
	struct found f;
	uint64_t size = 0;
	const char *const given[] = {"snapshot", "description", "plugged"};
	if (find_and_tell(args, "roost-managed-snapshot", &f, err) < 0)
		return -1;
	_cleanup_free_ char *path = saved_memory_path(f.name, "memory.save", err);
	json_t *wish = json_pack("{s:b}", "memory", true);
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		json_object_set(wish, given[i], json_object_get(args, given[i]));
	if (!path || saving_run(&f, "roost-snapshot", wish, path, true, &size, err) < 0)
		return -1;
	*ret = json_pack("{s:I}", "size", (json_int_t)size);
	return 0;
}

int op_managed_check(const json_t *args, json_t **ret, struct err *err)
{
	(void)ret;
	return saved_check_memory(
		json_get_str(args, "name", ""), json_get_str(args, "file", ""), err);
}

int op_managed_start(const json_t *args, json_t **ret, struct err *err)
{
	struct found f;
	if (json_get_bool(args, "fallback-tcg", false))
		setenv("ROOST_ACCEL_FALLBACK", "tcg", 1);
	return find_and_tell(args, "roost-managed-start", &f, err) < 0
		       ? -1
		       : supervisor_start(f.name, json_get_bool(args, "paused", false), ret, err);
}

int op_managed_remove(const json_t *args, json_t **ret, struct err *err)
{
	struct found f;
	bool was;
	if (find_and_tell(args, "roost-managed-remove", &f, err) < 0 ||
		saved_remove(f.name, &was, err) < 0)
		return -1;
	*ret = json_pack("{s:b}", "removed", was);
	return 0;
}
