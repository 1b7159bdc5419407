#include "orchestrator/network_call.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/sock.h"
#include "qmp/client.h"

enum {
	END_MS = 1000,
	BACK_MS = 5000,
	LOOK_AGAIN_MS = 10,
};

/* ---- a holder that does not answer ---------------------------------------------------------------- */

/* The process that the holder's file names by `pid` and `start`; PROC_NONE: it has ended. */
static struct proc find(const json_t *who, const char *pid, const char *start)
{
	struct err gone = ERR_INIT;
	struct proc p = PROC_NONE;
	proc_open_known(
		(pid_t)json_get_int(who, pid, 0), (uint64_t)json_get_int(who, start, 0), &p, &gone);
	return p;
}

static bool ends(const struct proc *p)
{
	return p->pidfd < 0 || fd_wait(p->pidfd, POLLIN, deadline_in(END_MS)) > 0;
}

static int end(const struct network *n, const struct proc *p, struct err *err)
{
	struct err why = ERR_INIT;
	if (p->pidfd >= 0 && proc_signal(p, SIGKILL, &why) < 0 && why.kind == ERR_REFUSED) {
		*err = why;
		return -1;
	}
	return ends(p) ? 0
		       : err_set(err, ERR_TIMEOUT, "network '%s': process %d does not end", n->name,
				 (int)p->pid);
}

int network_kill(const struct network *n, struct err *err)
{
	_cleanup_free_ char *path = network_run_path(n, "holder", err);
	_cleanup_json_ json_t *who = path ? json_file_read(AT_FDCWD, path, err) : NULL;
	if (!who)
		return -1;
	struct proc holder = find(who, "pid", "start");
	struct proc outer = find(who, "outer", "outer_start");
	int result = end(n, &holder, err);
	/* outer follows, as soon as it has removed what the network has on the host */
	if (result == 0 && !ends(&outer))
		result = end(n, &outer, err);
	proc_close(&holder);
	proc_close(&outer);
	return result;
}

/* ---- a call --------------------------------------------------------------------------------------- */

/* Without a holder there is no socket, or one that nobody listens on. */
static struct qmp *reach(const struct network *n, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *path = network_run_path(n, "net.sock", err);
	struct qmp *q = path ? qmp_connect(path, deadline, err) : NULL;
	if (!q && path && (err->kind == ERR_NOT_FOUND || err->kind == ERR_GONE)) {
		err_set(err, ERR_GONE, "network '%s' is not active", n->name);
		err_hint(err, "`roost net-start %s`", n->name);
	}
	if (!q && path && err->kind == ERR_TIMEOUT) {
		err_set(err, ERR_TIMEOUT, "network '%s': its holder does not answer", n->name);
		err_hint(err, "`roost net-start %s` has another one take its place", n->name);
	}
	return q;
}

/* It is killed, which is what it takes to be started anew (roostd_networks.c); then it answers, or there is none. */
static struct qmp *reach_another(const struct network *n, struct err *err)
{
	struct err ignored = ERR_INIT;
	if (network_kill(n, &ignored) < 0)
		return NULL; /* with what is told already */
	for (int64_t deadline = deadline_in(BACK_MS);;) {
		*err = (struct err)ERR_INIT;
		struct qmp *q = reach(n, deadline, err);
		if (q || err->kind != ERR_GONE || !deadline_left(deadline))
			return q;
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
}

static int call(struct qmp *q, const char *command, json_t *args, const int *fds, size_t fd_count,
	json_t **ret, int *fds_out, size_t *n_out, int64_t timeout_ms, struct err *err)
{
	json_t *reply = NULL;
	size_t room = n_out ? *n_out : 0, count = 0;
	int fd;
	if (qmp_call_fds(q, command, args, fds, fd_count, deadline_in(timeout_ms), &reply, err) < 0)
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

int network_call(const struct network *n, const char *command, json_t *args, const int *fds,
	size_t fd_count, json_t **ret, int *fds_out, size_t *n_out, int64_t timeout_ms,
	struct err *err)
{
	_cleanup_qmp_ struct qmp *q = reach(n, deadline_in(timeout_ms), err);
	if (!q && err->kind == ERR_TIMEOUT)
		q = reach_another(n, err);
	if (q)
		return call(q, command, args, fds, fd_count, ret, fds_out, n_out, timeout_ms, err);
	json_decref(args);
	return -1;
}

int network_call_once(const struct network *n, const char *command, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = reach(n, deadline_in(NETWORK_CALL_MS), err);
	if (!q)
		return -1;
	return call(q, command, NULL, NULL, 0, NULL, NULL, NULL, NETWORK_CALL_MS, err);
}
