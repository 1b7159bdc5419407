/* doctor and gc: all checks, one after the other. */
#include "orchestrator/doctor.h"
#include "orchestrator/roostd.h"

void doctor_tell(
	struct doctor *d, const char *kind, const char *name, const char *why, const char *remedy)
{
	json_array_append_new(d->found, json_pack("{s:s, s:s, s:s, s:s, s:b}", "kind", kind, "name",
						name, "why", why, "remedy", remedy, "unowned", 0));
}

bool doctor_unowned(struct doctor *d, const char *kind, const char *name, const char *why)
{
	json_array_append_new(d->found,
		json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "kind", kind, "name", name, "why", why,
			"remedy", "`roost gc --yes` removes it", "unowned", 1, "removed", 0));
	return d->remove;
}

void doctor_removed(struct doctor *d, int result, const struct err *err)
{
	json_t *last = json_array_get(d->found, json_array_size(d->found) - 1);
	if (result == 0)
		json_object_set_new(last, "removed", json_true());
	else
		json_object_set_new(last, "error", json_string(err->message));
}

int op_doctor(const json_t *args, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *found = json_array();
	struct doctor d = {.remove = json_get_bool(args, "remove", false), .found = found};
	(void)err;
	doctor_guests(&d);
	doctor_store(&d);
	doctor_networks(&d);
	doctor_processes(&d);
	*ret = json_pack("{s:I, s:O}", "looked", (json_int_t)d.looked, "findings", found);
	return 0;
}
