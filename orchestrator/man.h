/*
 * Manual pages in mdoc on the standard output, out of the rows that the program itself works by: they
 * cannot say what it does not do.
 *
 *	roost(1)		all verbs; roost-VERB(1) of a single one
 *	roost-definition(5)	the keys of a definition
 *	roost-qmp(7)		the commands of a keeper's and of roostd's socket
 */
#ifndef ORCHESTRATOR_MAN_H
#define ORCHESTRATOR_MAN_H

#include "orchestrator/verb.h"

/* "roost", "start", "roost-definition", "definition.5", "qmp.7", ... */
int man_page(const char *page, struct err *err);

/* ---- the parts: man.c ----------------------------------------------------------------------- */

/* What stands before the first section; `what` is a phrase, or a sentence that becomes one. */
void man_head(int section, const char *name, const char *what);
/* Running text: filled, `words in backquotes` in bold, each sentence on a line of its own. */
void man_text(const char *text);
/* A word for a macro's line, in quotes: one argument whatever is in it. */
void man_word(const char *word);
/* Lines as they are, of commands or of a file. */
void man_literal(const char *text);
void man_verb(const struct verb *v);

/* man_pages.c */
void man_roost(void);
void man_definition(void);
int man_qmp(struct err *err);

#endif
