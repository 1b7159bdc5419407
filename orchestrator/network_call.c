#include "orchestrator/network_call.h"

#include <unistd.h>

#include "base/clock.h"
#include "qmp/client.h"

/* Without a holder there is no socket, or one that nobody listens on. */
static struct qmp *reach(const struct network *n, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *path = network_run_path(n, "net.sock", err);
	struct qmp *q = path ? qmp_connect(path, deadline, err) : NULL;
	if (!q && path && (err->kind == ERR_NOT_FOUND || err->kind == ERR_GONE)) {
		err_set(err, ERR_GONE, "network '%s' is not active", n->name);
		err_hint(err, "`roost net-start %s`", n->name);
	}
	return q;
}

int network_call(const struct network *n, const char *command, json_t *args, const int *fds,
	size_t fd_count, json_t **ret, int *fds_out, size_t *n_out, int64_t timeout_ms,
	struct err *err)
{
	int64_t deadline = deadline_in(timeout_ms);
	json_t *reply = NULL;
	size_t room = n_out ? *n_out : 0, count = 0;
	int fd;
	_cleanup_qmp_ struct qmp *q = reach(n, deadline, err);
	if (!q) {
		json_decref(args);
		return -1;
	}
	if (qmp_call_fds(q, command, args, fds, fd_count, deadline, &reply, err) < 0)
		return -1;
	while ((fd = qmp_take_fd(q)) >= 0) {
		if (count < room)
			fds_out[count++] = fd;
		else
			close(fd);
	}
	if (n_out)
		*n_out = count;
	if (ret)
		*ret = reply;
	else
		json_decref(reply);
	return 0;
}
