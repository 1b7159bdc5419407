#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"

enum { FILE_MAX = 1024 * 1024 };

static const char *type_name(json_type type)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "a list",
		[JSON_STRING] = "a text",
		[JSON_INTEGER] = "a whole number",
		[JSON_REAL] = "a number",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};
	return names[type];
}

/* 1 when there, 0 when absent or null, -1 when of another type. */
static int get(const json_t *o, const char *key, json_type want, json_t **out, struct err *err)
{
	json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (json_typeof(v) != want && !(want == JSON_TRUE && json_is_boolean(v)))
		return err_set(err, ERR_USAGE, "'%s' is %s, not %s", key, type_name(json_typeof(v)),
			want == JSON_TRUE ? "true or false" : type_name(want));
	*out = v;
	return 1;
}

static int missing(const char *key, struct err *err)
{
	return err_set(err, ERR_USAGE, "'%s' is missing", key);
}

int json_str_opt(const json_t *o, const char *key, const char **out, struct err *err)
{
	json_t *v = NULL;
	int found = get(o, key, JSON_STRING, &v, err);
	if (found > 0)
		*out = json_string_value(v);
	return found < 0 ? -1 : 0;
}

int json_str(const json_t *o, const char *key, const char **out, struct err *err)
{
	const char *s = NULL;
	if (json_str_opt(o, key, &s, err) < 0)
		return -1;
	if (!s)
		return missing(key, err);
	*out = s;
	return 0;
}

int json_int_opt(const json_t *o, const char *key, int64_t *out, struct err *err)
{
	json_t *v = NULL;
	int found = get(o, key, JSON_INTEGER, &v, err);
	if (found > 0)
		*out = json_integer_value(v);
	return found < 0 ? -1 : 0;
}

int json_int(const json_t *o, const char *key, int64_t *out, struct err *err)
{
	json_t *v = NULL;
	int found = get(o, key, JSON_INTEGER, &v, err);
	if (found == 0)
		return missing(key, err);
	if (found > 0)
		*out = json_integer_value(v);
	return found < 0 ? -1 : 0;
}

int json_bool_opt(const json_t *o, const char *key, bool *out, struct err *err)
{
	json_t *v = NULL;
	int found = get(o, key, JSON_TRUE, &v, err);
	if (found > 0)
		*out = json_is_true(v);
	return found < 0 ? -1 : 0;
}

int json_obj(const json_t *o, const char *key, json_t **out, struct err *err)
{
	int found = get(o, key, JSON_OBJECT, out, err);
	return found == 0 ? missing(key, err) : found < 0 ? -1 : 0;
}

int json_arr_opt(const json_t *o, const char *key, json_t **out, struct err *err)
{
	return get(o, key, JSON_ARRAY, out, err) < 0 ? -1 : 0;
}

const char *json_get_str(const json_t *o, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : otherwise;
}

int64_t json_get_int(const json_t *o, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool json_get_bool(const json_t *o, const char *key, bool otherwise)
{
	const json_t *v = json_object_get(o, key);
	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

bool json_has_text(const json_t *list, const char *text)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (str_eq(json_string_value(one), text))
			return true;
	return false;
}

/* jansson's own limit is 2048 levels of recursion; ours is counted before it sees the text. */
static bool too_deep(const char *text, size_t len)
{
	int depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return true;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return false;
}

json_t *json_text_parse(const char *text, size_t len, struct err *err)
{
	json_error_t at;
	if (too_deep(text, len)) {
		err_set(err, ERR_USAGE, "JSON nested deeper than %d levels", JSON_DEPTH_MAX);
		return NULL;
	}
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
	if (!value)
		err_set(err, ERR_USAGE, "not valid JSON: line %d, column %d: %s", at.line,
			at.column, at.text);
	return value;
}

json_t *json_text(const char *bytes, size_t len)
{
	size_t end = strnlen(bytes, len);
	json_t *plain = json_stringn(bytes, end);
	if (plain)
		return plain;
	_cleanup_buf_ struct buf safe = {0};
	for (size_t i = 0; i < end; i++)
		buf_fmt(&safe, (unsigned char)bytes[i] >= 0x80 ? "\\x%02x" : "%c",
			(unsigned char)bytes[i]);
	return json_string(safe.data);
}

char *json_line(const json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

char *json_pretty(const json_t *value)
{
	_cleanup_free_ char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
	return str_fmt("%s\n", text ? text : "null");
}

static json_t *object_in(const struct buf *text, const char *name, struct err *err)
{
	json_t *value = json_text_parse(text->data ? text->data : "", text->len, err);
	if (!value) {
		err_prefix(err, "'%s'", name);
		return NULL;
	}
	if (!json_is_object(value)) {
		json_decref(value);
		err_set(err, ERR_USAGE, "'%s' holds no JSON object", name);
		return NULL;
	}
	return value;
}

json_t *json_file_read(int dir_fd, const char *name, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	return file_read(dir_fd, name, FILE_MAX, &text, err) < 0 ? NULL
								 : object_in(&text, name, err);
}

json_t *json_file_read_open(int fd, const char *name, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	return file_read_open(fd, name, FILE_MAX, &text, err) < 0 ? NULL
								  : object_in(&text, name, err);
}

int json_file_write(
	int dir_fd, const char *name, const json_t *value, bool durable, struct err *err)
{
	_cleanup_free_ char *text = json_pretty(value);
	return file_replace(dir_fd, name, text, strlen(text), durable, err);
}

json_t *json_from_err(const struct err *err)
{
	json_t *o =
		json_pack("{s:s, s:s}", "class", err_kind_name(err->kind), "desc", err->message);
	if (!o) /* a message that is not UTF-8, for example a file's name */
		o = json_pack("{s:s, s:s}", "class", err_kind_name(err->kind), "desc",
			"an error whose text is not valid UTF-8");
	if (err->hint[0])
		json_object_set_new(o, "hint", json_string(err->hint));
	return o;
}

void json_to_err(const json_t *error, struct err *err)
{
	err_set(err, err_kind_of(json_get_str(error, "class", "")), "%s",
		json_get_str(error, "desc", "an error without a description"));
	const char *hint = json_get_str(error, "hint", NULL);
	if (hint)
		err_hint(err, "%s", hint);
}
