/*
 * What a holder does when its folder in $RUN, or the socket there, has vanished, as a cleaner of /run takes it away: all that is in it is
 * made anew, within about a second, so that nobody takes the network for one that is not active and starts another.
 */
#include "orchestrator/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

enum { LOOK_MS = 1000, WIDTH = 512 };

int holder_write(int lock, const struct network *n, const struct proc *inner, pid_t outer, bool up,
	struct err *err)
{
	struct proc other = PROC_NONE;
	if (proc_open(outer, &other, err) < 0)
		return -1;
	_cleanup_json_ json_t *who = json_pack("{s:s, s:i, s:I, s:i, s:I, s:s, s:b}", "name",
		n->name, "pid", (int)inner->pid, "start", (json_int_t)inner->start, "outer",
		(int)outer, "outer_start", (json_int_t)other.start, "boot", boot_id(), "up", up);
	_cleanup_free_ char *text = json_line(who);
	_cleanup_free_ char *wide = str_fmt("%-*s\n", WIDTH - 1, text);
	proc_close(&other);
	if (pwrite(lock, wide, WIDTH, 0) != WIDTH)
		return err_errno(err, "cannot write 'holder'");
	return 0;
}

/* $RUN/n itself is roostd's to make. The mode is the old one's. */
static int make_folder(struct holder *h, struct err *err)
{
	struct stat was;
	struct proc self = PROC_NONE;
	_cleanup_free_ char *path = network_run_path(h->network, NULL, err);
	if (!path || fstat(h->run, &was) < 0 || (mkdir(path, 0711) < 0 && errno != EEXIST) ||
		chmod(path, was.st_mode & 07777) < 0)
		return -1;
	_cleanup_close_ int run = dir_open(AT_FDCWD, path, err);
	_cleanup_close_ int lock = run < 0 ? -1 : file_lock(run, "holder", err);
	if (lock < 0 || proc_open(getpid(), &self, err) < 0)
		return -1;
	int result = holder_write(lock, h->network, &self, h->parent, true, err);
	proc_close(&self);
	if (result < 0)
		return -1;
	cleanup_close(&h->run);
	cleanup_close(&h->lock);
	h->run = TAKE_FD(run);
	h->lock = TAKE_FD(lock);
	return 0;
}

static int fill_folder(struct holder *h, struct err *err)
{
	cleanup_close(&h->ports_dir);
	if (ports_open(h, err) < 0)
		return -1;
	for (const struct port *p = h->ports; p; p = p->next)
		if (port_write(h, p, err) < 0)
			return -1;
	dhcp_close(TAKE(h->dhcp));
	if (h->own && names_start(h, err) < 0)
		return -1;
	return holder_listen(h, err);
}

void home_look(struct holder *h)
{
	struct err err = ERR_INIT;
	if (deadline_left(h->home_due))
		return;
	h->home_due = deadline_in(LOOK_MS);
	if (faccessat(h->run, "holder", F_OK, 0) == 0) {
		if (faccessat(h->run, "net.sock", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			holder_listen(h, &err); /* else in a second, again */
		return;
	}
	if (make_folder(h, &err) < 0)
		return;
	/* without it there is no network: roostd starts it anew, around its guests */
	if (fill_folder(h, &err) < 0)
		_exit(err_exit_code(err.kind));
}
