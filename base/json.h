/*
 * JSON access over jansson: typed getters whose errors name the key, whole-file reading and
 * writing, bounded parsing.
 *
 * Getters look up `key` in object `o`. The `_opt` ones return 0 and leave *out when the key is
 * absent (or null); the others make that an error. A value of another type is always an error.
 * Strings and children returned are borrowed from `o`. Errors are ERR_USAGE.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* Nested deeper than this is refused by json_text_parse(), as DESIGN.md 2 demands. */
#define JSON_DEPTH_MAX 64

#define _cleanup_json_ _cleanup_(json_cleanup)
static inline void json_cleanup(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

int json_str(const json_t *o, const char *key, const char **out, struct err *err);
int json_str_opt(const json_t *o, const char *key, const char **out, struct err *err);
int json_int(const json_t *o, const char *key, int64_t *out, struct err *err);
int json_int_opt(const json_t *o, const char *key, int64_t *out, struct err *err);
int json_bool_opt(const json_t *o, const char *key, bool *out, struct err *err);
int json_obj(const json_t *o, const char *key, json_t **out, struct err *err);
int json_arr_opt(const json_t *o, const char *key, json_t **out, struct err *err);

/* For answers that were checked already, and for reading what we wrote: a default, no error. */
const char *json_get_str(const json_t *o, const char *key, const char *otherwise);
int64_t json_get_int(const json_t *o, const char *key, int64_t otherwise);
bool json_get_bool(const json_t *o, const char *key, bool otherwise);
/* Is that text in the list? In no list nothing is. */
bool json_has_text(const json_t *list, const char *text);

/* One JSON value and nothing after it; UTF-8, no duplicate keys, depth at most JSON_DEPTH_MAX. */
json_t *json_text_parse(const char *text, size_t len, struct err *err);
/* Any bytes as a string: where they are no UTF-8, "\\xNN" stands for those above 0x7f; a NUL ends them. */
json_t *json_text(const char *bytes, size_t len);
/* One line, no trailing new line; freed by the caller. */
char *json_line(const json_t *value);
/* Indented, for people and files; ends in a new line; freed by the caller. */
char *json_pretty(const json_t *value);

/* A JSON object in a file of at most 1 MiB, relative to dir_fd (AT_FDCWD for a path). */
json_t *json_file_read(int dir_fd, const char *name, struct err *err);
/* The same of a file that is open already, and has been looked at so. */
json_t *json_file_read_open(int fd, const char *name, struct err *err);
/* Replaces the file whole (see file_replace). `durable`: fsync file and folder. */
int json_file_write(
	int dir_fd, const char *name, const json_t *value, bool durable, struct err *err);

/* {"error":{"class":KIND,"desc":MESSAGE,"hint":HINT}} is how an error travels and is printed. */
json_t *json_from_err(const struct err *err);
void json_to_err(const json_t *error, struct err *err);

#endif
