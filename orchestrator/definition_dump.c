/*
 * A definition as YAML that people can read, change and give back: the rows of the keys, written in
 * the form that people write.
 *
 * What has its default is left out where that default is the same everywhere (true, false, a word);
 * numbers and sizes are always there. Of guest.json's own keys nothing is shown but what people may
 * write too, so reading it back gives the same definition; the files of its disks roostd knows by
 * their targets.
 */
#include "orchestrator/definition_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/str.h"
#include "orchestrator/definition_check.h"

/* ---- the rows, in people's form ------------------------------------------------------------------- */

static json_t *dump_keys(const struct keys *keys, const void *thing, const void *defaults);

static const void *place(const void *base, const struct key *k)
{
	return (const char *)base + k->offset;
}

/* In the largest unit that leaves nothing over. */
static json_t *dump_size(uint64_t bytes)
{
	static const char units[] = "TGMK";
	for (int i = 0, shift = 40; units[i]; i++, shift -= 10)
		if (bytes % ((uint64_t)1 << shift) == 0)
			return json_sprintf("%llu%c", (unsigned long long)bytes >> shift, units[i]);
	return json_sprintf("%lluB", (unsigned long long)bytes);
}

static json_t *dump_value(const struct key *k, const void *base, const void *defaults);

/* A list's item has defaults of its own; no part is larger than the whole. */
static json_t *dump_item(const struct key *item, const void *at)
{
	_cleanup_free_ struct definition *defaults = xcalloc(1, sizeof(*defaults));
	if (item->type != KEY_MAP)
		return dump_value(item, at, NULL);
	if (item->keys->defaults)
		item->keys->defaults(defaults);
	return dump_keys(item->keys, at, defaults);
}

static json_t *dump_list(const struct key *k, const void *base)
{
	size_t count = *(const size_t *)((const char *)base + k->aux);
	if (!count && (k->flags & KEY_SPARSE))
		return NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			list, dump_item(k->item, (const char *)place(base, k) + i * k->size));
	return list;
}

static json_t *dump_map(const struct key *k, const void *base, const void *defaults)
{
	bool is_switch = k->flags & KEY_SWITCH;
	if (is_switch && !*(const bool *)((const char *)base + k->aux))
		return NULL;
	json_t *map = dump_keys(k->keys, place(base, k), place(defaults, k));
	if (json_object_size(map) || !(k->flags & (KEY_SPARSE | KEY_SWITCH)))
		return map;
	json_decref(map);
	return is_switch ? json_true() : NULL;
}

static json_t *dump_word(const struct key *k, unsigned value, const void *defaults)
{
	const char *word = value < k->words->count ? k->words->names[value] : NULL;
	bool same = defaults && value == *(const unsigned *)place(defaults, k);
	return word && !same ? json_string(word) : NULL;
}

/* NULL: it is left out. */
static json_t *dump_value(const struct key *k, const void *base, const void *defaults)
{
	const void *at = place(base, k);
	bool sparse = k->flags & KEY_SPARSE;
	switch (k->type) {
	case KEY_TEXT:
	case KEY_FILE:
		return *(char *const *)at ? json_string(*(char *const *)at) : NULL;
	case KEY_CHARS:
		return *(const char *)at ? json_string(at) : NULL;
	case KEY_BOOL:
		if (*(const bool *)at == *(const bool *)place(defaults, k))
			return NULL;
		return json_boolean(*(const bool *)at);
	case KEY_NUMBER:
		return sparse && !*(const unsigned *)at ? NULL
							: json_integer(*(const unsigned *)at);
	case KEY_SIZE:
		return sparse && !*(const uint64_t *)at ? NULL : dump_size(*(const uint64_t *)at);
	case KEY_DURATION:
		return sparse && !*(const int64_t *)at ? NULL : duration_text(*(const int64_t *)at);
	case KEY_WORD:
		return dump_word(k, *(const unsigned *)at, defaults);
	case KEY_MAP:
		return dump_map(k, base, defaults);
	case KEY_LIST:
		return dump_list(k, base);
	case KEY_OWN:
		return k->dump ? k->dump(base) : k->write ? k->write(base) : NULL;
	case KEY_TYPE_MAX:
		break;
	}
	return NULL;
}

static json_t *dump_keys(const struct keys *keys, const void *thing, const void *defaults)
{
	json_t *o = json_object();
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *k = &keys->rows[i];
		if ((k->flags & KEY_RECORD) || (k->there && !k->there(thing)))
			continue;
		json_t *value = dump_value(k, thing, defaults);
		if (value)
			json_object_set_new(o, k->name, value);
	}
	return o;
}

/* ---- as YAML -------------------------------------------------------------------------------------- */

/* Texts that a reader could take for something else than texts; ours does so only with null. */
static bool needs_quotes(const char *text)
{
	static const char *const words[] = {
		"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return !text[strspn(text, "0123456789.:+-_eExX~")];
}

static bool emit_scalar(yaml_emitter_t *e, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t event;
	return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
		       (int)strlen(text), 1, 1, style) &&
	       yaml_emitter_emit(e, &event);
}

static bool emit_text(yaml_emitter_t *e, const char *text)
{
	return emit_scalar(e, text,
		strchr(text, '\n')   ? YAML_LITERAL_SCALAR_STYLE
		: needs_quotes(text) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
				     : YAML_ANY_SCALAR_STYLE);
}

static bool emit_value(yaml_emitter_t *e, const json_t *value);

static bool emit_map(yaml_emitter_t *e, const json_t *map)
{
	yaml_event_t event;
	const char *key;
	json_t *value;
	if (!yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) ||
		!yaml_emitter_emit(e, &event))
		return false;
	json_object_foreach ((json_t *)map, key, value)
		if (!emit_text(e, key) || !emit_value(e, value))
			return false;
	return yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

static bool emit_list(yaml_emitter_t *e, const json_t *list)
{
	yaml_event_t event;
	json_t *value;
	size_t i;
	if (!yaml_sequence_start_event_initialize(
		    &event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE) ||
		!yaml_emitter_emit(e, &event))
		return false;
	json_array_foreach (list, i, value)
		if (!emit_value(e, value))
			return false;
	return yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

static bool emit_value(yaml_emitter_t *e, const json_t *value)
{
	if (json_is_object(value))
		return emit_map(e, value);
	if (json_is_array(value))
		return emit_list(e, value);
	if (json_is_string(value))
		return emit_text(e, json_string_value(value));
	if (json_is_boolean(value))
		return emit_scalar(
			e, json_is_true(value) ? "true" : "false", YAML_PLAIN_SCALAR_STYLE);
	_cleanup_free_ char *number = str_fmt("%lld", (long long)json_integer_value(value));
	return emit_scalar(e, number, YAML_PLAIN_SCALAR_STYLE);
}

static int take(void *out, unsigned char *text, size_t len)
{
	buf_add(out, text, len);
	return 1;
}

static bool emit_document(yaml_emitter_t *e, const json_t *map)
{
	yaml_event_t event;
	return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
	       yaml_emitter_emit(e, &event) &&
	       yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
	       yaml_emitter_emit(e, &event) && emit_map(e, map) &&
	       yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(e, &event) &&
	       yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

char *json_to_yaml(const json_t *map)
{
	_cleanup_buf_ struct buf out = {0};
	yaml_emitter_t emitter;
	if (!yaml_emitter_initialize(&emitter))
		abort(); /* for want of memory, as anywhere */
	yaml_emitter_set_output(&emitter, take, &out);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1); /* a line is a line, however long */
	if (!emit_document(&emitter, map))
		abort();
	yaml_emitter_delete(&emitter);
	return buf_steal(&out);
}

char *definition_to_yaml(const struct definition *d)
{
	_cleanup_definition_ struct definition *defaults = xcalloc(1, sizeof(*defaults));
	definition_keys.defaults(defaults);
	_cleanup_json_ json_t *map = dump_keys(&definition_keys, d, defaults);
	return json_to_yaml(map);
}
