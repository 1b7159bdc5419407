#include "orchestrator/definition_keys.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* jansson's integers are signed */
static const uint64_t SIZE_LIMIT = (uint64_t)1 << 60;

static void *place(void *base, size_t offset)
{
	return (char *)base + offset;
}

static const void *place_const(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_value(const struct key *k, const struct node *n, void *base, struct err *err);

int node_text(const struct node *n, bool lines, const char **out, struct err *err)
{
	if (n->kind != NODE_TEXT)
		return node_wrong(n, "a text", err);
	if (!n->text[0])
		return node_error(n, err, "the text is empty");
	for (const char *p = n->text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '\n' && !lines) {
			node_error(n, err, "the text has several lines");
			return err_hint(err,
				"one line is wanted; after '>' or '|' write '-' as well, "
				"so that no new line is left at the end");
		}
		if (c == 0x7f || (c < ' ' && c != '\n' && c != '\t'))
			return node_error(
				n, err, "the text contains the control character 0x%02x", c);
	}
	*out = n->text;
	return 0;
}

static int read_text(const struct key *k, const struct node *n, void *base, struct err *err)
{
	const char *text;
	if (node_text(n, k->flags & KEY_LINES, &text, err) < 0)
		return -1;
	if (k->check && k->check(text, n, err) < 0)
		return -1;
	char **out = place(base, k->offset);
	free(*out);
	*out = xstrdup(text);
	return 0;
}

static int read_chars(const struct key *k, const struct node *n, void *base, struct err *err)
{
	const char *text;
	if (node_text(n, false, &text, err) < 0)
		return -1;
	if (strlen(text) > k->max)
		return node_error(
			n, err, "'%.60s' is longer than %d characters", text, (int)k->max);
	if (k->check && k->check(text, n, err) < 0)
		return -1;
	char *out = place(base, k->offset);
	for (; *text; text++)
		*out++ = k->flags & KEY_CASE ? *text : (char)tolower((unsigned char)*text);
	*out = '\0';
	return 0;
}

char *node_file(const struct node *n, struct err *err)
{
	const char *text;
	if (node_text(n, false, &text, err) < 0)
		return NULL;
	if (text[0] == '/')
		return xstrdup(text);
	if (!node_by_people(n)) {
		node_error(n, err, "'%s' is not an absolute path", text);
		return NULL;
	}
	const char *home = getenv("HOME");
	if (str_starts(text, "~/") && home && home[0] == '/')
		return str_fmt("%s/%s", home, text + 2);
	while (str_starts(text, "./"))
		text += 2;
	return str_fmt("%s/%s", str_eq(n->origin->folder, "/") ? "" : n->origin->folder, text);
}

static int read_file(const struct key *k, const struct node *n, void *base, struct err *err)
{
	_cleanup_free_ char *path = node_file(n, err);
	if (!path || (k->check && k->check(path, n, err) < 0))
		return -1;
	char **out = place(base, k->offset);
	free(*out);
	*out = TAKE(path);
	return 0;
}

/* The words are YAML 1.1's, for people write them. */
int node_truth(const struct node *n)
{
	static const char *const words[][3] = {{"false", "no", "off"}, {"true", "yes", "on"}};
	if (n->kind == NODE_BOOL)
		return n->number != 0;
	for (int value = 0; value < 2 && n->kind == NODE_TEXT && node_by_people(n); value++)
		for (size_t i = 0; i < ARRAY_SIZE(words[value]); i++)
			if (strcasecmp(n->text, words[value][i]) == 0)
				return value;
	return -1;
}

static int read_bool(const struct key *k, const struct node *n, void *base, struct err *err)
{
	int value = node_truth(n);
	if (value < 0)
		return node_wrong(n, "true or false", err);
	*(bool *)place(base, k->offset) = value;
	return 0;
}

static int in_range(
	const struct node *n, uint64_t value, uint64_t min, uint64_t max, struct err *err)
{
	if (value >= min && value <= max)
		return 0;
	return node_error(n, err, "%llu is not between %llu and %llu", (unsigned long long)value,
		(unsigned long long)min, (unsigned long long)max);
}

static int whole_number(const struct node *n, uint64_t *out, struct err *err)
{
	if (n->kind != NODE_NUMBER)
		return node_wrong(n, "a whole number", err);
	if (n->number < 0)
		return node_error(n, err, "%lld is negative", (long long)n->number);
	*out = (uint64_t)n->number;
	return 0;
}

static int read_number(const struct key *k, const struct node *n, void *base, struct err *err)
{
	uint64_t value;
	_cleanup_free_ char *path = node_path(n);
	if (node_by_people(n) && n->kind == NODE_TEXT) {
		if (str_parse_u64(n->text, k->min, k->max, path, &value, err) < 0)
			return node_locate(n, err);
	} else if (whole_number(n, &value, err) < 0 ||
		   in_range(n, value, k->min, k->max, err) < 0) {
		return -1;
	}
	*(unsigned *)place(base, k->offset) = (unsigned)value;
	return 0;
}

static int read_size(const struct key *k, const struct node *n, void *base, struct err *err)
{
	uint64_t value;
	_cleanup_free_ char *path = node_path(n);
	if (node_by_people(n) && n->kind != NODE_TEXT)
		return node_wrong(n, "a size such as 512M", err);
	if (node_by_people(n)) {
		if (str_parse_size(n->text, 0, path, &value, err) < 0)
			return node_locate(n, err);
	} else if (whole_number(n, &value, err) < 0) {
		return -1;
	}
	uint64_t max = k->max ? k->max : SIZE_LIMIT;
	if (value < k->min)
		return node_error(n, err, "%s is less than %s", str_size(value), str_size(k->min));
	if (value > max)
		return node_error(n, err, "%s is more than %s", str_size(value), str_size(max));
	*(uint64_t *)place(base, k->offset) = value;
	return 0;
}

int node_duration(const struct node *n, int64_t *out, struct err *err)
{
	static const int64_t longest_ms = (int64_t)366 * 24 * 3600 * 1000;
	int64_t value;
	uint64_t number = 0;
	_cleanup_free_ char *path = node_path(n);
	if (node_by_people(n)) {
		if (n->kind != NODE_TEXT)
			return node_wrong(n, "a duration such as 90s", err);
		if (str_parse_duration(n->text, path, &value, err) < 0)
			return node_locate(n, err);
	} else {
		if (whole_number(n, &number, err) < 0)
			return -1;
		value = (int64_t)number;
	}
	if (value < 1 || value > longest_ms)
		return node_error(n, err, "the duration is not between 1 ms and a year");
	*out = value;
	return 0;
}

static int read_duration(const struct key *k, const struct node *n, void *base, struct err *err)
{
	return node_duration(n, place(base, k->offset), err);
}

static void hint_words(const char *word, const struct words *words, struct err *err)
{
	const char *known[16] = {0};
	_cleanup_buf_ struct buf all = {0};
	size_t count = 0;
	for (unsigned i = 0; i < words->count; i++) {
		if (!words->names[i])
			continue;
		known[count++] = words->names[i];
		buf_fmt(&all, "%s%s", all.len ? ", " : "", words->names[i]);
	}
	const char *near = str_nearest(word, known);
	if (near)
		err_hint(err, "did you mean '%s'? The words are %s", near, all.data);
	else
		err_hint(err, "the words are %s", all.data);
}

int node_word(const struct node *n, const struct words *words, unsigned *out, struct err *err)
{
	const char *text;
	if (node_text(n, false, &text, err) < 0)
		return -1;
	for (unsigned i = 0; i < words->count; i++) {
		if (words->names[i] && str_eq(words->names[i], text)) {
			*out = i;
			return 0;
		}
	}
	node_error(n, err, "'%.40s' is unknown", text);
	hint_words(text, words, err);
	return -1;
}

static int read_word(const struct key *k, const struct node *n, void *base, struct err *err)
{
	return node_word(n, k->words, place(base, k->offset), err);
}

static int read_map(const struct key *k, const struct node *n, void *base, struct err *err)
{
	int value = k->flags & KEY_SWITCH ? node_truth(n) : -1;
	bool bare = value >= 0 || n->kind == NODE_NULL;
	if (!bare && n->kind != NODE_MAP)
		return node_wrong(
			n, k->flags & KEY_SWITCH ? "true, false or a mapping" : "a mapping", err);
	if (k->flags & KEY_SWITCH)
		*(bool *)place(base, k->aux) = value != 0;
	return bare ? 0 : keys_read(k->keys, n, place(base, k->offset), err);
}

static int read_list(const struct key *k, const struct node *n, void *base, struct err *err)
{
	size_t *count = place(base, k->aux);
	if (n->kind != NODE_LIST)
		return node_wrong(n, "a list", err);
	if (n->count > k->max)
		return node_error(n, err, "%zu entries, %d are allowed", n->count, (int)k->max);
	void *array = place(base, k->offset);
	if (k->flags & KEY_HEAP)
		array = *(void **)array = n->count ? xcalloc(n->count, k->size) : NULL;
	for (size_t i = 0; i < n->count; i++) {
		/* counted first, so that a half-read one is freed too */
		void *item = place(array, (*count)++ * k->size);
		if (k->item->type == KEY_MAP && n->children[i]->kind != NODE_MAP)
			return node_wrong(n->children[i], "a mapping", err);
		if (read_value(k->item, n->children[i], item, err) < 0)
			return -1;
	}
	return 0;
}

static int read_own(const struct key *k, const struct node *n, void *base, struct err *err)
{
	return k->read(n, base, err);
}

static int read_value(const struct key *k, const struct node *n, void *base, struct err *err)
{
	static int (*const readers[])(
		const struct key *, const struct node *, void *, struct err *) = {
		[KEY_TEXT] = read_text,
		[KEY_CHARS] = read_chars,
		[KEY_FILE] = read_file,
		[KEY_BOOL] = read_bool,
		[KEY_NUMBER] = read_number,
		[KEY_SIZE] = read_size,
		[KEY_DURATION] = read_duration,
		[KEY_WORD] = read_word,
		[KEY_MAP] = read_map,
		[KEY_LIST] = read_list,
		[KEY_OWN] = read_own,
	};
	static_assert(ARRAY_SIZE(readers) == KEY_TYPE_MAX, "a type lacks its reader");
	if (n->kind == NODE_NULL && !(k->flags & KEY_BARE)) {
		node_error(n, err, "there is no value");
		return err_hint(err, "write one, or leave the key out");
	}
	return readers[k->type](k, n, base, err);
}

/* A key of the other form does not exist in this one. */
static bool in_form(const struct key *k, const struct node *n)
{
	return !(k->flags & (node_by_people(n) ? KEY_RECORD : KEY_PEOPLE));
}

static const struct key *find_row(const struct keys *keys, const struct node *n)
{
	for (size_t i = 0; i < keys->count; i++)
		if (str_eq(keys->rows[i].name, n->key))
			return in_form(&keys->rows[i], n) ? &keys->rows[i] : NULL;
	return NULL;
}

static int unknown_key(const struct keys *keys, const struct node *n, struct err *err)
{
	const char *known[64] = {0};
	_cleanup_buf_ struct buf all = {0};
	size_t count = 0;
	for (size_t i = 0; i < keys->count && count + 1 < ARRAY_SIZE(known); i++) {
		if (!in_form(&keys->rows[i], n))
			continue;
		known[count++] = keys->rows[i].name;
		buf_fmt(&all, "%s%s", all.len ? ", " : "", keys->rows[i].name);
	}
	node_error(n, err, "there is no such key");
	const char *near = str_nearest(n->key, known);
	if (near)
		return err_hint(err, "did you mean '%s'?", near);
	return all.len ? err_hint(err, "the keys here are %s", all.data)
		       : err_hint(err, "there are none here");
}

int keys_read(const struct keys *keys, const struct node *map, void *thing, struct err *err)
{
	if (keys->defaults)
		keys->defaults(thing);
	for (size_t i = 0; i < map->count; i++)
		if (!find_row(keys, map->children[i]))
			return unknown_key(keys, map->children[i], err);
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *k = &keys->rows[i];
		const struct node *n = in_form(k, map) ? node_get(map, k->name) : NULL;
		if (!n && (k->flags & KEY_REQUIRED))
			return node_error(map, err, "the key '%s' is missing", k->name);
		if (n && read_value(k, n, thing, err) < 0)
			return -1;
	}
	return keys->check ? keys->check(thing, map, err) : 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *write_value(const struct key *k, const void *base);

static json_t *write_list(const struct key *k, const void *base)
{
	size_t count = *(const size_t *)place_const(base, k->aux);
	if (!count && (k->flags & KEY_SPARSE))
		return NULL;
	const void *array = place_const(base, k->offset);
	if (k->flags & KEY_HEAP)
		array = *(const void *const *)array;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, write_value(k->item, place_const(array, i * k->size)));
	return list;
}

static json_t *write_word(const struct key *k, const void *at)
{
	unsigned value = *(const unsigned *)at;
	const char *word = value < k->words->count ? k->words->names[value] : NULL;
	return word ? json_string(word) : NULL;
}

static json_t *write_map(const struct key *k, const void *base)
{
	if ((k->flags & KEY_SWITCH) && !*(const bool *)place_const(base, k->aux))
		return k->flags & KEY_PLAIN ? json_false() : NULL;
	json_t *map = keys_write(k->keys, place_const(base, k->offset));
	if (json_object_size(map) || !(k->flags & (KEY_SPARSE | KEY_PLAIN)))
		return map;
	json_decref(map);
	return k->flags & KEY_PLAIN ? json_true() : NULL;
}

static json_t *write_integer(const struct key *k, uint64_t value)
{
	return value || !(k->flags & KEY_SPARSE) ? json_integer((json_int_t)value) : NULL;
}

/* NULL: nothing to write. */
static json_t *write_value(const struct key *k, const void *base)
{
	const void *at = place_const(base, k->offset);
	const char *text;
	switch (k->type) {
	case KEY_TEXT:
	case KEY_FILE:
		text = *(char *const *)at;
		return text ? json_string(text) : NULL;
	case KEY_CHARS:
		return *(const char *)at ? json_string(at) : NULL;
	case KEY_BOOL:
		if (!*(const bool *)at && (k->flags & KEY_SPARSE))
			return NULL;
		return json_boolean(*(const bool *)at);
	case KEY_NUMBER:
		return write_integer(k, *(const unsigned *)at);
	case KEY_SIZE:
		return write_integer(k, *(const uint64_t *)at);
	case KEY_DURATION:
		return write_integer(k, (uint64_t) * (const int64_t *)at);
	case KEY_WORD:
		return write_word(k, at);
	case KEY_MAP:
		return write_map(k, base);
	case KEY_LIST:
		return write_list(k, base);
	case KEY_OWN:
		return k->write ? k->write(base) : NULL;
	case KEY_TYPE_MAX:
		break;
	}
	return NULL;
}

json_t *keys_write(const struct keys *keys, const void *thing)
{
	json_t *o = json_object();
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *k = &keys->rows[i];
		if ((k->flags & KEY_PEOPLE) || (k->there && !k->there(thing)))
			continue;
		json_t *value = write_value(k, thing);
		if (value)
			json_object_set_new(o, k->name, value);
	}
	return o;
}

json_t *duration_text(int64_t ms)
{
	static const struct {
		const char *suffix;
		int64_t ms;
	} units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
	size_t i = 0;
	while (ms % units[i].ms)
		i++;
	return json_sprintf("%lld%s", (long long)(ms / units[i].ms), units[i].suffix);
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void drop_value(const struct key *k, void *base)
{
	void *at = place(base, k->offset);
	if (k->type == KEY_TEXT || k->type == KEY_FILE) {
		free(*(char **)at);
		*(char **)at = NULL;
	} else if (k->type == KEY_MAP) {
		keys_drop(k->keys, at);
	} else if (k->type == KEY_LIST) {
		size_t *count = place(base, k->aux);
		void *array = k->flags & KEY_HEAP ? *(void **)at : at;
		for (size_t i = 0; i < *count; i++)
			drop_value(k->item, place(array, i * k->size));
		*count = 0;
		if (k->flags & KEY_HEAP) {
			free(array);
			*(void **)at = NULL;
		}
	} else if (k->type == KEY_OWN && k->drop) {
		k->drop(base);
	}
}

void keys_drop(const struct keys *keys, void *thing)
{
	for (size_t i = 0; i < keys->count; i++)
		drop_value(&keys->rows[i], thing);
}
