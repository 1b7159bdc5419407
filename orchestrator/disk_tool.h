/* qemu-img on the files of a disk (images/tool.h): it is handed them as we have opened them, never by their names. */
#ifndef ORCHESTRATOR_DISK_TOOL_H
#define ORCHESTRATOR_DISK_TOOL_H

#include "images/tool.h"
#include "orchestrator/disk_open.h"

/*
 * "json:{...}" of all layers, freed by the caller, for a tool_run whose `fds` are those that it fills in, one a
 * layer; they are borrowed from `f`. Who calls has looked at the headers.
 */
char *disk_tool_node(const struct disk_files *f, int fds[CHAIN_MAX], struct err *err);

#endif
