/*
 * What people write: the two steps of definition_parse() that need libyaml, or open files. Linked
 * by `roost` alone, and by tests.
 */
#ifndef ORCHESTRATOR_DEFINITION_YAML_H
#define ORCHESTRATOR_DEFINITION_YAML_H

#include "base/str.h"
#include "orchestrator/definition.h"
#include "orchestrator/definition_node.h"

/* YAML, or JSON, as a tree; `origin` outlives it. Opens nothing. */
struct node *node_from_yaml(
	const char *text, size_t len, const struct origin *origin, struct err *err);

/* The other way: a mapping in people's form, freed by the caller. definition_dump.c */
char *json_to_yaml(const json_t *map);

/* The descriptor that "-", "/dev/stdin" and a shell's "<(COMMAND)", "/dev/fd/63", stand for; -1: another file. */
int written_fd(const char *file);
/*
 * What stands in `file` (or comes from what written_fd() knows, a pipe, too; nothing from /dev/null), at most 1 MiB, and
 * the folder that its relative paths are taken from, freed by the caller.
 */
int written_read(const char *file, struct buf *text, char **folder, struct err *err);

/*
 * Looks at the files that a definition names, and takes over what they say: an image's place and
 * format, the text of public keys. definition_files.c
 */
int definition_files(struct definition *d, const struct node *root, struct err *err);
/* Of them, those under `cloud_init`: keys, a password, the seed's own files. definition_cloud.c */
int definition_cloud_files(struct definition *d, const struct node *cloud_init, struct err *err);
/* "FILE:LINE: KEY: " before an error that names a file. */
int locate_file(const struct node *n, struct err *err);

#endif
