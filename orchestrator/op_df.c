/* How full the file systems of a stopped guest are, for members of the group: its disks are its keeper's alone. */
#include "orchestrator/df.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"

int op_df(const json_t *args, json_t **ret, struct err *err)
{
	_cleanup_definition_ struct definition *d =
		record_read(json_get_str(args, "name", ""), err);
	if (!d || record_add_seed(d, err) < 0)
		return -1;
	json_t *list = df_stopped(d, err);
	if (!list)
		return -1;
	*ret = json_pack("{s:o}", "filesystems", list);
	return 0;
}
