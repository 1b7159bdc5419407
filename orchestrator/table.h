/*
 * Answers in columns, as virsh prints them: each as wide as its widest cell, 3 spaces between, the
 * last one as it is, a rule below the first row. Rows are a JSON list of lists of texts.
 */
#ifndef ORCHESTRATOR_TABLE_H
#define ORCHESTRATOR_TABLE_H

#include "base/json.h"

enum { COLUMNS_MAX = 8 };

/* table_row(rows, "Target", "Source"): adds a row of texts; the first one is the head. */
#define table_row(rows, ...)                                                                       \
	table_add((rows), (const char *const[]){__VA_ARGS__},                                      \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
void table_add(json_t *rows, const char *const cells[], size_t count);
void table_print(const json_t *rows);

#endif
