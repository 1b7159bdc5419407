/*
 * The user's terminal while a guest's is shown in it: raw, restored on every exit, with the
 * escapes of ssh that get one out of a guest that hangs.
 */
#ifndef ORCHESTRATOR_SSH_TERMINAL_H
#define ORCHESTRATOR_SSH_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Puts standard input into raw mode; whatever way the program exits, exit() puts it back. */
void terminal_raw(void);
void terminal_restore(void);
/* The size of the terminal on any of the standard streams; 80 x 24 if there is none. */
void terminal_size(int *columns, int *rows);

/* What is typed, across calls. Start: ESCAPE_LINE_START. */
enum escape {
	ESCAPE_LINE_START, /* a "~" now begins an escape */
	ESCAPE_TILDE,      /* that "~" was read and is held back */
	ESCAPE_IN_LINE,    /* nothing special until the next new line */
};
/*
 * Takes escapes out of `len` bytes typed and leaves in `out`, which has room for len + 1, what the
 * guest shall get. "~~" sends one "~"; "~." returns true: disconnect.
 */
bool escape_filter(enum escape *state, const char *typed, size_t len, char *out, size_t *out_len);

#endif
