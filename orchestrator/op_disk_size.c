/* The sizes of a stopped guest's disk, for members of the group: its file is its keeper's alone. */
#include "orchestrator/disk_size.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"

int op_disk_size(const json_t *args, json_t **ret, struct err *err)
{
	const char *target = json_get_str(args, "target", "");
	_cleanup_definition_ struct definition *d =
		record_read(json_get_str(args, "name", ""), err);
	if (!d || record_add_seed(d, err) < 0)
		return -1;
	const struct disk_def *disk = definition_disk(d, target);
	if (!disk)
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no disk '%s'", d->name, target);
	_cleanup_json_ json_t *sizes = json_object();
	if (disk_size_read(d->name, disk, sizes, err) < 0)
		return -1;
	*ret = json_incref(sizes);
	return 0;
}
