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
	return supervisor_call(
		"roost-define", json_pack("{s:o}", "definition", definition_to_json(d)), NULL, err);
}
