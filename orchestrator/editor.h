/*
 * A text in the user's own editor: $VISUAL, $EDITOR, else the first there is of sensible-editor, nano
 * and vi. The variable is a shell's words, as git and virsh have it.
 *
 * `take` gets what came back, if it has changed. While it fails, the error is shown and the user at a
 * terminal is asked whether to edit again; whoever gives up, or has no terminal, is told in the
 * error's hint where the text is. No text is lost but one that was taken, or is what it was.
 */
#ifndef ORCHESTRATOR_EDITOR_H
#define ORCHESTRATOR_EDITOR_H

#include <stdbool.h>

#include "base/err.h"

typedef int take_fn(const char *text, const char *file, void *about, struct err *err);

/* The file is called $TMPDIR/roost-NAME-XXXXXX.EXTENSION. */
int editor_edit(const char *name, const char *extension, const char *text, take_fn *take,
	void *about, bool *changed, struct err *err);

#endif
