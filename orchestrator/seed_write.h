/* The programs under libexec that make a seed, run as children; and the seed's image. Block. */
#ifndef ORCHESTRATOR_SEED_WRITE_H
#define ORCHESTRATOR_SEED_WRITE_H

#include "base/json.h"
#include "images/seed.h"

/* The program's path, in `path`; NULL and an error if it is not installed. */
const char *seed_program(const char *name, char path[4096], struct err *err);
/* Runs it to its end; the one JSON object that it prints, or the error that it tells. */
json_t *seed_child(const char *const argv[], const char *input, struct err *err);
/* An ISO 9660 image of the files at `out`, 0600; whatever was there is replaced at once. */
int seed_write(const struct seed_files *files, const char *out, struct err *err);

#endif
