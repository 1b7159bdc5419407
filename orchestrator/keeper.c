/*
 * roost-keeper: the process that looks after one running guest. Started by roostd alone:
 *
 *	roost-keeper NAME	fd 3: a connection to roostd   fd 4: the guest's lock   fd 5: guest.sock
 *	roost-keeper --commands		prints what its socket understands, for roost-qmp(7)
 *
 * Its umask is roostd's, which decides who may read what it writes (access.h).
 *
 * It serves QMP on both sockets; the first command on fd 3 is `roost-start` or `roost-adopt`. It
 * ends when its guest has ended, or at once when it could not be started.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/install.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

enum { FD_SUPERVISOR = 3, FD_LOCK = 4, FD_LISTENER = 5 };
enum {
	LOG_KEEP = 4 * 1024 * 1024,  /* this much of a log stays readable */
	LOG_SLACK = 4 * 1024 * 1024, /* and this much more before a hole is punched */
	IDLE_MS = 30000, /* without a guest after that, roostd does not know what it wants */
};

/* ---- logs without end -------------------------------------------------------------------------- */

static void bound_log(int fd)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_blocks * 512 < LOG_KEEP + LOG_SLACK)
		return;
	/* never truncated: QEMU appends, and what it appends meanwhile must not be lost */
	off_t until = (st.st_size - LOG_KEEP) & ~(off_t)4095;
	if (until > 0)
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, until);
}

void guest_bound_logs(struct guest *g)
{
	for (size_t i = 0; i < CONSOLES_MAX; i++)
		bound_log(g->console_fds[i]);
	bound_log(g->qmp_log_fd);
}

/* ---- privilege, last stage ---------------------------------------------------------------------- */

/*
 * What a keeper does from here on needs no privilege: QMP over sockets it owns, files in its
 * own two folders. What must be opened or killed with more rights is asked of roostd.
 */
int keeper_drop(const struct guest *g, struct err *err)
{
	uid_t uid = g->def->issued.keeper_uid;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, "the keeper cannot renounce new privileges");
	if (geteuid() != 0 || !uid)
		return 0;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_errno(err, "the keeper cannot drop to uid %u", (unsigned)uid);
	return 0;
}

/* ---- the keeper --------------------------------------------------------------------------------- */

static int open_guest(struct guest *g, const char *name, struct err *err)
{
	struct proc self = PROC_NONE;
	g->def = record_read(name, err);
	if (!g->def)
		return -1;
	if (record_add_seed(g->def, err) < 0)
		return -1;
	g->dir = guest_dir_open(name, err);
	g->run = g->dir < 0 ? -1 : run_dir_open(g->def->issued.id, err);
	if (g->run < 0 || proc_open(getpid(), &self, err) < 0)
		return -1;
	snprintf(g->status.name, sizeof(g->status.name), "%s", name);
	memcpy(g->status.id, g->def->issued.id, sizeof(g->status.id));
	g->status.keeper_pid = self.pid;
	g->status.keeper_start = self.start;
	g->status.stamp = clock_ms();
	proc_close(&self);
	return 0;
}

/* An operation that nobody has asked for, nor can cancel. If it fails, the guest ends, and is started anew. */
static void end_installation(struct guest *g)
{
	static const struct command itself = {.name = "roost-installed", .flags = CMD_CHANGING};
	struct err err = ERR_INIT;
	g->operation = &itself;
	g->operation_client = g->supervisor;
	g->cancelled = false;
	g->undoing = true;
	snprintf(g->status.busy, sizeof(g->status.busy), "%s", itself.name);
	int result = op_installed(g, &err);
	g->operation = NULL;
	g->status.busy[0] = '\0';
	g->installed = false;
	if (result < 0 && !g->qemu_ended) {
		snprintf(g->ending, sizeof(g->ending), "guest-reset");
		guest_qmp(g, "quit", NULL, QMP_BLOCK_MS, NULL, &err);
	}
}

static void serve_guest(struct guest *g)
{
	int64_t patience = deadline_in(IDLE_MS);
	for (;;) {
		struct wait w = WAIT_FOR(.deadline = patience, .requests = true);
		switch (guest_wait(g, &w)) {
		case WAKE_REQUEST:
			guest_run(g, w.request);
			if (g->failed_to_start) {
				server_pump(g->server);
				return;
			}
			patience = DEADLINE_NONE;
			break;
		case WAKE_INSTALLED:
			end_installation(g);
			break;
		case WAKE_GONE:
			guest_end(g);
			return;
		case WAKE_CANCEL:
		case WAKE_DEADLINE:
			return;
		default:
			break;
		}
	}
}

/* Nobody reads our standard error: who wants the guest started or adopted hears why it is not. */
static void refuse(struct guest *g, const struct err *why)
{
	struct wait w = WAIT_FOR(.deadline = deadline_in(IDLE_MS), .requests = true);
	if (guest_wait(g, &w) != WAKE_REQUEST)
		return;
	server_error(g->server, w.request, why);
	server_pump(g->server);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct guest g = {.dir = -1,
		.run = -1,
		.lock = FD_LOCK,
		.qemu = PROC_NONE,
		.tpm = PROC_NONE,
		.console_fds = {-1, -1, -1, -1},
		.qmp_log_fd = -1,
		.vnc_fd = -1};
	if (argc == 2 && str_eq(argv[1], "--commands"))
		return command_print(keeper_commands);
	if (argc != 2) {
		fprintf(stderr, "roost-keeper: started by roostd only\n");
		return err_exit_code(ERR_USAGE);
	}
	signal(SIGPIPE, SIG_IGN);
	fcntl(FD_LOCK, F_SETFD, FD_CLOEXEC);
	fcntl(FD_SUPERVISOR, F_SETFD, FD_CLOEXEC);
	fcntl(FD_LISTENER, F_SETFD, FD_CLOEXEC);
	g.server = server_new(FD_LISTENER, ROOST_VERSION);
	g.supervisor = server_add_client(g.server, FD_SUPERVISOR);
	if (open_guest(&g, argv[1], &err) < 0) {
		refuse(&g, &err);
		return err_exit_code(err.kind);
	}
	serve_guest(&g);
	return 0;
}
