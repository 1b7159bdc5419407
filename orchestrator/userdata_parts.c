/*
 * User-data of several parts: MIME, as cloud-init's make-mime and write-mime-multipart write it, and #cloud-config-archive.
 * What a part is cloud-init takes from its type; of some types, from how it begins, as we do here.
 */
#include "orchestrator/userdata_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"
#include "orchestrator/mime.h"

struct parts {
	const char *what;
	struct userdata_strangers *strangers;
	bool handler; /* one of them brings Python that takes types of its own */
};

/* Of "text/". */
static const char *const types[] = {"cloud-config", "cloud-config-archive", "cloud-config-jsonp",
	"cloud-boothook", "jinja2", "part-handler", "upstart-job", "x-include-once-url",
	"x-include-url", "x-shellscript", "x-shellscript-per-boot", "x-shellscript-per-instance",
	"x-shellscript-per-once", NULL};

static bool says_itself(const char *type)
{
	return str_eq(type, "text/plain") || str_eq(type, "text/x-not-multipart") ||
	       str_eq(type, "text/x-shellscript");
}

/* `p`: its text; `type`, that it is said to be; `line`, of the file, where it begins. */
static int check_part(const struct parts *all, const struct userdata_part *p, const char *type,
	const char *name, unsigned line, struct err *err)
{
	enum userdata_form form =
		says_itself(type) ? userdata_form_of(p->text, p->len) : FORM_OTHER;
	if (form == FORM_CONFIG || str_eq(type, "text/cloud-config"))
		return userdata_check_config(p, all->strangers, err);
	if (form == FORM_UNKNOWN && !str_eq(type, "text/x-shellscript")) {
		err_set(err, ERR_USAGE,
			"%s:%u: part '%s', a %s, does not say what it is: cloud-init would pass it over",
			all->what, line, name, type);
		return err_hint(err, "its Content-Type is to be text/cloud-config, "
				     "text/x-shellscript or another that cloud-init knows");
	}
	const char *sub = str_starts(type, "text/") ? type + strlen("text/") : NULL;
	const char *near = sub && !all->handler ? str_nearest(sub, types) : NULL;
	if (!near || str_eq(near, sub))
		return 0;
	err_set(err, ERR_USAGE, "%s:%u: part '%s': cloud-init knows no type '%s'", all->what, line,
		name, type);
	return err_hint(err, "did you mean 'text/%s'?", near);
}

/* ---- MIME ------------------------------------------------------------------------------------------------ */

static int look_for_handler(void *about, const struct mime_part *m, struct err *err)
{
	struct parts *all = about;
	(void)err;
	all->handler = all->handler || str_eq(m->type, "text/part-handler") ||
		       str_starts(m->text, "#part-handler");
	return 0;
}

static int look_at(void *about, const struct mime_part *m, struct err *err)
{
	const struct parts *all = about;
	_cleanup_free_ char *coded = str_fmt("%s:%u: part '%s'", all->what, m->line, m->name);
	const struct userdata_part p = {.what = m->encoded ? coded : all->what,
		.above = m->encoded ? 0 : m->line - 1,
		.line = m->encoded ? m->line : 0,
		.text = m->text,
		.len = m->len};
	return check_part(all, &p, m->type, m->name, m->line, err);
}

int userdata_check_mime(const char *what, const char *text, size_t len,
	struct userdata_strangers *out, struct err *err)
{
	struct parts all = {.what = what, .strangers = out};
	if (mime_parts(what, text, len, look_for_handler, &all, err) < 0)
		return -1;
	return mime_parts(what, text, len, look_at, &all, err);
}

/* ---- #cloud-config-archive --------------------------------------------------------------------------------- */

static const yaml_node_t *value_of(yaml_document_t *d, const yaml_node_t *map, const char *key)
{
	for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
		pair < map->data.mapping.pairs.top; pair++) {
		const yaml_node_t *k = yaml_document_get_node(d, pair->key);
		if (k->type == YAML_SCALAR_NODE && str_eq((const char *)k->data.scalar.value, key))
			return yaml_document_get_node(d, pair->value);
	}
	return NULL;
}

static const char *text_of(const yaml_node_t *n, const char *otherwise)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : otherwise;
}

/* An entry without a type says itself what it is, or is a #cloud-config. */
static int check_entry(
	const struct parts *all, yaml_document_t *d, const yaml_node_t *entry, struct err *err)
{
	bool map = entry->type == YAML_MAPPING_NODE;
	const yaml_node_t *content = map ? value_of(d, entry, "content") : entry; /* or none */
	unsigned line = (unsigned)entry->start_mark.line + 1;
	if (!content)
		return 0;
	if (content->type != YAML_SCALAR_NODE)
		return err_set(err, ERR_USAGE,
			"%s:%u: an entry of a #cloud-config-archive is a text, or a mapping with a text as its 'content'",
			all->what, line);
	bool literal = content->data.scalar.style == YAML_LITERAL_SCALAR_STYLE;
	unsigned begins = (unsigned)content->start_mark.line + 1;
	const char *name = text_of(map ? value_of(d, entry, "filename") : NULL, "");
	_cleanup_free_ char *coded = str_fmt("%s:%u: 'content'", all->what, begins);
	const struct userdata_part p = {.what = literal ? all->what : coded,
		.above = literal ? begins : 0,
		.line = literal ? 0 : begins,
		.text = (const char *)content->data.scalar.value,
		.len = content->data.scalar.length};
	const char *type = text_of(map ? value_of(d, entry, "type") : NULL, NULL);
	enum userdata_form form = userdata_form_of(p.text, p.len);
	if (!type && form != FORM_CONFIG && form != FORM_UNKNOWN)
		return 0;
	return check_part(all, &p, type ? type : "text/cloud-config", name, line, err);
}

static int check_entries(const struct parts *all, yaml_document_t *d, struct err *err)
{
	const yaml_node_t *root = yaml_document_get_root_node(d);
	if (!root)
		return 0;
	if (root->type != YAML_SEQUENCE_NODE)
		return err_set(err, ERR_USAGE, "%s:%zu: a #cloud-config-archive is a list",
			all->what, root->start_mark.line + 1);
	for (const yaml_node_item_t *i = root->data.sequence.items.start;
		i < root->data.sequence.items.top; i++)
		if (check_entry(all, d, yaml_document_get_node(d, *i), err) < 0)
			return -1;
	return 0;
}

int userdata_check_archive(const char *what, const char *text, size_t len,
	struct userdata_strangers *out, struct err *err)
{
	const struct parts all = {
		.what = what, .strangers = out, .handler = strstr(text, "#part-handler")};
	yaml_parser_t parser;
	yaml_document_t d;
	if (!yaml_parser_initialize(&parser))
		return err_set(err, ERR_SYSTEM, "%s: out of memory", what);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	int result = yaml_parser_load(&parser, &d) ? 0 : -1;
	if (result < 0)
		err_set(err, ERR_USAGE, "%s:%zu: it is not well-formed YAML: %s", what,
			parser.problem_mark.line + 1,
			parser.problem ? parser.problem : "out of memory");
	if (result == 0) {
		result = check_entries(&all, &d, err);
		yaml_document_delete(&d);
	}
	yaml_parser_delete(&parser);
	return result;
}
