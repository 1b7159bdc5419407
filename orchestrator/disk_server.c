#include "orchestrator/disk_server.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/argv.h"
#include "orchestrator/launch.h"
#include "orchestrator/paths.h"

#define SOCKET "nbd.sock"
enum { UP_MS = 30000, END_MS = 5000, WORDS_MAX = 16 * 1024 };

static void arguments(struct launch *l, const struct definition *d, const struct disk_def *disks,
	struct disk_files *files, size_t count, int monitor)
{
	static const char *const fixed[] = {"-machine", "none", "-nodefaults", "-no-user-config",
		"-display", "none", "-S", "-sandbox", QEMU_SANDBOX};
	int set = 1;
	launch_arg(l, "%s", qemu_path());
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		launch_arg(l, "%s", fixed[i]);
	launch_arg(l, "-name");
	launch_arg(l, "guest=%s", d->name);
	launch_arg(l, "-chardev");
	launch_arg(l, "socket,id=qmp,fd=%d", launch_fd(l, monitor));
	launch_arg(l, "-mon");
	launch_arg(l, "chardev=qmp,mode=control");
	for (size_t i = 0; i < count; i++)
		argv_add_layers(l, &disks[i], &files[i], &set);
}

static int launch(struct disk_server *s, const struct definition *d, const struct disk_def *disks,
	struct disk_files *files, size_t count, struct err *err)
{
	_cleanup_launch_ struct launch l = LAUNCH_NONE;
	int pair[2];
	s->words = memfd_create("words", MFD_CLOEXEC);
	l.stderr_fd = dup(s->words);
	if (l.stderr_fd < 0)
		return err_errno(err, "cannot make a file in memory");
	if (sock_pair(pair, err) < 0)
		return -1;
	l.uid = geteuid() == 0 ? d->issued.qemu_uid : 0;
	l.dies_with_us = true;
	arguments(&l, d, disks, files, count, pair[1]);
	s->qmp = qmp_start_eager(pair[0]);
	return launch_run(&l, &s->qemu, err);
}

int private_listener(int dir, size_t count, int *listener, int *connections, struct err *err)
{
	_cleanup_free_ char *path = str_fmt("/proc/self/fd/%d/" SOCKET, dir);
	*listener = sock_listen(path, (int)count, err);
	int result = *listener < 0 ? -1 : 0;
	for (size_t i = 0; i < count && result == 0; i++) {
		connections[i] = sock_connect(path, deadline_in(UP_MS), err);
		result = connections[i] < 0 || fd_set_nonblocking(connections[i], 0) < 0 ? -1 : 0;
	}
	unlinkat(dir, SOCKET, 0);
	return result;
}

static int serve(struct disk_server *s, int dir, const struct disk_def *disks, int64_t deadline,
	struct err *err)
{
	_cleanup_close_ int listener = -1;
	if (private_listener(dir, s->count, &listener, s->fds, err) < 0 ||
		qmp_call_fds(s->qmp, "getfd", json_pack("{s:s}", "fdname", "nbd"), &listener, 1,
			deadline, NULL, err) < 0)
		return -1;
	json_t *address = json_pack("{s:s, s:{s:s}}", "type", "fd", "data", "str", "nbd");
	if (qmp_call(s->qmp, "nbd-server-start",
		    json_pack(
			    "{s:o, s:I}", "addr", address, "max-connections", (json_int_t)s->count),
		    deadline, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++)
		if (qmp_call(s->qmp, "block-export-add",
			    json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", "nbd", "id",
				    disks[i].target, "node-name", disks[i].target, "name",
				    disks[i].target, "writable", 1),
			    deadline, NULL, err) < 0)
			return -1;
	return 0;
}

void disk_server_words(const struct disk_server *s, struct err *err)
{
	_cleanup_buf_ struct buf words = {0};
	struct err ignored = ERR_INIT;
	if (err->kind != ERR_GONE || lseek(s->words, 0, SEEK_SET) < 0 ||
		fd_read(s->words, "its words", WORDS_MAX, &words, &ignored) < 0 || !words.len)
		return;
	words.data[strcspn(words.data, "\n")] = '\0';
	err_set(err, ERR_QEMU, "QEMU did not start: %s", words.data);
}

int disk_server_start(struct disk_server *s, int dir, const struct definition *d,
	const struct disk_def *disks, struct disk_files *files, size_t count, struct err *err)
{
	*s = DISK_SERVER_NONE;
	s->count = count;
	for (size_t i = 0; i < count; i++)
		s->fds[i] = -1;
	if (launch(s, d, disks, files, count, err) < 0 ||
		serve(s, dir, disks, deadline_in(UP_MS), err) < 0) {
		disk_server_words(s, err);
		disk_server_end(s);
		return -1;
	}
	return 0;
}

void disk_server_end(struct disk_server *s)
{
	struct err ignored = ERR_INIT;
	int status;
	for (size_t i = 0; i < s->count; i++)
		cleanup_close(&s->fds[i]);
	s->count = 0;
	qmp_close(TAKE(s->qmp));
	if (s->qemu.pidfd >= 0) {
		proc_signal(&s->qemu, SIGKILL, &ignored);
		proc_reap(&s->qemu, deadline_in(END_MS), &status, &ignored);
	}
	proc_close(&s->qemu);
	cleanup_close(&s->words);
}
