#include "orchestrator/tpm.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/launch.h"
#include "orchestrator/paths.h"

enum {
	ENDS_MS = 1000, /* after its QEMU; a few milliseconds as a rule */
	/* a swtpm that ends because QEMU ends is seen first: QEMU takes its time to give back RAM */
	GRACE_MS = 1000,
	WORDS_MAX = 16 * 1024,
};

/* ---- the start --------------------------------------------------------------------------------- */

/*
 * The folder above is the keeper's, who may have put there what he likes: only one that belongs to
 * QEMU's uid, as root alone can make it, is taken.
 */
static int open_state(const struct guest *g, struct err *err)
{
	struct stat st;
	uid_t uid = g->def->issued.qemu_uid;
	if (mkdirat(g->dir, "tpm", 0700) < 0 && errno != EEXIST)
		return err_errno(err, "cannot make the folder 'tpm'");
	_cleanup_close_ int made =
		openat(g->dir, "tpm", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (made < 0 || fstat(made, &st) < 0)
		return err_errno(err, "cannot open the folder 'tpm'");
	/* the folder above gives its group to what is made in it: not here */
	if (geteuid() == st.st_uid && fchmod(made, 0700) < 0)
		return err_errno(err, "cannot close the folder 'tpm' to others");
	if (geteuid() != 0 || !uid || st.st_uid == uid)
		return TAKE_FD(made);
	if (st.st_uid != 0)
		return err_set(err, ERR_REFUSED,
			"the folder 'tpm' in the guest's folder belongs to uid %u, not to QEMU's %u",
			(unsigned)st.st_uid, (unsigned)uid);
	if (fchown(made, uid, uid) < 0)
		return err_errno(err, "cannot give the folder 'tpm' to QEMU's uid");
	return TAKE_FD(made);
}

/*
 * One that goes on because its keeper and roostd were killed before they could end it keeps the state locked: as swtpm
 * has it, by a lock on all of ".lock". The guest does not run yet, so no QEMU has it. Only a process of QEMU's uid is
 * ended, whoever made that file.
 */
static void end_leftover(const struct guest *g, int folder)
{
	struct err ignored = ERR_INIT;
	struct flock its = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, still = its;
	struct proc p = PROC_NONE;
	uid_t uid = geteuid() == 0 ? g->def->issued.qemu_uid : geteuid();
	_cleanup_close_ int lock =
		openat(folder, ".lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (lock < 0 || fcntl(lock, F_GETLK, &its) < 0 || its.l_type == F_UNLCK || its.l_pid <= 0 ||
		proc_open(its.l_pid, &p, &ignored) < 0)
		return;
	/* asked again now that it cannot become another process */
	if (proc_uid(p.pid) == uid && fcntl(lock, F_GETLK, &still) == 0 &&
		still.l_type != F_UNLCK && still.l_pid == p.pid &&
		proc_signal(&p, SIGKILL, &ignored) == 0)
		fd_wait(p.pidfd, POLLIN, deadline_in(ENDS_MS));
	proc_close(&p);
}

static int missing(struct err *err)
{
	err_set(err, ERR_SYSTEM, "its TPM needs %s, which cannot be run: %s", swtpm_path(),
		strerror(errno));
	return err_hint(err, "install the package swtpm");
}

/*
 * QEMU 7.2 lays the initrd of an unpacked kernel over the ACPI tables, which with a TPM reach further
 * down than it reckons with: the guest would come up without ACPI, so without its TPM, too.
 */
static int check_kernel(const struct opened *o, struct err *err)
{
	char magic[4] = "";
	if (o->kernel < 0 || o->initrd < 0 || pread(o->kernel, magic, sizeof(magic), 0) < 0 ||
		memcmp(magic, ELFMAG, SELFMAG) != 0)
		return 0;
	err_set(err, ERR_REFUSED,
		"with a TPM QEMU cannot boot an unpacked kernel (ELF) with an initrd: it lays the one over the ACPI tables");
	return err_hint(err, "take the kernel as distributions ship it, packed (vmlinuz)");
}

int tpm_start(struct guest *g, struct opened *o, struct err *err)
{
	int ends[2];
	_cleanup_launch_ struct launch l = LAUNCH_NONE;
	if (!g->def->tpm.enabled)
		return 0;
	if (check_kernel(o, err) < 0)
		return -1;
	if (access(swtpm_path(), X_OK) < 0)
		return missing(err);
	l.folder_fd = open_state(g, err);
	l.stderr_fd =
		l.folder_fd < 0 ? -1 : guest_open_in_run(g, "tpm.err", O_WRONLY | O_APPEND, err);
	if (l.stderr_fd < 0)
		return -1;
	end_leftover(g, l.folder_fd);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_errno(err, "cannot make a socket pair for the TPM");
	_cleanup_close_ int ours = ends[0];
	l.uid = geteuid() == 0 ? g->def->issued.qemu_uid : 0;
	launch_arg(&l, "%s", swtpm_path());
	launch_arg(&l, "socket");
	launch_arg(&l, "--tpm2");
	launch_arg(&l, "--terminate");
	launch_arg(&l, "--tpmstate");
	launch_arg(&l, "dir=.,mode=0600");
	launch_arg(&l, "--ctrl");
	launch_arg(&l, "type=unixio,clientfd=%d", launch_fd(&l, ends[1]));
	if (launch_run(&l, &g->tpm, err) < 0)
		return -1;
	g->tpm_is_child = true;
	g->status.tpm_pid = g->tpm.pid;
	g->status.tpm_start = g->tpm.start;
	/* at once: one that has not met its QEMU does not end by itself, and who takes over kills it */
	guest_tell_status(g);
	o->tpm = TAKE_FD(ours);
	return 0;
}

void tpm_adopt(struct guest *g)
{
	struct err ignored = ERR_INIT;
	if (!g->status.tpm_pid || g->status.tpm_gone[0])
		return;
	if (proc_open_known(g->status.tpm_pid, g->status.tpm_start, &g->tpm, &ignored) < 0)
		g->tpm_gone_at = clock_ms();
}

void tpm_words(const struct guest *g, char out[128])
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	out[0] = '\0';
	if (!g->def->tpm.enabled || file_read(g->run, "tpm.err", WORDS_MAX, &text, &ignored) < 0)
		return;
	while (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	const char *line = text.len ? strrchr(text.data, '\n') : NULL;
	snprintf(out, 128, "%s", !text.len ? "" : line ? line + 1 : text.data);
}

/* ---- its end ----------------------------------------------------------------------------------- */

/* How it ended, as far as can be known, and nothing of it is left. */
static void reap(struct guest *g, char how[64])
{
	struct err ignored = ERR_INIT;
	int status = 0;
	bool known = g->tpm_is_child && proc_reap(&g->tpm, deadline_in(0), &status, &ignored) == 0;
	snprintf(how, 64, "it %s%s", known && WIFSIGNALED(status) ? "was " : "",
		known ? proc_status_text(status) : "has ended");
	proc_close(&g->tpm);
}

/* A guest that is on its way out takes its TPM along: that is no news. */
static bool is_ending(const struct guest *g)
{
	return g->qemu_ended || g->destroying || g->ending[0];
}

void tpm_look(struct guest *g)
{
	if (g->tpm.pidfd >= 0 && !proc_alive(&g->tpm)) {
		reap(g, g->tpm_end);
		g->tpm_gone_at = clock_ms();
	}
	if (!g->tpm_gone_at || is_ending(g) || clock_ms() - g->tpm_gone_at < GRACE_MS)
		return;
	const char *how = g->tpm_end[0] ? g->tpm_end : "it has ended";
	g->tpm_gone_at = 0;
	snprintf(g->status.tpm_gone, sizeof(g->status.tpm_gone),
		"swtpm is gone: %s; a reset would end the guest", how);
	guest_tell_status(g);
	guest_event(g, "ROOST_TPM_GONE", json_pack("{s:s}", "reason", g->status.tpm_gone));
}

int tpm_may_reset(const struct guest *g, struct err *err)
{
	if (g->tpm.pidfd >= 0 || !g->status.tpm_pid)
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s': its TPM is gone, and QEMU would end with the reset",
		g->def->name);
	return err_hint(err, "shut it down and start it again");
}

static bool ends_within(const struct guest *g, int64_t ms)
{
	return fd_wait(g->tpm.pidfd, POLLIN, deadline_in(ms)) != 0;
}

void tpm_end(struct guest *g)
{
	struct err ignored = ERR_INIT;
	if (g->tpm.pidfd < 0)
		return;
	if (!ends_within(g, ENDS_MS)) {
		guest_kill_process(g, &g->tpm, &ignored);
		server_pump(g->server); /* what roostd must hear if it is to do it */
		ends_within(g, ENDS_MS);
	}
	reap(g, g->tpm_end);
}
