#include "orchestrator/disk_tool.h"

#include "base/str.h"

char *disk_tool_node(const struct disk_files *f, int fds[CHAIN_MAX], struct err *err)
{
	_cleanup_(chain_free) struct chain chain = {.count = f->count};
	for (size_t i = 0; i < f->count; i++) {
		fds[i] = f->layers[i].fd;
		chain.links[i] = (struct chain_link){.qcow2 = f->layers[i].qcow2,
			.path = str_fmt("/proc/self/fd/%zu", TOOL_FD_FIRST + i)};
	}
	return tool_chain_node(&chain, 0, err);
}
