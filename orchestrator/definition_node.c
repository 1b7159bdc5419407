#include "orchestrator/definition_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const char *const kind_names[] = {
	[NODE_NULL] = "nothing",
	[NODE_BOOL] = "true or false",
	[NODE_NUMBER] = "a whole number",
	[NODE_FRACTION] = "a number with a fraction",
	[NODE_TEXT] = "a text",
	[NODE_LIST] = "a list",
	[NODE_MAP] = "a mapping",
};
static_assert(ARRAY_SIZE(kind_names) == NODE_KIND_MAX, "a kind lacks its name");

struct node *node_new(enum node_kind kind, const struct origin *origin, unsigned line)
{
	struct node *n = xcalloc(1, sizeof(*n));
	n->kind = kind;
	n->origin = origin;
	n->line = line;
	return n;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->count; i++)
		node_free(n->children[i]);
	free(n->children);
	free(n->key);
	free(n->text);
	free(n);
}

int node_add(struct node *parent, const char *key, struct node *child, struct err *err)
{
	const struct node *twin = key ? node_get(parent, key) : NULL;
	child->parent = parent;
	child->key = xstrdup(key);
	if (twin)
		node_error(child, err, "the key is given twice, first in line %u", twin->line);
	else if (parent->count == NODE_CHILDREN_MAX)
		node_error(parent, err, "more than %d entries", NODE_CHILDREN_MAX);
	if (twin || parent->count == NODE_CHILDREN_MAX) {
		node_free(child);
		return -1;
	}
	size_t size = (parent->count + 1) * sizeof(*parent->children);
	parent->children = xrealloc(parent->children, size);
	parent->children[parent->count++] = child;
	return 0;
}

static enum node_kind kind_of(const json_t *json)
{
	static const enum node_kind kinds[] = {
		[JSON_OBJECT] = NODE_MAP,
		[JSON_ARRAY] = NODE_LIST,
		[JSON_STRING] = NODE_TEXT,
		[JSON_REAL] = NODE_FRACTION,
		[JSON_INTEGER] = NODE_NUMBER,
		[JSON_TRUE] = NODE_BOOL,
		[JSON_FALSE] = NODE_BOOL,
		[JSON_NULL] = NODE_NULL,
	};
	return kinds[json_typeof(json)];
}

static struct node *new_from(const json_t *json, const struct origin *origin)
{
	struct node *n = node_new(kind_of(json), origin, 0);
	n->text = xstrdup(json_string_value(json));
	n->number = json_is_true(json) ? 1 : json_integer_value(json);
	return n;
}

static int add_children(struct node *n, const json_t *json, int depth, struct err *err)
{
	if (depth > JSON_DEPTH_MAX)
		return node_error(n, err, "nested deeper than %d levels", JSON_DEPTH_MAX);
	/* an iterator, for jansson's macro wants a json_t that is not const */
	json_t *o = (json_t *)json;
	for (void *i = json_object_iter(o); i; i = json_object_iter_next(o, i)) {
		const json_t *value = json_object_iter_value(i);
		struct node *child = new_from(value, n->origin);
		if (node_add(n, json_object_iter_key(i), child, err) < 0 ||
			add_children(child, value, depth + 1, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < json_array_size(json); i++) {
		const json_t *value = json_array_get(json, i);
		struct node *child = new_from(value, n->origin);
		if (node_add(n, NULL, child, err) < 0 ||
			add_children(child, value, depth + 1, err) < 0)
			return -1;
	}
	return 0;
}

struct node *node_from_json(const json_t *json, const struct origin *origin, struct err *err)
{
	_cleanup_node_ struct node *root = new_from(json, origin);
	return add_children(root, json, 1, err) < 0 ? NULL : TAKE(root);
}

const struct node *node_get(const struct node *map, const char *key)
{
	for (size_t i = 0; i < map->count; i++)
		if (str_eq(map->children[i]->key, key))
			return map->children[i];
	return NULL;
}

const struct node *node_place(const struct node *map, const char *key)
{
	const struct node *found = node_get(map, key);
	return found ? found : map;
}

static void add_path(const struct node *n, struct buf *out)
{
	if (!n->parent)
		return;
	add_path(n->parent, out);
	if (n->key) {
		buf_fmt(out, "%s%.63s", out->len ? "." : "", n->key);
		return;
	}
	size_t index = 0;
	while (index < n->parent->count && n->parent->children[index] != n)
		index++;
	buf_fmt(out, "[%zu]", index);
}

char *node_path(const struct node *n)
{
	struct buf out = {0};
	add_path(n, &out);
	return buf_steal(&out);
}

int node_locate(const struct node *n, struct err *err)
{
	return n->origin->file ? err_prefix(err, "%s:%u", n->origin->file, n->line) : -1;
}

int node_error(const struct node *n, struct err *err, const char *fmt, ...)
{
	char text[sizeof(err->message)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	_cleanup_free_ char *path = node_path(n);
	err_set(err, ERR_USAGE, "%s%s%s", path, path[0] ? ": " : "", text);
	return node_locate(n, err);
}

int node_wrong(const struct node *n, const char *wanted, struct err *err)
{
	if (n->kind == NODE_TEXT)
		return node_error(n, err, "'%.40s' is not %s", n->text, wanted);
	return node_error(n, err, "%s, where %s is wanted", kind_names[n->kind], wanted);
}
