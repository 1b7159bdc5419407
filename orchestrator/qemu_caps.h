/*
 * What must be known of the installed QEMU before a guest runs: its versioned machine types, and
 * that it has the commands roost lives by. Asked of QEMU itself, over QMP, once for each
 * binary: $STATE/qemu.json holds the machines, $STATE/schema.json the digest of query-qmp-schema,
 * both by the binary's identity.
 */
#ifndef ORCHESTRATOR_QEMU_CAPS_H
#define ORCHESTRATOR_QEMU_CAPS_H

#include "base/proc.h"
#include "qmp/client.h"
#include "qmp/schema.h"

/*
 * "q35" becomes "pc-q35-7.2"; a name that is no alias stays. ERR_USAGE if QEMU knows no such
 * machine, ERR_REFUSED if it lacks a command. Blocks for up to some 100 ms: in workers only.
 */
int qemu_machine(const char *wanted, char out[64], struct err *err);

/*
 * What that QEMU can be asked: of the schema that is kept where it is this binary's, else of QEMU itself, for which some
 * 100 ms go by. Keeps nothing.
 */
struct schema *qemu_schema(const char *binary, struct err *err);

/* A QEMU without a machine, connected, that can be asked; it ends with `child`. For workers. */
struct qmp *qemu_to_ask(const char *binary, struct child *child, struct err *err);
/* What changes when another QEMU is installed in that place. */
json_t *qemu_identity(const char *binary, struct err *err);

#endif
