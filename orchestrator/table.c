#include "orchestrator/table.h"

#include <stdio.h>

void table_add(json_t *rows, const char *const cells[], size_t count)
{
	json_t *row = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(row, json_string(cells[i]));
	json_array_append_new(rows, row);
}

void table_print(const json_t *rows)
{
	size_t width[COLUMNS_MAX] = {0}, i, j, total = 0;
	size_t columns = json_array_size(json_array_get(rows, 0));
	json_t *row, *cell;
	json_array_foreach (rows, i, row)
		json_array_foreach (row, j, cell)
			if (json_string_length(cell) > width[j])
				width[j] = json_string_length(cell);
	for (j = 0; j < columns; j++)
		total += width[j] + 3;
	json_array_foreach (rows, i, row) {
		json_array_foreach (row, j, cell)
			printf("%s%-*s", j ? "   " : " ", j + 1 < columns ? (int)width[j] : 0,
				json_string_value(cell));
		putchar('\n');
		for (j = 0; i == 0 && j < total; j++)
			putchar('-');
		if (i == 0)
			putchar('\n');
	}
}
