#include "orchestrator/change.h"

#include "orchestrator/record.h"

int guest_change(const struct found *f, change_fn *change, const void *how, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d)
		return -1;
	change(d, how);
	return supervisor_call(
		"roost-define", json_pack("{s:o}", "definition", definition_to_json(d)), NULL, err);
}
