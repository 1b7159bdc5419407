/* How virt-df prints: its words, columns and numbers, for `roost df`. */
#ifndef ORCHESTRATOR_DF_TEXT_H
#define ORCHESTRATOR_DF_TEXT_H

#include "base/json.h"

enum { DF_CELL = 40 };

struct df_form {
	bool human;  /* "4.0M" instead of 1K-blocks */
	bool inodes; /* instead of blocks */
	bool csv;
};

void df_print_head(const struct df_form *form);
/* A row: a file system's cells are its size, what is used, what is available, and the share. */
void df_print_row(
	const struct df_form *form, const char *guest, const char *device, char cells[4][DF_CELL]);
/* A guest's, as orchestrator/df.h tells them. */
void df_print_guest(const struct df_form *form, const char *guest, const json_t *list);

#endif
