#include "orchestrator/another.h"

#include "base/json.h"
#include "base/str.h"

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
	json_array_foreach (json_object_get(definition, "interfaces"), i, nic)
		json_object_del(nic, "mac");
}
