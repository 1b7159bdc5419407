/* The programs under libexec that make a seed, run as children; and the seed's image. Block. */
#ifndef ORCHESTRATOR_SEED_WRITE_H
#define ORCHESTRATOR_SEED_WRITE_H

#include "base/json.h"
#include "images/seed.h"

/* Asks the program's subcommand (base/answer.h); `argument` may be NULL, `input`, too. */
json_t *seed_ask(const char *program, const char *subcommand, const char *argument,
	const struct buf *input, struct err *err);
/*
 * An image of the files at `out`, 0600; whatever was there is replaced at once. Not flushed: after a
 * loss of power it may be empty.
 */
int seed_write(const struct seed_files *files, const struct seed_kind *kind, const char *out,
	struct err *err);

#endif
