/* How far qemu-img has come (images/tool.h), for verbs: one line at a terminal, elsewhere nothing. */
#ifndef ORCHESTRATOR_TOOL_TOLD_H
#define ORCHESTRATOR_TOOL_TOLD_H

#include "images/tool.h"
#include "orchestrator/verb.h"

struct tool_run tool_told(const struct cli *cli, const char *const *argv);
/* Before anything else is printed. */
void tool_told_end(const struct tool_run *run);

#endif
