/* How orphaned QEMUs end: they are roostd's children, for it is the sub-reaper. */
#include "orchestrator/roostd.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

/* Is the process that has ended that guest's QEMU? Its keeper's status file is not believed alone. */
static bool was_qemu_of(const struct keeper *k, int run, const struct proc *p, uid_t uid)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status status = {0};
	if (status_read(run, "status", &status, &ignored) < 0 || status.qemu_pid != p->pid ||
		status.qemu_start != p->start)
		return false;
	_cleanup_definition_ struct definition *d = record_read(k->name, &ignored);
	return d && d->issued.qemu_uid == uid;
}

static void write_exit(int run, const struct proc *p, int wait_status)
{
	struct stat st;
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *o = json_pack("{s:i, s:I, s:i}", "pid", (int)p->pid, "start",
		(json_int_t)p->start, "status", wait_status);
	json_file_write(run, "exit", o, false, &ignored);
	if (fstat(run, &st) == 0)
		access_give_at(run, "exit", st.st_uid, &ignored);
}

/* A QEMU whose keeper had died is our child, for we are the sub-reaper: how did it end? */
static void record_exit(struct supervisor *s, const struct proc *p, uid_t uid, int wait_status)
{
	struct err ignored = ERR_INIT;
	for (struct keeper *k = s->keepers; k; k = k->next) {
		_cleanup_close_ int run = run_dir_open(k->id, &ignored);
		if (run >= 0 && was_qemu_of(k, run, p, uid))
			write_exit(run, p, wait_status);
	}
}

void keepers_reap(struct supervisor *s)
{
	int status;
	for (;;) {
		siginfo_t info = {0};
		struct proc p = PROC_NONE;
		struct err ignored = ERR_INIT;
		/* look before reaping: start time and uid go with the zombie */
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
			return;
		bool known = proc_open_child(info.si_pid, &p, &ignored) == 0;
		uid_t uid = proc_uid(info.si_pid);
		waitpid(info.si_pid, &status, 0);
		if (known)
			record_exit(s, &p, uid, status);
		proc_close(&p);
	}
}
