/* How full the file systems of a guest are, for members of the group: its disks are its keeper's alone. */
#include "base/fs.h"
#include "orchestrator/connect.h"
#include "orchestrator/df.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"

/* What it runs by, else what it will start by. */
static struct definition *read_definition(const char *name, bool *runs, struct err *err)
{
	struct found f;
	struct err ignored = ERR_INIT;
	if (guest_find(name, &f, err) < 0)
		return NULL;
	_cleanup_close_ int run = f.id[0] ? run_dir_open(f.id, &ignored) : -1;
	struct definition *d = run < 0 ? NULL : record_read_running(run, &ignored);
	*runs = d;
	if (d)
		return d;
	d = record_read(name, err);
	if (d && record_add_seed(d, err) < 0)
		definition_free(TAKE(d));
	return d;
}

int op_df(const json_t *args, json_t **ret, struct err *err)
{
	bool runs;
	_cleanup_definition_ struct definition *d =
		read_definition(json_get_str(args, "name", ""), &runs, err);
	json_t *list = d ? df_disks(d, runs, err) : NULL;
	if (!list)
		return -1;
	*ret = json_pack("{s:o}", "filesystems", list);
	return 0;
}
