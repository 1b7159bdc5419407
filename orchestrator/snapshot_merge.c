#include "orchestrator/snapshot_merge.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/disk_open.h"

enum { FIRST_FD = 10, CPU_SECONDS = 7200, REBASE_MS = 30000 };
#define MEMORY_MAX ((rlim_t)2 << 30)

/* The layers as QEMU's nodes, one in another; the file of layer i is FIRST_FD + i there. */
static json_t *graph(const struct disk_files *f)
{
	json_t *node = json_null();
	for (size_t i = f->count; i-- > 0;) {
		_cleanup_free_ char *path = str_fmt("/proc/self/fd/%zu", FIRST_FD + i);
		json_t *below = node;
		node = json_pack("{s:s, s:{s:s, s:s}}", "driver",
			f->layers[i].qcow2 ? "qcow2" : "raw", "file", "driver", "file", "filename",
			path);
		if (f->layers[i].qcow2)
			json_object_set_new(node, "backing", below);
		else
			json_decref(below);
	}
	return node;
}

/* A header may ask QEMU for more than its layer: another file with the data, above all. */
static int check_headers(const struct disk_files *f, struct err *err)
{
	for (size_t i = 0; i < f->count; i++) {
		struct qcow2_info info;
		if (f->layers[i].qcow2 && (qcow2_read(f->layers[i].fd, &info, err) < 0 ||
						  qcow2_may_stand(&info, "a layer", err) < 0))
			return -1;
	}
	return 0;
}

/* May the keeper's uid open all that is opened anew? Without root we are that uid, or it is not asked. */
static bool is_keepers(const struct disk_files *f, uid_t keeper)
{
	for (size_t i = 0; i < f->count; i++) {
		struct stat st;
		if (fstat(f->layers[i].fd, &st) < 0 || st.st_uid != keeper)
			return false;
	}
	return true;
}

static _Noreturn void become_qemu_img(
	const struct disk_files *f, const char *const argv[], int out, uid_t uid)
{
	const struct rlimit memory = {MEMORY_MAX, MEMORY_MAX}, cpu = {CPU_SECONDS, CPU_SECONDS};
	int fds[CHAIN_MAX];
	out = fcntl(out, F_DUPFD_CLOEXEC, 100);
	for (size_t i = 0; i < f->count; i++) /* out of the way first */
		fds[i] = fcntl(f->layers[i].fd, F_DUPFD_CLOEXEC, 100);
	for (size_t i = 0; i < f->count; i++)
		dup2(fds[i], FIRST_FD + (int)i);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	syscall(SYS_close_range, 3U, (unsigned)FIRST_FD - 1, 0U);
	syscall(SYS_close_range, (unsigned)(FIRST_FD + f->count), ~0U, 0U);
	setrlimit(RLIMIT_AS, &memory);
	setrlimit(RLIMIT_CPU, &cpu);
	if (uid && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
			   setresuid(uid, uid, uid) < 0))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever comes after us begins anew */
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static int start(const struct disk_files *f, const char *const argv[], uid_t uid,
	struct child *child, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	pid_t pid = fork();
	if (pid == 0)
		become_qemu_img(f, argv, ends[1], uid);
	close(ends[1]);
	*child = CHILD_NONE;
	child->out = ends[0];
	if (pid < 0 || proc_open_child(pid, &child->proc, err) < 0) {
		cleanup_close(&child->out);
		return pid < 0 ? err_errno(err, "cannot fork") : -1;
	}
	fd_set_nonblocking(child->out, 1);
	return 0;
}

int snapshot_merge_start(int dir, const struct disk_def *d, const json_t *record,
	const struct loose_layer *l, uid_t keeper, struct child *child, struct err *err)
{
	const char *names[CHAIN_MAX];
	size_t count;
	_cleanup_disk_files_ struct disk_files f = {0};
	if (snapshot_chain(record, d, l->name, names, &count, err) < 0 ||
		disk_open_layers(d, dir, names, count, &f, err) < 0 || check_headers(&f, err) < 0)
		return -1;
	/* what is below the two is only read */
	for (size_t i = 2; i < f.count; i++)
		f.layers[i].writable = f.layers[i].ours = false;
	_cleanup_json_ json_t *nodes = graph(&f);
	_cleanup_free_ char *line = json_line(nodes), *image = str_fmt("json:%s", line);
	const char *argv[] = {"qemu-img", "commit", "-q", "-d", image, NULL};
	uid_t uid = geteuid() == 0 && is_keepers(&f, keeper) ? keeper : 0;
	return start(&f, argv, uid, child, err);
}

int snapshot_merge_end(struct child *child, int64_t deadline, struct err *err)
{
	char words[400];
	int status = 0;
	if (proc_reap(&child->proc, deadline, &status, err) < 0) {
		child_end(child);
		return err_prefix(err, "qemu-img commit");
	}
	ssize_t n = read(child->out, words, sizeof(words) - 1);
	words[n > 0 ? n : 0] = '\0';
	words[strcspn(words, "\n")] = '\0';
	cleanup_close(&child->out);
	if (status == 0)
		return 0;
	return err_set(err, ERR_SYSTEM, "qemu-img commit: %s",
		words[0] ? words : proc_status_text(status));
}

int snapshot_rename_backing(int dir, const struct disk_def *d, const char *layer, const char *over,
	uid_t keeper, struct err *err)
{
	struct disk_files f = {.count = 1, .layers = {{.qcow2 = true}}};
	struct child child;
	f.layers[0].fd = file_open_owned(dir, layer, O_RDWR, keeper, err);
	_cleanup_close_ int fd = f.layers[0].fd;
	if (fd < 0 || check_headers(&f, err) < 0)
		return -1;
	_cleanup_json_ json_t *nodes = graph(&f);
	_cleanup_free_ char *line = json_line(nodes), *image = str_fmt("json:%s", line);
	const char *argv[] = {"qemu-img", "rebase", "-q", "-u", "-F",
		snapshot_backing_format(d, over), "-b", over[0] ? over : snapshot_bottom(d), image,
		NULL};
	if (start(&f, argv, geteuid() == 0 ? keeper : 0, &child, err) < 0)
		return -1;
	return snapshot_merge_end(&child, deadline_in(REBASE_MS), err);
}
