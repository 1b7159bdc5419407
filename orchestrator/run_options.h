/* What `roost run` and `roost install` understand alike, as the keys of a definition that people could have written. */
#ifndef ORCHESTRATOR_RUN_OPTIONS_H
#define ORCHESTRATOR_RUN_OPTIONS_H

#include "orchestrator/definition.h"
#include "orchestrator/verb.h"

/* Nothing for a text that is NULL. */
static inline void json_set_text(json_t *o, const char *key, const char *value)
{
	if (value)
		json_object_set_new(o, key, json_string(value));
}
/* A definition from such keys, JSON being YAML; relative paths are the caller's. */
struct definition *definition_of_words(const json_t *o, struct err *err);
/* The same, but without a look at the files that it names, which need not be there yet. */
struct definition *definition_of_words_alone(const json_t *o, struct err *err);
/* Its `cloud_init`, by --cloud-init, --user, --key and --password-file; owned by the caller. */
json_t *run_cloud_init(const struct cli *cli, struct err *err);
/* Its `interfaces`, by --network, --publish and --restrict, if one of them is there. */
int run_interface(const struct cli *cli, json_t *o, struct err *err);

#endif
