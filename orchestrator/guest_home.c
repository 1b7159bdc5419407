/*
 * A guest's folder in $RUN may vanish under it: something cleans /run or a user's files by age. Then
 * it is made anew within about a second, with lock, socket and status.
 *
 * What only QEMU could make again must not be lost with it, so that is in the guest's folder in
 * $STATE: the listeners of its monitor and of its agent, and the console's FIFO. QEMU 7.2 has no way
 * to another monitor: chardev-change answers "Chardev user does not support chardev hotswap" for
 * qmp0, and no command adds one. A name that is gone cannot be given back to a listening socket.
 *
 * Under root the keeper's uid makes no folder in $RUN. It asks roostd, again and again; one that
 * starts later finds the guest by the file `running` in $STATE (roostd_home.c). What holds:
 *
 *	$RUN is removed, whoever lives		rebuilt
 *	and a keeper dies before that		its successor adopts by `running`
 *	and roostd, and the keepers		the same, once a roostd starts
 *
 * What does not: QEMU's log of its own QMP and its standard error go on in files without a name, so
 * if QEMU ends while its keeper is being replaced after that, why is not known; and a keeper that
 * adopts after that goes by the definition as it is now.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/attached.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/vnc.h"

enum { LOOK_MS = 1000, ASK_AGAIN_MS = 100, BACKLOG = 64, ARGV_MAX = 1024 * 1024 };

char *guest_own_path(const struct guest *g, const char *name)
{
	return str_fmt("/proc/self/fd/%d/%s", g->dir, name);
}

void guest_note_running(struct guest *g)
{
	struct err ignored = ERR_INIT;
	status_write_running(g->dir, &g->status, &ignored);
}

static bool has_name(int fd)
{
	struct stat st;
	return fstat(fd, &st) < 0 || st.st_nlink > 0;
}

static bool stands(const struct guest *g)
{
	return has_name(g->run) && has_name(g->lock) &&
	       faccessat(g->run, "guest.sock", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The words of QEMU's command line, as its process has them. */
static void save_argv(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_json_ json_t *list = json_array();
	_cleanup_free_ char *path = str_fmt("/proc/%d/cmdline", (int)g->qemu.pid);
	if (file_read(AT_FDCWD, path, ARGV_MAX, &text, &ignored) < 0)
		return;
	for (size_t at = 0; at < text.len; at += strlen(text.data + at) + 1)
		json_array_append_new(list, json_string(text.data + at));
	_cleanup_free_ char *line = json_line(list);
	file_replace(g->run, "argv", line, strlen(line), false, &ignored);
}

void guest_fill_home(struct guest *g)
{
	struct err ignored = ERR_INIT;
	if (faccessat(g->run, "argv", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	save_argv(g);
	record_keep_running(g->run, g->def, &ignored);
	attached_save(g, &ignored);
	if (g->vnc_fd >= 0) {
		cleanup_close(&g->vnc_fd);
		vnc_listen(g, &ignored);
	}
}

static int rebuild(struct guest *g, struct err *err)
{
	_cleanup_free_ char *folder = run_path(g->def->issued.id, "", err);
	_cleanup_free_ char *path = run_path(g->def->issued.id, "guest.sock", err);
	_cleanup_close_ int run = access_guest_folder(folder, g->def->issued.keeper_uid, err);
	/* a file that still has its name is locked by ourselves */
	bool locked = run >= 0 && has_name(g->run) && has_name(g->lock);
	_cleanup_close_ int lock = run < 0  ? -1
				   : locked ? fcntl(g->lock, F_DUPFD_CLOEXEC, 0)
					    : file_lock(run, "lock", err);
	int listener = lock < 0 ? -1 : sock_listen_shared(path, BACKLOG, err);
	if (listener < 0)
		return -1;
	cleanup_close(&g->run);
	cleanup_close(&g->lock);
	g->run = TAKE_FD(run);
	g->lock = TAKE_FD(lock);
	server_set_listener(g->server, listener);
	guest_tell_status(g);
	guest_fill_home(g);
	return 0;
}

void guest_look_home(struct guest *g)
{
	struct err err = ERR_INIT;
	if (clock_ms() < g->home_due)
		return;
	g->home_due = deadline_in(LOOK_MS);
	if (g->qemu_ended || g->status.state == GUEST_STARTING || stands(g))
		return;
	if (rebuild(g, &err) == 0) {
		guest_event(g, "ROOST_REBUILT", NULL);
		return;
	}
	server_event(g->server, event_new("ROOST_WANTS_FOLDER", json_object()));
	g->home_due = deadline_in(ASK_AGAIN_MS);
}
