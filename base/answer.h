/*
 * A program of ours that is asked one thing: it reads its standard input to the end and prints one
 * JSON value, or nothing, or {"error": {...}} (see json_to_err()), and ends.
 */
#ifndef BASE_ANSWER_H
#define BASE_ANSWER_H

#include "base/json.h"

/*
 * Runs it to its end, at most `ms`; blocks so long. `input` is NULL where it is asked nothing more
 * than its arguments say. What it printed ({} for nothing), or the error that it told.
 */
json_t *child_answer(
	const char *const argv[], const char *input, size_t len, int64_t ms, struct err *err);

#endif
