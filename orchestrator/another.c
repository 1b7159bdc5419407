#include "orchestrator/another.h"

#include "base/json.h"
#include "base/str.h"

int definition_may_be_cloned(const struct definition *d, const json_t *shared, struct err *err)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct disk_def *disk = &d->disks[i];
		if (disk->source != DISK_PATH || !disk->path || disk->cdrom || disk->readonly ||
			json_has_text(shared, disk->target))
			continue;
		err_set(err, ERR_REFUSED,
			"guest '%s' cannot be cloned: its disk '%s' is the file '%s', which two guests cannot share",
			d->name, disk->target, disk->path);
		return err_hint(
			err, "`roost clone --full` copies it, of a guest that does not run");
	}
	return 0;
}

void definition_make_another(json_t *definition, const char *name)
{
	json_t *cloud_init = json_object_get(definition, "cloud_init"), *nic;
	size_t i;
	if (str_eq(json_get_str(cloud_init, "hostname", NULL),
		    json_get_str(definition, "name", "")))
		json_object_set_new(cloud_init, "hostname", json_string(name));
	json_object_set_new(definition, "name", json_string(name));
	json_object_del(definition, "uuid");
	json_object_del(definition, "issued");
	json_array_foreach (json_object_get(definition, "interfaces"), i, nic) {
		static const char *const own[] = {"mac", "address", "address6", "address_fixed"};
		for (size_t k = 0; k < ARRAY_SIZE(own); k++)
			json_object_del(nic, own[k]);
	}
}
