#include "orchestrator/userdata_keys.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"

static yaml_node_t *value_of(yaml_document_t *d, const yaml_node_t *map, const char *key)
{
	if (!map || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
		p++) {
		const yaml_node_t *k = yaml_document_get_node(d, p->key);
		if (k->type == YAML_SCALAR_NODE && str_eq((const char *)k->data.scalar.value, key))
			return yaml_document_get_node(d, p->value);
	}
	return NULL;
}

static const char *text_of(const yaml_node_t *n)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : "";
}

static void look_into(yaml_document_t *d, struct userdata_keys *out)
{
	const yaml_node_t *root = yaml_document_get_root_node(d);
	const yaml_node_t *key = value_of(d, value_of(d, root, "ssh_keys"), "ed25519_private");
	const char *enabled = text_of(value_of(d, value_of(d, root, "vendor_data"), "enabled"));
	if (*text_of(key)) {
		out->private = xstrdup(text_of(key));
		out->line = (unsigned)key->start_mark.line + 1;
	}
	out->no_vendor_data = strcasecmp(enabled, "false") == 0 || strcasecmp(enabled, "no") == 0 ||
			      strcasecmp(enabled, "off") == 0;
}

void userdata_keys_find(const char *text, size_t len, struct userdata_keys *out)
{
	yaml_parser_t parser;
	yaml_document_t d;
	*out = (struct userdata_keys){0};
	if (!str_starts(text, "#cloud-config") || str_starts(text, "#cloud-config-") ||
		!yaml_parser_initialize(&parser))
		return;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (yaml_parser_load(&parser, &d)) {
		look_into(&d, out);
		yaml_document_delete(&d);
	}
	yaml_parser_delete(&parser);
}

void userdata_keys_free(struct userdata_keys *k)
{
	if (k->private)
		explicit_bzero(k->private, strlen(k->private));
	free(k->private);
	*k = (struct userdata_keys){0};
}
