/*
 * Completion at a shell, out of the verbs' rows. The shells' scripts (verb_completion.c) are thin: they
 * hand over the words of the command line up to the cursor, and show what complete_words() prints,
 * one candidate a line, "WORD" or "WORD<tab>what it is"; a line ":files" stands for names of files.
 * So a new verb is complete at once, and the logic is one for all shells.
 *
 * What a row's `operands` and an option's `value` say decides what is offered:
 *
 *	NAME			guests, as the row's `guests` says
 *	FILE, IMAGE, DIR,
 *	USER-DATA, META-DATA	files
 *	IMAGE-NAME		images of the store
 *	NETWORK			networks
 *	FROM, TO		files, and guests with a ':'
 *	RUNG			the rungs of readiness
 *	a|b|c, word		those words; in lower case a word means itself
 *	COMMAND			of `help`: the verbs
 *
 * Brackets and dots are passed over; for anything else there is nothing to offer.
 */
#ifndef ORCHESTRATOR_COMPLETE_H
#define ORCHESTRATOR_COMPLETE_H

#include <stddef.h>

/* `words` are those after `roost`; the last one, which may be empty, is being typed. */
void complete_words(const char *const *words, size_t count);

#endif
