/* Processes that roostd kills: by what a keeper or its status file says of them, which is not believed. */
#include "orchestrator/roostd.h"

#include <signal.h>

#include "base/proc.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

static bool runs_as(const struct proc *p, uid_t uid)
{
	return proc_uid(p->pid) == uid && proc_alive(p);
}

/*
 * Kills a keeper that does not answer. Its pid is known from its status file if a former roostd
 * spawned it, and that file is the keeper's: the process must be of the guest's uids.
 */
int keeper_kill(struct keeper *k, struct err *err)
{
	struct status s;
	struct proc p = PROC_NONE;
	if (k->proc.pidfd >= 0)
		return proc_signal(&k->proc, SIGKILL, err);
	_cleanup_close_ int run = run_dir_open(k->id, err);
	_cleanup_definition_ struct definition *d = run < 0 ? NULL : record_read(k->name, err);
	if (!d || status_read(run, "status", &s, err) < 0)
		return -1;
	int result = proc_open_known(s.keeper_pid, s.keeper_start, &p, err);
	status_free(&s);
	if (result == 0 && !runs_as(&p, d->issued.keeper_uid))
		result = err_set(err, ERR_REFUSED, "process %d is not the keeper of guest '%s'",
			(int)p.pid, k->name);
	if (result == 0)
		result = proc_signal(&p, SIGKILL, err);
	proc_close(&p);
	return result;
}

/*
 * A keeper may have its own QEMU killed, which runs at another uid. It is not believed: the
 * process must have started when it says, and belong to the uid that was issued for this guest.
 */
void keeper_kill_qemu(struct keeper *k, const json_t *data)
{
	struct err err = ERR_INIT;
	struct proc p = PROC_NONE;
	pid_t pid = (pid_t)json_get_int(data, "pid", 0);
	_cleanup_definition_ struct definition *d = record_read(k->name, &err);
	if (d && proc_open_known(pid, (uint64_t)json_get_int(data, "start", 0), &p, &err) == 0 &&
		runs_as(&p, d->issued.qemu_uid))
		proc_signal(&p, SIGKILL, &err);
	proc_close(&p);
}
