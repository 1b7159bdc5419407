#include "orchestrator/vnc.h"

#include <unistd.h>

#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/paths.h"

enum { BACKLOG = 4 };

int vnc_listen(struct guest *g, struct err *err)
{
	if (!g->def->vnc)
		return 0;
	_cleanup_free_ char *path = run_path(g->def->issued.id, "vnc.sock", err);
	int fd = path ? sock_listen_shared(path, BACKLOG, err) : -1;
	if (fd < 0)
		return -1;
	g->vnc_fd = fd;
	return 0;
}

static void send(struct guest *g, const char *command, json_t *args, const int *fds, size_t count)
{
	struct err ignored = ERR_INIT;
	uint64_t call = qmp_send(g->qmp, command, args, fds, count, &ignored);
	if (call)
		qmp_forget(g->qmp, call);
}

void vnc_look(struct guest *g)
{
	static unsigned viewers;
	if (g->vnc_fd < 0 || !g->qmp)
		return;
	_cleanup_close_ int viewer = sock_accept(g->vnc_fd);
	if (viewer < 0)
		return;
	_cleanup_free_ char *name = str_fmt("viewer%u", viewers++);
	send(g, "getfd", json_pack("{s:s}", "fdname", name), &viewer, 1);
	send(g, "add_client", json_pack("{s:s, s:s}", "protocol", "vnc", "fdname", name), NULL, 0);
}
