#include "orchestrator/change.h"

#include "orchestrator/paths.h"
#include "orchestrator/record.h"

int guest_change(const struct found *f, change_fn *change, const void *how, struct err *err)
{
	_cleanup_close_ int guests = guests_open(err);
	_cleanup_definition_ struct definition *d = guests < 0 ? NULL : record_read(f->name, err);
	if (!d)
		return -1;
	if (record_is_transient(guests, f->name)) {
		err_set(err, ERR_REFUSED, "guest '%s' is undefined, and gone when it ends",
			f->name);
		return err_hint(err, "`roost dumpyaml %s | roost define -` keeps it", f->name);
	}
	change(d, how);
	/* one that was renamed meanwhile is not to be there a second time */
	return supervisor_call("roost-define",
		json_pack("{s:o, s:b}", "definition", definition_to_json(d), "change", 1), NULL,
		err);
}
