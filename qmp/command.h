/*
 * Commands as data. A row says all there is to know of a command; validation, query-commands, help
 * and manual pages are made from the rows.
 */
#ifndef QMP_COMMAND_H
#define QMP_COMMAND_H

#include "base/json.h"

struct request;

enum arg_type { ARG_STR, ARG_INT, ARG_BOOL, ARG_OBJECT, ARG_ARRAY, ARG_ANY, ARG_TYPE_MAX };

struct command_arg {
	const char *name; /* NULL ends the list */
	enum arg_type type;
	bool optional;
	const char *doc;
};

enum command_flags {
	CMD_QUICK = 1 << 0,    /* answered inside the wait of another operation; changes nothing */
	CMD_CHANGING = 1 << 1, /* one at a time per guest; others hear `busy` */
	CMD_KILLING = 1 << 2,  /* changes, but is always served: cancel, destroy */
	CMD_UNTOLD = 1 << 3,   /* no event tells who sent it: it takes its turn, but only looks */
};

#define COMMAND_ARGS_MAX 12

/* Those of a command; as a pointer, so that a keeper's table takes few pages of its own. */
#define ARGS(...)                                                                                  \
	(const struct command_arg[])                                                               \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

struct command {
	const char *name;
	const char *doc;                /* one sentence */
	const struct command_arg *args; /* by ARGS(); NULL: none */
	unsigned flags;
	/*
	 * `self` is the server's owner (the keeper's guest, the supervisor); *ret is the "return" value,
	 * left NULL for {}. `request` tells who asked (server.h). Returns 0, -1 with *err, or 1: the
	 * handler keeps the request and answers it later.
	 */
	int (*handler)(void *self, const json_t *args, struct request *request, json_t **ret,
		struct err *err);
};

/* The row of that name in a table that ends with a row without name; NULL if there is none. */
const struct command *command_find(const struct command *table, const char *name);
/* Are the arguments what the row says: known, there if needed, of the right type? */
int command_check_args(const struct command *c, const json_t *args, struct err *err);
/* The answer to query-commands: [{name, doc, args:[{name,type,optional,doc}]}]. */
json_t *command_list(const struct command *table);
/* The same on the standard output, for a program's main(): an exit status. */
int command_print(const struct command *table);

#endif
