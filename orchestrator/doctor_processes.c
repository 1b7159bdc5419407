/* doctor: programs of ours that run for nobody. Whose they are, their open files tell. */
#include "orchestrator/doctor.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/status.h"

enum { YOUNG_MS = 3000 }; /* one so young has perhaps not been noted yet */

static const char *const ours[] = {"qemu-system-", "roost-keeper", "swtpm", "roost-net"};

static void know(json_t *known, int64_t pid)
{
	_cleanup_free_ char *key = str_fmt("%lld", (long long)pid);
	json_object_set_new(known, key, json_true());
}

static void know_guests(json_t *known)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&ignored);
	if (runs < 0 || dir_names(runs, &ids, NULL, &ignored) < 0)
		return;
	for (char **id = ids; *id; id++) {
		_cleanup_status_ struct status s = {0};
		_cleanup_close_ int run = dir_open(runs, *id, &ignored);
		if (run < 0 || status_read(run, "status", &s, &ignored) < 0)
			continue;
		know(known, s.keeper_pid);
		know(known, s.qemu_pid);
		know(known, s.tpm_pid);
	}
}

json_t *doctor_holders(void)
{
	struct err ignored = ERR_INIT;
	json_t *out = json_array();
	_cleanup_names_ char **ids = NULL;
	_cleanup_free_ char *path = str_fmt("%s/n", paths_run(&ignored));
	_cleanup_close_ int folders = dir_open(AT_FDCWD, path, &ignored);
	if (folders < 0 || dir_names(folders, &ids, NULL, &ignored) < 0)
		return out;
	for (char **id = ids; *id; id++) {
		_cleanup_free_ char *file = str_fmt("%s/holder", *id);
		json_t *holder = json_file_read(folders, file, &ignored);
		if (holder)
			json_array_append_new(out, holder);
	}
	return out;
}

/* Both halves of a network's holder. */
static void know_networks(json_t *known)
{
	size_t i;
	json_t *holder;
	_cleanup_json_ json_t *holders = doctor_holders();
	json_array_foreach (holders, i, holder) {
		know(known, json_get_int(holder, "pid", 0));
		know(known, json_get_int(holder, "outer", 0));
	}
}

/* The program's name, NULL if it is none of ours. Freed by the caller. */
static char *program_of(int proc, const char *pid)
{
	char link[512];
	_cleanup_free_ char *file = str_fmt("%s/exe", pid);
	ssize_t len = readlinkat(proc, file, link, sizeof(link) - 1);
	if (len < 0)
		return NULL;
	link[len] = '\0';
	const char *slash = strrchr(link, '/'), *name = slash ? slash + 1 : link;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (str_starts(name, ours[i]))
			return xstrdup(name);
	return NULL;
}

/* To a file in that folder: another mount namespace may have one of its own under the same name. */
static bool leads_to(int dir, const char *name, const char *folder)
{
	char link[512];
	struct stat theirs, ours_there;
	ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);
	size_t want = strlen(folder);
	if (len < 0)
		return false;
	link[len] = '\0';
	if (strncmp(link, folder, want) != 0 || link[want] != '/' ||
		fstatat(dir, name, &theirs, 0) < 0)
		return false;
	if (theirs.st_nlink == 0)
		return true; /* it was removed: nobody can tell */
	return stat(link, &ours_there) == 0 && ours_there.st_dev == theirs.st_dev &&
	       ours_there.st_ino == theirs.st_ino;
}

/* Has it a file of this instance open, or is it in a folder of it? */
static bool is_of_instance(int proc, const char *pid, const char *const folders[2])
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **fds = NULL;
	_cleanup_free_ char *path = str_fmt("%s/fd", pid), *cwd = str_fmt("%s/cwd", pid);
	_cleanup_close_ int dir = dir_open(proc, path, &ignored);
	if (dir < 0 || dir_names(dir, &fds, NULL, &ignored) < 0)
		return false;
	for (size_t i = 0; i < 2; i++) {
		bool found = folders[i] && leads_to(proc, cwd, folders[i]);
		for (char **fd = fds; *fd && folders[i] && !found; fd++)
			found = leads_to(dir, *fd, folders[i]);
		if (found)
			return true;
	}
	return false;
}

static bool is_young(const struct proc *p)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t began = p->start * 1000 / ticks;
	return (uint64_t)now.tv_sec * 1000 < began + YOUNG_MS;
}

static void tell(struct doctor *d, const char *program, const struct proc *p)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *name = str_fmt("%s, process %d", program, (int)p->pid);
	_cleanup_free_ char *remedy =
		str_fmt("a guest may still run in it: look, then `kill %d`", (int)p->pid);
	if (str_starts(program, "qemu-system-"))
		doctor_tell(d, "process", name, "no guest's status tells of this QEMU", remedy);
	else if (doctor_unowned(d, "process", name, "it works for no guest that runs"))
		doctor_removed(d, proc_signal(p, SIGTERM, &err), &err);
}

void doctor_processes(struct doctor *d)
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **pids = NULL;
	_cleanup_json_ json_t *known = json_object();
	_cleanup_free_ char *state = realpath(paths_state(&err), NULL),
			    *run = realpath(paths_run(&err), NULL);
	_cleanup_close_ int proc = dir_open(AT_FDCWD, "/proc", &err);
	if (proc < 0 || dir_names(proc, &pids, NULL, &err) < 0) {
		doctor_tell(d, "check", "processes", err.message, err.hint);
		return;
	}
	know_guests(known);
	know_networks(known);
	for (char **pid = pids; *pid; pid++) {
		struct proc p = PROC_NONE;
		_cleanup_free_ char *program =
			isdigit((unsigned char)**pid) ? program_of(proc, *pid) : NULL;
		if (!program || proc_open(atoi(*pid), &p, &err) < 0)
			continue;
		if (is_of_instance(proc, *pid, (const char *const[]){state, run})) {
			d->looked++;
			if (!json_object_get(known, *pid) && !is_young(&p))
				tell(d, program, &p);
		}
		proc_close(&p);
	}
}
