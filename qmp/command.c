#include "qmp/command.h"

#include <stdio.h>

#include <assert.h>

#include "base/str.h"

static const struct {
	const char *name; /* in JSON */
	const char *text; /* in an error */
} types[] = {
	[ARG_STR] = {"str", "a text"},
	[ARG_INT] = {"int", "a whole number"},
	[ARG_BOOL] = {"bool", "true or false"},
	[ARG_OBJECT] = {"object", "an object"},
	[ARG_ARRAY] = {"array", "a list"},
	[ARG_ANY] = {"any", "anything"},
};
static_assert(ARRAY_SIZE(types) == ARG_TYPE_MAX, "a type lacks its row");

const struct command *command_find(const struct command *table, const char *name)
{
	for (; table->name; table++)
		if (str_eq(table->name, name))
			return table;
	return NULL;
}

static bool has_type(const json_t *value, enum arg_type type)
{
	switch (type) {
	case ARG_STR:
		return json_is_string(value);
	case ARG_INT:
		return json_is_integer(value);
	case ARG_BOOL:
		return json_is_boolean(value);
	case ARG_OBJECT:
		return json_is_object(value);
	case ARG_ARRAY:
		return json_is_array(value);
	case ARG_ANY:
	case ARG_TYPE_MAX:
		break;
	}
	return true;
}

static bool is_end(const struct command *c, size_t i)
{
	return !c->args || i == COMMAND_ARGS_MAX || !c->args[i].name;
}

static const struct command_arg *find_arg(const struct command *c, const char *name)
{
	for (size_t i = 0; !is_end(c, i); i++)
		if (str_eq(c->args[i].name, name))
			return &c->args[i];
	return NULL;
}

static int unknown(const struct command *c, const char *name, struct err *err)
{
	const char *names[COMMAND_ARGS_MAX + 1] = {0};
	for (size_t i = 0; !is_end(c, i); i++)
		names[i] = c->args[i].name;
	const char *nearest = str_nearest(name, names);
	err_set(err, ERR_USAGE, "%s: there is no argument '%.60s'", c->name, name);
	return nearest ? err_hint(err, "did you mean '%s'?", nearest) : -1;
}

int command_check_args(const struct command *c, const json_t *args, struct err *err)
{
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)args, name, value) {
		const struct command_arg *a = find_arg(c, name);
		if (!a)
			return unknown(c, name, err);
		if (a->optional && json_is_null(value))
			continue;
		if (!has_type(value, a->type))
			return err_set(err, ERR_USAGE, "%s: '%s' must be %s", c->name, name,
				types[a->type].text);
	}
	for (size_t i = 0; !is_end(c, i); i++)
		if (!c->args[i].optional && !json_object_get(args, c->args[i].name))
			return err_set(
				err, ERR_USAGE, "%s: '%s' is missing", c->name, c->args[i].name);
	return 0;
}

static json_t *list_args(const struct command *c)
{
	json_t *out = json_array();
	for (size_t i = 0; !is_end(c, i); i++) {
		const struct command_arg *a = &c->args[i];
		json_array_append_new(out, json_pack("{s:s, s:s, s:b, s:s}", "name", a->name,
						   "type", types[a->type].name, "optional",
						   a->optional, "doc", a->doc ? a->doc : ""));
	}
	return out;
}

json_t *command_list(const struct command *table)
{
	json_t *out = json_array();
	for (; table->name; table++)
		json_array_append_new(
			out, json_pack("{s:s, s:s, s:o}", "name", table->name, "doc",
				     table->doc ? table->doc : "", "args", list_args(table)));
	return out;
}

int command_print(const struct command *table)
{
	_cleanup_json_ json_t *list = command_list(table);
	_cleanup_free_ char *text = json_pretty(list);
	return fputs(text, stdout) < 0 || fflush(stdout) < 0;
}
