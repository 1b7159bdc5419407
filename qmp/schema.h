/*
 * What this QEMU can do, asked of query-qmp-schema and never guessed from a version.
 *
 * The answer (about 200 KiB) is boiled down to the names of commands, their arguments and events
 * (12 KiB), and is cached in a file by the identity of the QEMU binary: path, size, inode, mtime.
 */
#ifndef QMP_SCHEMA_H
#define QMP_SCHEMA_H

#include "qmp/client.h"

struct schema; /* an opaque, read-only digest */

/* Reduces query-qmp-schema's "return" value. */
struct schema *schema_from_qmp(const json_t *schema, struct err *err);
/* From the cache; NULL with ERR_NOT_FOUND when it holds no entry for that binary. */
struct schema *schema_load(const char *cache_file, const char *binary, struct err *err);
int schema_save(
	const struct schema *s, const char *cache_file, const char *binary, struct err *err);
void schema_free(struct schema *s);
static inline void schema_cleanup(struct schema **s)
{
	schema_free(*s);
}
#define _cleanup_schema_ _cleanup_(schema_cleanup)

bool schema_has_command(const struct schema *s, const char *command);
bool schema_has_event(const struct schema *s, const char *event);
/* Does that command take that argument, e.g. ("blockdev-add", "discard-no-unref")? */
bool schema_has_arg(const struct schema *s, const char *command, const char *arg);

#endif
