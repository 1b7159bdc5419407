/* Addresses: does anybody have one? */
#include "orchestrator/network_address.h"

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

static bool maker_lives(const json_t *file)
{
	struct err ignored = ERR_INIT;
	struct proc maker = PROC_NONE;
	const json_t *told = json_object_get(file, "maker");
	if (!told || proc_open_known((pid_t)json_get_int(told, "pid", 0),
			     (uint64_t)json_get_int(told, "start", 0), &maker, &ignored) < 0)
		return false;
	proc_close(&maker);
	return true;
}

/* Its MAC may be another by now, or yet: an address is of one network alone. */
static bool has_interface(const json_t *record, const json_t *file)
{
	size_t i;
	json_t *nic;
	json_array_foreach (json_object_get(record, "interfaces"), i, nic)
		if (str_eq(json_get_str(nic, "address", NULL), json_get_str(file, "address", "")))
			return true;
	return false;
}

/* What its keeper has plugged: attached.h. */
static bool is_plugged(int run, const json_t *file)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *o = json_file_read(run, "attached", &ignored);
	size_t i;
	json_t *entry;
	json_array_foreach (json_object_get(o, "attached"), i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "interface") &&
			str_eq(json_get_str(entry, "mac", NULL), json_get_str(file, "mac", "")))
			return true;
	return false;
}

static bool was_saved(const json_t *record)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status last = {0};
	_cleanup_close_ int dir = guest_dir_open(json_get_str(record, "name", ""), &ignored);
	return dir >= 0 && status_read(dir, "last", &last, &ignored) == 0 &&
	       str_eq(last.reason, "saved");
}

/* What the running guest was started with, and what was plugged since. */
static bool runs_with(const json_t *record, const json_t *file)
{
	struct err ignored = ERR_INIT;
	const char *id = json_get_str(json_object_get(record, "issued"), "id", "");
	_cleanup_close_ int run = id[0] ? run_dir_open(id, &ignored) : -1;
	if (run < 0)
		return json_get_int(file, "nic", 0) >= NIC_PLUGGED && was_saved(record);
	_cleanup_json_ json_t *running = record_look(run, &ignored);
	/* one that was plugged may be in its definition, too */
	return (running && has_interface(running, file)) || is_plugged(run, file);
}

/* Its record as it stands; *unknown: there is one that cannot be read. */
static json_t *record_of(const char *guest, const char *uuid, bool *unknown)
{
	struct err why = ERR_INIT;
	_cleanup_close_ int dir = guest ? guest_dir_open(guest, &why) : -1;
	json_t *record = dir < 0 ? NULL : record_look(dir, &why);
	if (guest && !record && why.kind != ERR_NOT_FOUND)
		*unknown = true;
	if (!record || str_eq(json_get_str(record, "uuid", NULL), uuid))
		return record;
	json_decref(record);
	return NULL;
}

static json_t *find_record(const json_t *file, bool *unknown)
{
	const char *uuid = json_get_str(file, "uuid", "");
	json_t *record = record_of(json_get_str(file, "guest", NULL), uuid, unknown);
	return record ? record : record_of(json_get_str(file, "was", NULL), uuid, unknown);
}

bool network_address_is_void(const json_t *file)
{
	bool unknown = false;
	if (json_get_bool(file, "host", false) || maker_lives(file))
		return false;
	_cleanup_json_ json_t *record = find_record(file, &unknown);
	return !unknown && !(record && (has_interface(record, file) || runs_with(record, file)));
}

bool network_address_runs(const json_t *file)
{
	bool unknown = false;
	_cleanup_json_ json_t *record = find_record(file, &unknown);
	return record && runs_with(record, file);
}
