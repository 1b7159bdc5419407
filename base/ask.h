/*
 * Somebody at the terminal is asked for a line. It is the process's own terminal, /dev/tty, whatever its standard
 * streams are; so a command can be asked for a password, and still be fed by a pipe.
 */
#ifndef BASE_ASK_H
#define BASE_ASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Is there anybody to ask? */
bool ask_can(void);
/* Writes to the terminal, where there is one. */
void ask_say(const char *text);
/*
 * Shows `question`, and reads a line of at most `size` - 1 bytes (what is longer is cut) without its end. `hidden`: what is
 * typed is not shown. A signal that ends or stops us (^C, ^Z) does so when the terminal is as it was before. ERR_REFUSED:
 * there is no terminal; ERR_GONE: no answer (^D), or the signal's own handler has returned. `out` is the caller's to wipe.
 */
int ask_line(const char *question, bool hidden, char *out, size_t size, struct err *err);

#endif
