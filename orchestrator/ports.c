#include "orchestrator/ports.h"

#include "orchestrator/publish.h"

int ports_choose(const struct nic_def *n, size_t index, json_t *list, struct err *err)
{
	for (size_t i = 0; i < n->forward_count; i++) {
		const struct forward *f = &n->forwards[i];
		uint16_t port = 0;
		/* for a moment only: a port that is taken is told before QEMU is there */
		_cleanup_close_ int fd = publish_bind(f, &port, err);
		if (fd < 0)
			return -1;
		json_array_append_new(list, forward_told(f, index, port));
	}
	return 0;
}
